"""Normalisation whose output is no view: the same numbers, without copies of gradients."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import nn

from nnunet_attention.networks.normalisation import (
    InstanceNorm2d,
    InstanceNorm3d,
    without_views,
)


def network_of(network_class, dimensions, **blocks):
    torch.manual_seed(0)
    return network_class(
        input_channels=2,
        n_stages=3,
        features_per_stage=[4, 6, 8],
        conv_op={2: nn.Conv2d, 3: nn.Conv3d}[dimensions],
        kernel_sizes=[[3] * dimensions] * 3,
        strides=[[1] * dimensions, [2] * dimensions, [2] * dimensions],
        n_conv_per_stage_decoder=[1, 1],
        num_classes=3,
        conv_bias=True,
        norm_op={2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dimensions],
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
        **blocks,
    )


NETWORKS = {
    "plain": (PlainConvUNet, {"n_conv_per_stage": 2}),
    "residual": (ResidualEncoderUNet, {"n_blocks_per_stage": 2}),
}


def outputs_and_gradients(network, dimensions):
    size = (4, 8, 12)[3 - dimensions :]
    image = torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(1))
    outputs = network(image)
    loss = sum(one.pow(2).mean() for one in outputs)
    return outputs, torch.autograd.grad(loss, list(network.parameters()))


def nodes(tensors):
    """Names of all operations that a backward pass goes through."""
    found, waiting = set(), [one.grad_fn for one in tensors]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting.extend(before for before, _ in node.next_functions)
    return {node.name() for node in found}


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(("network_class", "blocks"), NETWORKS.values(), ids=NETWORKS)
def test_outputs_and_gradients_are_torchs_to_the_last_bit(network_class, blocks, dimensions):
    network = network_of(network_class, dimensions, **blocks)
    keys = list(network.state_dict())
    expected, expected_gradients = outputs_and_gradients(network, dimensions)
    assert without_views(network) is network
    outputs, gradients = outputs_and_gradients(network, dimensions)
    assert all(map(torch.equal, outputs, expected))
    assert all(map(torch.equal, gradients, expected_gradients))
    assert list(network.state_dict()) == keys


@pytest.mark.parametrize(("network_class", "blocks"), NETWORKS.values(), ids=NETWORKS)
def test_nothing_is_written_into_a_view(network_class, blocks):
    network = network_of(network_class, 3, **blocks)
    # The name with which autograd marks what was written into a view.
    mark = "torch::autograd::CopySlices"
    assert mark in nodes(outputs_and_gradients(network, 3)[0])
    assert mark not in nodes(outputs_and_gradients(without_views(network), 3)[0])


@pytest.mark.parametrize(("ours", "size"), [(InstanceNorm2d, (3, 5)), (InstanceNorm3d, (3, 4, 5))])
def test_each_channel_of_each_case_is_normalised(ours, size):
    torch.manual_seed(0)
    norm = ours(3, eps=1e-3, affine=True).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    axes = tuple(range(2, x.ndim))
    shape = (3, *[1] * len(size))
    spread = (x.var(axes, unbiased=False, keepdim=True) + 1e-3).sqrt()
    expected = (x - x.mean(axes, keepdim=True)) / spread * norm.weight.view(shape)
    torch.testing.assert_close(norm(x), expected + norm.bias.view(shape))
    assert not norm(x)._is_view()


def test_normalisations_of_another_class_are_left_alone():
    class Own(nn.InstanceNorm3d):
        pass

    network = nn.Sequential(Own(2), nn.InstanceNorm3d(2), nn.BatchNorm3d(2), nn.InstanceNorm1d(2))
    kinds = [type(one) for one in without_views(network)]
    assert kinds == [Own, InstanceNorm3d, nn.BatchNorm3d, nn.InstanceNorm1d]


def test_a_compiled_network_has_torchs_normalisation():
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    norm = InstanceNorm3d(2, affine=True)
    torch.compile(norm, backend=backend, fullgraph=True)(torch.randn(1, 2, 3, 4, 5))
    assert not [node for node in graphs[0].graph.nodes if "unsafe_view" in str(node.target)]
