"""Joins the maps of mirrored and overlapping patches into one map of the whole image."""

from collections.abc import Mapping, Sequence

import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from torch import Tensor
from torch.nn import functional

from nnunet_attention.prediction.mirroring import mirrorings

_LINEAR_INTERPOLATION = {2: "bilinear", 3: "trilinear"}


class MapStitcher:
    """Averages maps over the patches that cover a voxel, with the weights of nnU-Net's logits.

    Sums are kept in 32 bits (nnU-Net's are in 16), so that a coefficient on which all patches agree
    comes out as it went in.

    Args:
        image_shape: *S of the padded image on the network's grid, always three axes.
        patch_size: two or three axes, as the configuration has it.
        number_of_maps: how many maps each patch gives.
        device: where the sums are kept.
        use_gaussian: weight by nnU-Net's Gaussian; otherwise all voxels alike.
        sums: the sums of an earlier stitcher, to go on adding to.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        patch_size: Sequence[int],
        number_of_maps: int,
        device: torch.device,
        use_gaussian: bool = True,
        sums: Tensor | None = None,
    ):
        self._weight = torch.ones((), device=device)
        if use_gaussian:
            # nnU-Net's own call, so that its cache is shared.
            gaussian = compute_gaussian(
                tuple(patch_size), sigma_scale=1.0 / 8, value_scaling_factor=10, device=device
            )
            self._weight = gaussian.float()
        # The last one holds the sum of the weights; at the end its memory is reused for the mean of
        # the others, so that nothing but the maps themselves is ever held.
        if sums is None:
            sums = torch.zeros((number_of_maps + 1, *image_shape), device=device)
        self.sums = sums

    def add(self, tile: tuple, maps: Tensor) -> None:
        """Add one patch.

        Args:
            tile: nnU-Net's slicer of the patch: channels, then axes, in 2-D with a slice number.
            maps: (number_of_maps, *patch_size) on the stitcher's device.
        """
        index = (slice(None), *tile[1:])
        place = self.sums[index]
        place[:-1] += maps * self._weight
        place[-1] += self._weight

    @staticmethod
    def average(sums: Tensor, averaged: int) -> Tensor:
        """Turn sums into maps, in place; the last one becomes the mean of the first `averaged`.

        Sums of several stitchers (folds) may be added up first.
        """
        sums[:-1] /= sums[-1]
        torch.mean(sums[:averaged], 0, out=sums[-1])
        return sums


def on_grid_of_patch(maps: Sequence[Tensor], patch_size: Sequence[int]) -> Tensor:
    """Interpolate maps (1, 1, *G), each on its own grid, linearly to the patch's: (N, *S).

    This is the same interpolation as in the gate (`align_corners=False`).
    """
    upsampled = []
    for on_own_grid in maps:
        if on_own_grid.shape[2:] != tuple(patch_size):
            on_own_grid = functional.interpolate(
                on_own_grid,
                size=tuple(patch_size),
                mode=_LINEAR_INTERPOLATION[len(patch_size)],
                align_corners=False,
            )
        upsampled.append(on_own_grid[0, 0])
    return torch.stack(upsampled)


def average_of_mirrored(
    passes: Sequence[Mapping[str, Tensor]], axes: Sequence[int]
) -> dict[str, Tensor]:
    """Flip the maps of each pass back and average them; linear upsampling can equally follow.

    Args:
        passes: maps by name, (B, C, *G), of nnU-Net's passes over a patch, in nnU-Net's order.
        axes: the axes along which nnU-Net mirrored, counted in G.

    Raises:
        RuntimeError: if nnU-Net did not run the network exactly once per mirroring.
    """
    flips = mirrorings(axes)
    if len(passes) != len(flips):
        raise RuntimeError(
            f"nnU-Net ran the network {len(passes)} times for {len(flips)} mirrored patches; "
            "this version of nnU-Net is not supported"
        )
    averages = {}
    for name, first in passes[0].items():
        total = torch.zeros_like(first, dtype=torch.float32)
        for maps, flip in zip(passes, flips, strict=True):
            total += torch.flip(maps[name].float(), flip)
        averages[name] = total / len(flips)
    return averages
