"""Times other ways to compute the same gates against the one in use.

    python -m benchmarks.performance.levers [--device cuda] [--case hippocampus] [-o DIR]

All levels of a decoder are timed at once: gate and concatenation, minus the concatenation. There is
training, with the backward pass; validation of a batch, without it; and inference of one patch.
Before anything is timed, outputs and gradients of each way are compared with those of the gate in
use.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.grad import conv3d_weight
from torch.utils.checkpoint import checkpoint
from tqdm import tqdm

from benchmarks.machine import machine, told
from benchmarks.performance import isolated
from benchmarks.performance.cases import FULL
from benchmarks.performance.isolated import Level, gated, plain
from benchmarks.performance.timing import difference, in_turn
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.gates import AttentionGate
from nnunet_attention.products import (
    WithoutOverlap,
    concatenate_product,
    convolve,
    spread_over_windows,
)

IN_USE = "in use"


def main(command_line: list[str] | None = None) -> int:
    """Check, time and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.performance.levers", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")
    parser.add_argument("--case", choices=FULL, default="hippocampus")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="(default: 30)")
    parser.add_argument("-o", type=Path, dest="output", metavar="DIR")
    arguments = parser.parse_args(command_line)
    from nnunet_attention.files import write_json, write_text

    device = torch.device(arguments.device)
    # The full-resolution skip is the same in all ways, and would hide their differences.
    levels = isolated.levels(FULL[arguments.case], device)[:-1]
    ways = {"plain": plain, IN_USE: gated, "in use again (control)": gated, **levers(device)}
    for name, join in ways.items():
        if join is not plain:
            require_equal(levels, name, join, device)
    record = {}
    whole_batch = len(levels[0].skip)
    for what, build in {
        "training": lambda join: isolated.training(levels, join, device),
        "validation": lambda join: isolated.inference(levels, join, device, whole_batch),
        "inference": lambda join: isolated.inference(levels, join, device),
    }.items():
        jobs = {name: build(join) for name, join in ways.items()}
        total = (arguments.rounds + 1) * len(jobs)
        with tqdm(total=total, desc=what, disable=None) as bar:
            record[what] = in_turn(jobs, arguments.rounds, device, bar.update)
    of_machine = machine(device)
    lines = f"{told(of_machine)}; {arguments.rounds} rounds.\n\n{table(record)}"
    if arguments.output:
        write_json(arguments.output / "levers.json", {"machine": of_machine, "seconds": record})
        write_text(arguments.output / "levers.md", lines)
    print(lines)
    return 0


