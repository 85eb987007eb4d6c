"""The attention gate against the paper's equations, worked out voxel by voxel."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from nnunet_attention import AttentionGate


def linear_weights(size_in: int, size_out: int) -> np.ndarray:
    """(size_out, size_in): linear resampling with voxel centres aligned (align_corners=False)."""
    weights = np.zeros((size_out, size_in))
    for o in range(size_out):
        position = min(max((o + 0.5) * size_in / size_out - 0.5, 0.0), size_in - 1.0)
        below = math.floor(position)
        above = min(below + 1, size_in - 1)
        weights[o, below] += 1 - (position - below)
        weights[o, above] += position - below
    return weights


def resample(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(C, *S) -> (C, *size), one axis after the other."""
    for axis, wanted in enumerate(size, start=1):
        weights = linear_weights(image.shape[axis], wanted)
        image = np.moveaxis(np.tensordot(weights, image, axes=(1, axis)), 0, axis)
    return image


def gate_by_hand(x, g, theta, phi, phi_bias, psi, psi_bias, stride):
    """Equations 1 and 2 of the paper for one case, with a loop over the voxels of theta(x).

    x (C, *S), g (G, *S'), theta (I, C, *stride), phi (I, G), psi (I,); returns gated x and alpha.
    """
    grid = tuple(size // step for size, step in zip(x.shape[1:], stride, strict=True))
    context = resample(np.tensordot(phi, g, axes=(1, 0)), grid)
    alpha = np.zeros((1, *grid))
    for voxel in itertools.product(*map(range, grid)):
        window = tuple(
            slice(i * step, (i + 1) * step) for i, step in zip(voxel, stride, strict=True)
        )
        hidden = np.zeros(theta.shape[0])
        for channel in range(theta.shape[0]):
            query = float((theta[channel] * x[(slice(None), *window)]).sum())
            hidden[channel] = max(0.0, query + context[(channel, *voxel)] + phi_bias[channel])
        alpha[(0, *voxel)] = 1 / (1 + math.exp(-(float(hidden @ psi) + psi_bias)))
    alpha = resample(alpha, x.shape[1:])
    return alpha * x, alpha


CASES = {
    "3d anisotropic stride": ((3, 4, 6), (3, 2, 3), (1, 2, 2)),
    "3d isotropic stride": ((4, 2, 6), (2, 1, 3), (2, 2, 2)),
    "3d three different strides": ((3, 4, 6), (3, 2, 2), (1, 2, 3)),
    "3d odd sizes, gating grid rounded up": ((3, 5, 7), (2, 3, 4), (2, 2, 2)),
    "3d no stride": ((3, 4, 5), (3, 4, 5), (1, 1, 1)),
    "2d": ((4, 6), (2, 3), (2, 2)),
    "2d anisotropic odd": ((5, 7), (5, 4), (1, 2)),
}


def gate_and_input(skip_size, gating_size, stride, seed=0):
    torch.manual_seed(seed)
    conv_op = {2: nn.Conv2d, 3: nn.Conv3d}[len(skip_size)]
    gate = AttentionGate(conv_op, skip_channels=5, gating_channels=3, stride=stride).double()
    # So large that relu and sigmoid work in all their parts.
    for parameter in gate.parameters():
        nn.init.normal_(parameter)
    skip = torch.randn(2, 5, *skip_size, dtype=torch.float64, requires_grad=True)
    gating = torch.randn(2, 3, *gating_size, dtype=torch.float64, requires_grad=True)
    return gate, skip, gating


@pytest.mark.parametrize(("skip_size", "gating_size", "stride"), CASES.values(), ids=CASES)
def test_gate_equals_the_papers_equations(skip_size, gating_size, stride):
    gate, skip, gating = gate_and_input(skip_size, gating_size, stride)
    gated, coefficients = gate(skip, gating)
    for case in range(2):
        expected_gated, expected_coefficients = gate_by_hand(
            skip[case].detach().numpy(),
            gating[case].detach().numpy(),
            gate.theta.weight.detach().numpy(),
            gate.phi.weight.detach().numpy().reshape(2, 3),
            gate.phi.bias.detach().numpy(),
            gate.psi.weight.detach().numpy().reshape(2),
            gate.psi.bias.item(),
            stride,
        )
        np.testing.assert_allclose(gated[case].detach().numpy(), expected_gated, atol=1e-6)
        np.testing.assert_allclose(
            coefficients[case].detach().numpy(), expected_coefficients, atol=1e-6
        )
    assert coefficients.detach().numpy().std() > 0.01


@pytest.mark.parametrize(("skip_size", "gating_size", "stride"), CASES.values(), ids=CASES)
def test_gradients_equal_central_differences_of_the_papers_equations(
    skip_size, gating_size, stride
):
    gate, skip, gating = gate_and_input(skip_size, gating_size, stride, seed=1)
    skip, gating = skip[:1].detach().requires_grad_(), gating[:1].detach().requires_grad_()
    weights = np.random.default_rng(2).normal(size=(5, *skip_size))
    gated, coefficients = gate(skip, gating)
    loss = (gated[0] * torch.from_numpy(weights)).sum() + coefficients.pow(2).sum()
    loss.backward()

    tensors = {
        "x": skip.detach().numpy()[0],
        "g": gating.detach().numpy()[0],
        "theta": gate.theta.weight.detach().numpy(),
        "phi": gate.phi.weight.detach().numpy().reshape(2, 3),
        "phi_bias": gate.phi.bias.detach().numpy(),
        "psi": gate.psi.weight.detach().numpy().reshape(2),
        "psi_bias": gate.psi.bias.detach().numpy(),
    }
    gradients = {
        "x": skip.grad,
        "g": gating.grad,
        "theta": gate.theta.weight.grad,
        "phi": gate.phi.weight.grad,
        "phi_bias": gate.phi.bias.grad,
        "psi": gate.psi.weight.grad,
        "psi_bias": gate.psi.bias.grad,
    }

    def slow_loss():
        arguments = {name: array.copy() for name, array in tensors.items()}
        arguments["psi_bias"] = float(arguments["psi_bias"][0])
        gated_by_hand, alpha = gate_by_hand(**arguments, stride=stride)
        return (gated_by_hand * weights).sum() + (alpha**2).sum()

    step = 1e-6
    chooser = np.random.default_rng(3)
    for name, array in tensors.items():
        gradient = gradients[name].numpy().reshape(-1)
        values = array.reshape(-1)  # a view: what is written here is seen by slow_loss
        for index in chooser.choice(values.size, size=min(values.size, 12), replace=False):
            before = values[index]
            values[index] = before + step
            above = slow_loss()
            values[index] = before - step
            below = slow_loss()
            values[index] = before
            assert gradient[index] == pytest.approx((above - below) / (2 * step), abs=1e-6), name


@pytest.mark.parametrize("stride", [(1, 2, 2), (2, 2, 2)])
def test_autograd_passes_gradcheck(stride):
    gate, skip, gating = gate_and_input((4, 2, 4), (2, 1, 2), stride)
    assert torch.autograd.gradcheck(gate, (skip, gating), atol=1e-6)


def test_every_parameter_gets_a_gradient():
    gate, skip, gating = gate_and_input((3, 4, 6), (3, 2, 3), (1, 2, 2))
    gate(skip, gating)[0].sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in gate.parameters())


