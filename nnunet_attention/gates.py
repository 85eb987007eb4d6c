"""The additive attention gate of Attention U-Net, in 2-D and 3-D."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunet_attention.products import concatenate_product, convolve

_LINEAR_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


class AttentionGate(nn.Module):
    """Scales every voxel of a skip connection by a coefficient learned from skip and gating signal.

    Equations 1 and 2 of the paper, with our names in brackets:

        q     = psi(relu(theta(x) + phi(g)))     x [skip], g [gating]
        alpha = sigmoid(q)                       alpha [coefficients]
        x_hat = alpha * x                        x_hat [gated skip]

    theta strides by `stride` onto the grid of g; alpha is upsampled linearly to the grid of x.
    Where the grids of g and theta(x) differ, as happens with odd sizes, phi(g) is resampled
    linearly onto that of theta(x), as in the authors' code.

    Args:
        conv_op: `nn.Conv2d` or `nn.Conv3d`.
        skip_channels: channels of x. Half of them, at least one, are used inside the gate.
        gating_channels: channels of g, the decoder feature one level below x.
        stride: the step from x's grid to g's: one number, or one per axis in the order of S.
        output_transform: append the 1x1x1 convolution and normalisation that the authors' code,
            but not the paper's figure, has after the product.
        norm_op: normalisation of the output transform; None leaves it out.
        norm_op_kwargs: its arguments.

    Raises:
        ValueError: if a channel number or a stride is not a positive integer, or if the length of
            `stride` is not the number of the image's axes.

    References:
        Oktay et al., Attention U-Net: Learning Where to Look for the Pancreas, MIDL 2018,
        https://arxiv.org/abs/1804.03999
    """

    def __init__(
        self,
        conv_op: type[nn.Conv2d] | type[nn.Conv3d],
        skip_channels: int,
        gating_channels: int,
        stride: int | Sequence[int],
        *,
        output_transform: bool = False,
        norm_op: type[nn.Module] | None = None,
        norm_op_kwargs: dict | None = None,
    ):
        super().__init__()
        dimensions = _dimensions_of(conv_op)
        for name, value in (
            ("skip_channels", skip_channels),
            ("gating_channels", gating_channels),
        ):
            if value < 1:
                raise ValueError(f"{name} is {value}; a gate needs at least one channel")
        self.stride = _stride_per_axis(stride, dimensions)
        self.skip_channels = skip_channels
        self.gating_channels = gating_channels
        self.inter_channels = max(1, skip_channels // 2)
        self._interpolation = _LINEAR_INTERPOLATION[dimensions]

        # Either class takes a stride of as many numbers as the image has axes.
        convolution: Callable[..., nn.Conv2d | nn.Conv3d] = conv_op
        # theta has no bias: it would add to that of phi.
        self.theta = convolution(
            skip_channels, self.inter_channels, self.stride, self.stride, bias=False
        )
        self.phi = convolution(gating_channels, self.inter_channels, 1)
        self.psi = convolution(self.inter_channels, 1, 1)
        self.output_transform: nn.Module | None = None
        if output_transform:
            layers: list[nn.Module] = [convolution(skip_channels, skip_channels, 1)]
            if norm_op is not None:
                layers.append(norm_op(skip_channels, **(norm_op_kwargs or {})))
            self.output_transform = nn.Sequential(*layers)

    def forward(
        self, skip: Tensor, gating: Tensor, upsampled: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Gate `skip`.

        Args:
            skip: x.
            gating: g.
            upsampled: the feature that the gated skip is to be appended to, as in a decoder; None
                for none. Leaving the concatenation to the gate saves time and memory.

        Shape:
            - skip: (B, skip_channels, *S)
            - gating: (B, gating_channels, *G), usually G = S / stride
            - upsampled: (B, U, *S)
            - returns: the gated skip, (B, skip_channels, *S), or with `upsampled` both,
              (B, U + skip_channels, *S); and the coefficients, in [0, 1], (B, 1, *S)
        """
        coefficients = self.attend(skip, gating)
        return self.pass_on(skip, coefficients, upsampled), coefficients

    def attend(self, skip: Tensor, gating: Tensor) -> Tensor:
        """Return the coefficients, (B, 1, *S); see `forward`."""
        query = convolve(self.theta, skip)
        context = convolve(self.phi, gating)
        if context.shape[2:] != query.shape[2:]:
            context = self._resample(context, query.shape[2:])
        # In place: no gradient needs the convolutions' outputs as they were.
        hidden = functional.relu_(query.add_(context))
        coefficients = torch.sigmoid(convolve(self.psi, hidden))
        if coefficients.shape[2:] != skip.shape[2:]:
            coefficients = self._resample(coefficients, skip.shape[2:])
        return coefficients

    def pass_on(self, skip: Tensor, coefficients: Tensor, upsampled: Tensor | None) -> Tensor:
        """Return the gated skip, appended to `upsampled` if it is given; see `forward`."""
        if upsampled is not None and self.output_transform is None:
            return concatenate_product(upsampled, skip, coefficients)
        gated = coefficients * skip
        if self.output_transform is not None:
            gated = self.output_transform(gated)
        if upsampled is not None:
            gated = torch.cat((upsampled, gated), 1)
        return gated

    def compute_conv_feature_map_size(self, skip_size: Sequence[int]) -> int:
        """Count the values per case in the gate's feature maps, the unit in which nnU-Net plans.

        It counts the outputs of theta, phi and psi on the gating grid, the upsampled
        coefficients, and the output of the output transform's convolution.

        Args:
            skip_size: *S, without batch and channels.
        """
        gating_voxels = skip_voxels = 1
        for size, stride in zip(skip_size, self.stride, strict=True):
            gating_voxels *= int(size) // stride
            skip_voxels *= int(size)
        maps_on_skip_grid = 1 if self.output_transform is None else 1 + self.skip_channels
        return (2 * self.inter_channels + 1) * gating_voxels + maps_on_skip_grid * skip_voxels

    def extra_repr(self) -> str:
        """Return the channels and the stride, which torch prints with the module."""
        return f"{self.skip_channels}, {self.gating_channels}, stride={self.stride}"

    def _resample(self, features: Tensor, size: torch.Size) -> Tensor:
        return functional.interpolate(
            features, size=size, mode=self._interpolation, align_corners=False
        )


