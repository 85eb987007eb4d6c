"""The variant whose weights behind the gates learn at stock nnU-Net's pace."""

import copy

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plain_checkpoints import VARIANTS, network_of, plans_of, random_image
from torch.nn.functional import cross_entropy

from benchmarks.hippocampus.paced.paced_trainer import PacedAttentionUNetTrainer_short


def seeded(trainer, plans):
    torch.manual_seed(3)
    return network_of(trainer, plans, enable_deep_supervision=False).double()


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_starts_as_stock_and_its_plain_weights_take_stocks_first_step(minimal_plans, variant):
    plans = plans_of(minimal_plans, variant)
    plain, paced = seeded(nnUNetTrainer, plans), seeded(PacedAttentionUNetTrainer_short, plans)
    image = random_image(plans, torch.float64)
    before = copy.deepcopy(plain.state_dict())
    weights = paced.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in before.items())
    steps = []
    for network in (plain, paced):
        logits = network(image)
        generator = torch.Generator().manual_seed(2)
        labels = torch.randint(0, 3, (1, *logits.shape[2:]), generator=generator)
        cross_entropy(logits, labels).backward()
        torch.optim.SGD(network.parameters(), 0.01).step()
        steps.append((logits, network.state_dict()))
    (expected, after), (logits, after_paced) = steps
    assert torch.equal(logits, expected)
    for name, value in after.items():
        torch.testing.assert_close(after_paced[name], value, rtol=1e-12, atol=1e-15)
    assert not torch.equal(
        after["decoder.stages.0.convs.0.conv.weight"],
        before["decoder.stages.0.convs.0.conv.weight"],
    )