@pytest.mark.parametrize("output_transform", [False, True])
def test_a_gate_that_is_given_the_upsampled_feature_appends_to_it(output_transform):
    torch.manual_seed(0)
    options = {"output_transform": output_transform, "norm_op": nn.InstanceNorm3d}
    gate = AttentionGate(nn.Conv3d, 4, 3, (1, 2, 2), **options)
    skip, gating = torch.randn(1, 4, 3, 4, 6), torch.randn(1, 3, 3, 2, 3)
    upsampled = torch.randn(1, 5, 3, 4, 6)
    gated, coefficients = gate(skip, gating)
    joined, again = gate(skip, gating, upsampled)
    assert torch.equal(joined, torch.cat((upsampled, gated), 1))
    assert torch.equal(again, coefficients)


def test_psi_of_zeros_halves_the_skip():
    gate, skip, gating = gate_and_input((3, 4, 6), (3, 2, 3), (1, 2, 2))
    nn.init.zeros_(gate.psi.weight)
    nn.init.zeros_(gate.psi.bias)
    gated, coefficients = gate(skip, gating)
    assert torch.equal(coefficients, torch.full((2, 1, 3, 4, 6), 0.5, dtype=torch.float64))
    assert torch.equal(gated, skip / 2)


def test_coefficients_stay_between_zero_and_one_for_huge_inputs():
    gate, skip, gating = gate_and_input((3, 5, 7), (2, 3, 4), (2, 2, 2))
    coefficients = gate(skip * 1e4, gating * 1e4)[1]
    assert coefficients.min() >= 0
    assert coefficients.max() <= 1