def table(record: dict) -> str:
    """Show milliseconds beyond the concatenation, with 95 % intervals, as Markdown."""
    lines = ["| way | training, ms | validation, ms | inference, ms |", "|---|---:|---:|---:|"]
    for name in record["training"]:
        if name == "plain":
            continue
        cells = []
        for seconds in record.values():
            cost = difference(seconds[name], seconds["plain"])
            cells.append(
                f"{1000 * cost.value:.2f} ({1000 * cost.low:.2f} to {1000 * cost.high:.2f})"
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def levers(device: torch.device) -> dict[str, isolated.Join]:
    """Return the other ways, by name."""
    compiled = torch.compile(_in_use, dynamic=False)
    ways = {
        "product before its concatenation": _gates(_product_first),
        "all backward passes written out": _gates(_written_out),
        "recomputed in the backward pass": _gates(_recomputed),
        "1x1x1 convolutions as matrix products": _gates(_pointwise_as_products),
        "torch.compile of gate and concatenation": _gates(compiled),
    }
    if device.type == "cpu":
        return {
            "gradients as torch's convolutions have them": _gates(
                _by(lambda layer, features: layer(features))
            ),
            **ways,
        }
    # Written for 32 bits, as a CPU computes.
    del ways["all backward passes written out"]
    ways["coefficients upsampled in 32 bits"] = _gates(_upsampled_in_32_bits)
    ways["gradients as matrix products, as on a CPU"] = _gates(_by(_gradients_as_products))
    return ways


def _gates(compute) -> isolated.Join:
    def join(level: Level, upsampled: Tensor, skip: Tensor, gating: Tensor) -> Tensor:
        if level.is_full_resolution:
            return plain(level, upsampled, skip, gating)
        return compute(level.gate, upsampled, skip, gating)

    return join


def _in_use(gate: AttentionGate, upsampled: Tensor, skip: Tensor, gating: Tensor) -> Tensor:
    return gate(skip, gating, upsampled)[0]


def _by(convolve: Callable[[nn.Module, Tensor], Tensor]):
    """Compute the paper's three lines, with convolutions of one's own."""

    def compute(gate: AttentionGate, upsampled: Tensor, skip: Tensor, gating: Tensor) -> Tensor:
        query = convolve(gate.theta, skip).add_(convolve(gate.phi, gating))
        coefficients = _upsampled(torch.sigmoid(convolve(gate.psi, torch.relu_(query))), skip)
        return torch.cat((upsampled, coefficients * skip), 1)

    return compute


def _gradients_as_products(layer: nn.Module, features: Tensor) -> Tensor:
    weight, bias = (
        parameter if parameter is None else parameter.to(features.dtype)
        for parameter in (layer.weight, layer.bias)
    )
    return WithoutOverlap.apply(features, weight, bias, layer.stride)


def _product_first(gate: AttentionGate, upsampled: Tensor, skip: Tensor, gating: Tensor) -> Tensor:
    return torch.cat((upsampled, gate(skip, gating)[0]), 1)


def _upsampled_in_32_bits(
    gate: AttentionGate, upsampled: Tensor, skip: Tensor, gating: Tensor
) -> Tensor:
    # Autocast leaves upsampling in the convolutions' output type.
    small = torch.sigmoid(gate.psi(torch.relu_(gate.theta(skip) + gate.phi(gating)))).float()
    coefficients = _upsampled(small, skip)
    return torch.cat((upsampled, coefficients.to(skip.dtype) * skip), 1)


def _recomputed(gate: AttentionGate, upsampled: Tensor, skip: Tensor, gating: Tensor) -> Tensor:
    return checkpoint(
        lambda *inputs: gate(*inputs)[0], skip, gating, upsampled, use_reentrant=False
    )


def _upsampled(small: Tensor, skip: Tensor) -> Tensor:
    return functional.interpolate(small, size=skip.shape[2:], mode="trilinear")


def _pointwise_as_products(
    gate: AttentionGate, upsampled: Tensor, skip: Tensor, gating: Tensor
) -> Tensor:
    def product(layer: nn.Module, features: Tensor) -> Tensor:
        weight = layer.weight.flatten(1).expand(len(features), -1, -1)
        return torch.baddbmm(layer.bias[:, None], weight, features.flatten(2))

    query = convolve(gate.theta, skip)
    hidden = torch.relu_(query.flatten(2) + product(gate.phi, gating))
    small = torch.sigmoid(product(gate.psi, hidden)).view(len(skip), 1, *query.shape[2:])
    return concatenate_product(upsampled, skip, _upsampled(small, skip))


def _written_out(gate: AttentionGate, upsampled: Tensor, skip: Tensor, gating: Tensor) -> Tensor:
    return _GateAndConcatenation.apply(
        upsampled, skip, gating, gate.theta.weight, gate.phi.weight, gate.phi.bias,
        gate.psi.weight, gate.psi.bias, gate.stride,
    )  # fmt: skip


def _gradient_of_small(of_gated: Tensor, skip: Tensor, small: Tensor) -> Tensor:
    """Return the gradient of the coefficients before they were upsampled."""
    buffer = torch.empty_like(skip[0])
    of_coefficients = torch.empty_like(skip[:, :1])
    # Case by case, so that the product stays in the cache.
    for case in range(len(skip)):
        torch.mul(of_gated[case], skip[case], out=buffer)
        torch.sum(buffer, 0, keepdim=True, out=of_coefficients[case])
    return torch.ops.aten.upsample_trilinear3d_backward(
        of_coefficients, list(skip.shape[2:]), list(small.shape), False
    )


class _GateAndConcatenation(Function):
    """Forward and backward pass written out, case by case where that keeps tensors in the cache."""

    @staticmethod
    def forward(ctx, upsampled, skip, gating, theta, phi, phi_bias, psi, psi_bias, stride):
        hidden = functional.conv3d(skip, theta, stride=stride)
        hidden = hidden.add_(functional.conv3d(gating, phi, phi_bias)).relu_()
        small = torch.sigmoid_(functional.conv3d(hidden, psi, psi_bias))
        coefficients = _upsampled(small, skip)
        joined = concatenate_product(upsampled, skip, coefficients)
        ctx.save_for_backward(skip, gating, hidden, small, coefficients, theta, phi, psi)
        ctx.channels, ctx.stride = upsampled.shape[1], stride
        return joined

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        skip, gating, hidden, small, coefficients, theta, phi, psi = ctx.saved_tensors
        of_gated = gradient[:, ctx.channels :]
        of_small = _gradient_of_small(of_gated, skip, small)
        of_small = of_small * small * (1 - small)
        flat_small, flat_hidden = of_small.flatten(2), hidden.flatten(2)
        of_psi = torch.bmm(flat_small, flat_hidden.transpose(1, 2)).sum(0)
        of_hidden = psi.view(1, -1, 1) * flat_small * (flat_hidden > 0)
        products = torch.bmm(theta.flatten(1).t().expand(len(skip), -1, -1), of_hidden)
        of_skip = spread_over_windows(products, skip, hidden.shape[2:], ctx.stride)
        of_skip.addcmul_(of_gated, coefficients)
        of_theta = conv3d_weight(skip, theta.shape, of_hidden.view_as(hidden), stride=ctx.stride)
        of_gating = torch.bmm(phi.flatten(1).t().expand(len(skip), -1, -1), of_hidden)
        of_phi = torch.bmm(of_hidden, gating.flatten(2).transpose(1, 2)).sum(0).view_as(phi)
        return (
            gradient[:, : ctx.channels], of_skip, of_gating.view_as(gating), of_theta, of_phi,
            of_hidden.sum((0, 2)), of_psi.view_as(psi), of_small.sum().view(1), None,
        )  # fmt: skip


def require_equal(levels: list[Level], name: str, join, device: torch.device) -> None:
    """Exit if outputs or gradients are not those of the gate in use."""
    for level in levels:
        inputs = [level.upsampled, level.skip, level.gating, *level.gate.parameters()]
        results = []
        for way in (gated, join):
            with isolated.autocast(device):
                joined = way(level, level.upsampled, level.skip, level.gating)
            gradients = torch.autograd.grad(joined, inputs, level.gradient, allow_unused=True)
            results.append((joined, *gradients))
        for expected, got in zip(*results, strict=True):
            if expected is None and got is None:
                continue
            error = (expected - got).float().norm() / expected.float().norm()
            limit = 1e-4 if device.type == "cpu" else 1e-2
            if not error <= limit:
                sys.exit(f"{name}: differs from the gate in use by {error:.1e}, more than {limit}")


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.performance.levers", main))
