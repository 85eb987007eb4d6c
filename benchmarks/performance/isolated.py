"""Measures the gates' own cost over all levels: gate and concatenation, minus concatenation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.performance.cases import Case
from benchmarks.performance.peers import FullResolutionGate
from nnunet_attention.gates import AttentionGate


@dataclass
class Level:
    """Holds one level of the decoder on its own.

    Attributes:
        upsampled: output of the transposed convolution, (B, C, *S).
        skip: (B, C, *S).
        gating: (B, G, *S'), on the grid below.
        gradient: gradient of the joined features, (B, 2 C, *S).
        stride: stride from the skip's grid to that of `gating`.
        gate: our gate.
        full_resolution_gate: the gate of most forks.
        is_full_resolution: whether it is the highest level, where the paper has no gate.
    """

    upsampled: Tensor
    skip: Tensor
    gating: Tensor
    gradient: Tensor
    stride: tuple[int, ...]
    gate: AttentionGate
    full_resolution_gate: FullResolutionGate
    is_full_resolution: bool


# (level, upsampled decoder feature, skip, gating signal) -> the decoder's next input
Join = Callable[[Level, Tensor, Tensor, Tensor], Tensor]


def plain(level: Level, upsampled: Tensor, skip: Tensor, gating: Tensor) -> Tensor:
    """Decode as stock nnU-Net does."""
    return torch.cat((upsampled, skip), 1)


def gated(level: Level, upsampled: Tensor, skip: Tensor, gating: Tensor) -> Tensor:
    """Decode as this package does; the full-resolution skip is not gated."""
    if level.is_full_resolution:
        return plain(level, upsampled, skip, gating)
    return level.gate(skip, gating, upsampled)[0]


def gated_after_upsampling(level: Level, upsampled: Tensor, skip: Tensor, gating: Tensor) -> Tensor:
    """Decode as most forks do, which gate all levels."""
    return torch.cat((upsampled, level.full_resolution_gate(upsampled, skip)), 1)


WAYS: dict[str, Join] = {
    "plain": plain,
    "plain again (control)": plain,
    "attention": gated,
    "attention again (control)": gated,
    "upsample first": gated_after_upsampling,
}


def levels(case: Case, device: torch.device) -> list[Level]:
    """Make the levels of the case's decoder, coarsest first, with random features."""
    torch.manual_seed(0)
    sizes = case.sizes
    levels = []
    for stage in reversed(range(len(sizes) - 1)):
        channels, gating_channels = case.features[stage], case.features[stage + 1]
        stride = tuple(case.strides[stage + 1])

        def feature(count: int, size: tuple[int, ...]) -> Tensor:
            # In mixed precision, convolutions and the layers after them give 16 bits.
            values = torch.randn(
                case.batch_size, count, *size, device=device, dtype=feature_type(device)
            )
            return values.requires_grad_()

        levels.append(
            Level(
                upsampled=feature(channels, sizes[stage]),
                skip=feature(channels, sizes[stage]),
                gating=feature(gating_channels, sizes[stage + 1]),
                gradient=feature(2 * channels, sizes[stage]).detach(),
                stride=stride,
                gate=AttentionGate(nn.Conv3d, channels, gating_channels, stride).to(device),
                full_resolution_gate=FullResolutionGate(nn.Conv3d, channels, None).to(device),
                is_full_resolution=stage == 0,
            )
        )
    return levels


def training(levels: list[Level], join: Join, device: torch.device) -> Callable[[], object]:
    """Run all levels forward and backward, with the gradients of inputs and gates.

    Skip and gating signal each have a second use, as in the network, so that gradients have to be
    added up. That use costs both sides the same; it comes first, so that its gradient comes last.
    """

    def run() -> None:
        for level in levels:
            skip, gating = level.skip.view_as(level.skip), level.gating.view_as(level.gating)
            pooled = functional.avg_pool3d(skip, level.stride, level.stride)
            doubled = gating * 2
            with autocast(device):
                joined = join(level, level.upsampled, skip, gating)
            gates = (*level.gate.parameters(), *level.full_resolution_gate.parameters())
            torch.autograd.grad(
                [joined, pooled, doubled],
                [level.upsampled, level.skip, level.gating, *gates],
                [level.gradient.to(joined.dtype), pooled.detach(), doubled.detach()],
                allow_unused=True,
            )

    return run


def inference(
    levels: list[Level], join: Join, device: torch.device, cases: int = 1
) -> Callable[[], object]:
    """Run all levels forward, for the first cases of the batch.

    nnU-Net predicts patches one by one; in training, it validates whole batches.
    """
    inputs = [
        (
            level,
            *(tensor.detach()[:cases] for tensor in (level.upsampled, level.skip, level.gating)),
        )
        for level in levels
    ]

    def run() -> None:
        with torch.inference_mode(), autocast(device):
            for level, *features in inputs:
                join(level, *features)

    return run


def feature_type(device: torch.device) -> torch.dtype:
    """Return the data type of the features between the layers."""
    return torch.float16 if device.type == "cuda" else torch.float32


def floor_bytes(case: Case, bytes_per_value: int) -> tuple[int, int]:
    """Count the bytes that gates must move at least, forward and backward, for a batch.

    Forward: one more read of each gated skip. The coefficients depend on all its channels, so they
    are known only after it has been read; the product can then be written where stock nnU-Net
    copies the skip to, which reads it once too. Work on the gating signal's grid, which has at most
    an eighth of the voxels, is left out.

    Backward: the coefficients' gradient needs skip and incoming gradient, one read each, before the
    skip's gradient can be written; theta's weights need the skip again, once the query's gradient
    is known. The skip's gradient is written where stock nnU-Net adds up its two uses. That makes
    three reads.
    """
    voxels = [prod(size) for size in case.sizes]
    gated = range(1, len(voxels) - 1)
    values = case.batch_size * sum(voxels[stage] * case.features[stage] for stage in gated)
    return values * bytes_per_value, 3 * values * bytes_per_value


def bandwidth(device: torch.device, seconds_of: Callable[[Callable[[], object]], float]) -> float:
    """Measure the bytes per second of a large copy, counting bytes read and written."""
    values = (1 << 29 if device.type == "cuda" else 1 << 26) // 4
    source = torch.randn(values, device=device)
    target = torch.empty_like(source)
    return 8 * values / seconds_of(lambda: target.copy_(source))


def autocast(device: torch.device):
    """Return nnU-Net's autocast: on a GPU only."""
    return torch.autocast("cuda") if device.type == "cuda" else nullcontext()