def test_inputs_are_not_changed():
    gate, skip, gating = gate_and_input((3, 4, 6), (3, 2, 3), (1, 2, 2))
    copies = skip.detach().clone(), gating.detach().clone()
    gate(skip, gating)
    assert torch.equal(skip, copies[0])
    assert torch.equal(gating, copies[1])


def test_parameters_are_those_of_the_paper():
    gate = AttentionGate(nn.Conv3d, skip_channels=6, gating_channels=10, stride=(1, 2, 2))
    shapes = {name: tuple(parameter.shape) for name, parameter in gate.named_parameters()}
    assert shapes == {
        "theta.weight": (3, 6, 1, 2, 2),
        "phi.weight": (3, 10, 1, 1, 1),
        "phi.bias": (3,),
        "psi.weight": (1, 3, 1, 1, 1),
        "psi.bias": (1,),
    }


def test_a_single_skip_channel_keeps_one_channel_inside():
    assert AttentionGate(nn.Conv2d, 1, 4, 2).inter_channels == 1


def test_output_transform_is_a_convolution_and_a_norm_after_the_product():
    torch.manual_seed(0)
    options = {"norm_op": nn.InstanceNorm3d, "norm_op_kwargs": {"affine": True, "eps": 1e-3}}
    gate = AttentionGate(nn.Conv3d, 4, 3, (1, 2, 2), output_transform=True, **options)
    skip, gating = torch.randn(1, 4, 3, 4, 6), torch.randn(1, 3, 3, 2, 3)
    gated, coefficients = gate(skip, gating)
    convolution, norm = gate.output_transform
    product = torch.einsum(
        "oi,bizyx->bozyx", convolution.weight.reshape(4, 4), skip * coefficients
    ) + convolution.bias.reshape(1, 4, 1, 1, 1)
    mean = product.mean((2, 3, 4), keepdim=True)
    variance = product.var((2, 3, 4), keepdim=True, unbiased=False)
    assert norm.affine
    torch.testing.assert_close(gated, (product - mean) / (variance + 1e-3).sqrt())


def test_feature_map_size_counts_every_map_by_hand():
    # theta and phi 2 channels each, psi 1, on a grid of 3 x 2 x 3 = 18; alpha on 3 x 4 x 6 = 72.
    gate = AttentionGate(nn.Conv3d, 4, 8, (1, 2, 2))
    assert gate.compute_conv_feature_map_size((3, 4, 6)) == 18 * (2 + 2 + 1) + 72
    gate = AttentionGate(nn.Conv3d, 4, 8, (1, 2, 2), output_transform=True)
    assert gate.compute_conv_feature_map_size((3, 4, 6)) == 18 * (2 + 2 + 1) + 72 + 4 * 72


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((nn.Conv1d, 4, 4, 2), "conv_op"),
        ((nn.Linear, 4, 4, 2), "conv_op"),
        ((nn.Conv3d, 0, 4, 2), "skip_channels is 0"),
        ((nn.Conv3d, 4, -1, 2), "gating_channels is -1"),
        ((nn.Conv3d, 4, 4, (2, 2)), r"stride \(2, 2\) has 2 numbers; wanted 3"),
        ((nn.Conv2d, 4, 4, (2, 0)), "positive integers"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttentionGate(*arguments)