Attend = Callable[[Tensor, Tensor], Tensor]
"""Given skip and gating signal, returns coefficients; see `AttentionGate.attend`."""


@contextmanager
def attending_otherwise(
    gate: AttentionGate, function: Callable[[Attend, Tensor, Tensor], Tensor]
) -> Iterator[None]:
    """Have a function compute a gate's coefficients inside the `with` block.

    Args:
        gate: the gate.
        function: called with the function that it replaces, the skip and the gating signal.
    """
    # In nested blocks, the inner function replaces the outer one.
    attend, before = gate.attend, gate.__dict__.get("attend")
    # An attribute of the gate itself hides the method of its class.
    gate.__dict__["attend"] = partial(function, attend)
    try:
        yield
    finally:
        if before is None:
            del gate.__dict__["attend"]
        else:
            gate.__dict__["attend"] = before


def _dimensions_of(conv_op: type[nn.Module]) -> int:
    for dimensions, known in ((2, nn.Conv2d), (3, nn.Conv3d)):
        if isinstance(conv_op, type) and issubclass(conv_op, known):
            return dimensions
    raise ValueError(f"conv_op is {conv_op!r}; gates are built with nn.Conv2d or nn.Conv3d")


def _stride_per_axis(stride: int | Sequence[int], dimensions: int) -> tuple[int, ...]:
    per_axis = (stride,) * dimensions if isinstance(stride, int) else tuple(stride)
    if len(per_axis) != dimensions:
        raise ValueError(f"stride {stride} has {len(per_axis)} numbers; wanted {dimensions}")
    if any(int(step) != step or step < 1 for step in per_axis):
        raise ValueError(f"stride {stride} must consist of positive integers")
    return tuple(int(step) for step in per_axis)
