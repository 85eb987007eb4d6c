"""Gates that were taught where the foreground is show it in images that they have not seen."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from benchmarks.where_gates_help.phantom import Recipe, draw
from nnunet_attention.networks import AttentionUNet
from nnunet_attention.networks.gate_supervision import SupervisedGatesLoss
from nnunet_attention.nnunet.supervision import Supervision
from nnunet_attention.recorder import record_attention
from nnunet_attention.trainers.supervised import supervision_weight

RECIPE = Recipe(foreground=0.01, distractors=3, shape=(16, 64, 64))
EPOCHS, ITERATIONS = 15, 20


def slices(seed, cases):
    """The slices that show the target: images and labels, (B, 1, y, x)."""
    images, labels = [], []
    for case in range(cases):
        drawn = draw(RECIPE, np.random.default_rng([seed, case]))
        image, target = drawn.image, drawn.labels
        shown = target.any(axis=(1, 2))
        images.append(((image - image.mean()) / image.std())[shown])
        labels.append(target[shown])
    return (
        torch.from_numpy(np.concatenate(images))[:, None],
        torch.from_numpy(np.concatenate(labels))[:, None],
    )


def small_network():
    torch.manual_seed(0)
    return AttentionUNet(
        input_channels=1, n_stages=4, features_per_stage=[8, 16, 32, 64], conv_op=nn.Conv2d,
        kernel_sizes=3, strides=[1, 2, 2, 2], n_conv_per_stage=2, num_classes=2,
        n_conv_per_stage_decoder=2, conv_bias=True, norm_op=nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True}, deep_supervision=False,
    )  # fmt: skip


def segmentation_loss(logits, labels):
    cross_entropy = functional.cross_entropy(logits, labels[:, 0].long())
    target = logits.softmax(1)[:, 1:]
    return cross_entropy + 1 - (2 * (target * labels).sum() + 1) / (target.sum() + labels.sum() + 1)


def train(network, images, labels):
    """Train as the trainer does: the weight of the gates' loss is 0 from half of it on."""
    usual = Supervision()
    loss = SupervisedGatesLoss(segmentation_loss, border=usual.border, over_batch=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.99, nesterov=True)
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 - epoch / EPOCHS) ** 0.9
        loss.weight = supervision_weight(usual.weight, epoch, EPOCHS)
        network.decoder.coefficients_in_training = loss.weight > 0
        for _ in range(ITERATIONS):
            batch = torch.randint(len(images), (8,))
            optimizer.zero_grad()
            loss(network(images[batch]), labels[batch]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 12)
            optimizer.step()


@pytest.mark.slow
def test_supervised_maps_of_unseen_cases_are_open_on_the_target_alone():
    network = small_network()
    train(network.train(), *slices(0, 24))
    images, labels = slices(1, 8)
    with torch.no_grad(), record_attention(network.eval()) as maps:
        network(images)
    assert list(maps) == ["gate_0", "gate_1"]
    for coefficients in maps.values():
        shown = functional.interpolate(coefficients, images.shape[2:], mode="bilinear")
        assert shown[labels == 1].mean() - shown[labels == 0].mean() >= 0.5
