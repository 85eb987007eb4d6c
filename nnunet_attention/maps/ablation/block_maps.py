"""Keeps maps of a whole image on a gate's coarse grid, and cuts patches out of them.

In each patch, a gate gives coefficients on the grid of its skip connection. A map of the image is
kept in blocks as large as a voxel of that grid, so that all patches, however mirrored, get their
values from the same map. In a patch that does not begin at the edge of a block, each voxel gets the
volume-weighted mean of the blocks that it overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """Describes where an image lies on the network's grid.

    Attributes:
        shape: *S of the image, always three axes.
        before: how many voxels of padding nnU-Net put before it, by axis.
    """

    shape: tuple[int, ...]
    before: tuple[int, ...]


def block_sizes(patch_size: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    """Return how many voxels of the image a voxel of a gate's grid covers, always three axes.

    Args:
        patch_size: two or three axes.
        grid: of the gate's skip connection in a patch.
    """
    sizes = [-(-patch // cells) for patch, cells in zip(patch_size, grid, strict=True)]
    return (1,) * (3 - len(sizes)) + tuple(sizes)


def block_means(image_map: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return the mean over each block; the last block along an axis may be smaller.

    Args:
        image_map: (Z, Y, X).
        sizes: size of a block, by axis.
    """
    totals = image_map.astype(np.float64)
    counts = np.ones((1, 1, 1))
    for axis, size in enumerate(sizes):
        starts = np.arange(0, image_map.shape[axis], size)
        totals = np.add.reduceat(totals, starts, axis=axis)
        lengths = np.diff(np.append(starts, image_map.shape[axis]))
        counts = counts * lengths.reshape([-1 if other == axis else 1 for other in range(3)])
    means = totals / counts
    # This makes the mean of equal numbers exactly that number.
    return np.clip(means, image_map.min(), image_map.max()).astype(np.float32)


def resized(blocks: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resample a map to other blocks, each the volume-weighted mean of what it covers."""
    weights = [_covering(new, old) for new, old in zip(shape, blocks.shape, strict=True)]
    return _applied(weights, blocks)


def cut(
    blocks: np.ndarray,
    sizes: Sequence[int],
    frame: Frame,
    tile: tuple,
    grid: Sequence[int],
) -> np.ndarray:
    """Return a patch's part of a map, on the grid of the gate's skip connection.

    Where nnU-Net padded the image, the value of the nearest block is used.

    Args:
        blocks: the map of the image.
        sizes: size of a block, by axis.
        frame: where the image lies.
        tile: nnU-Net's slicer of the patch: channels, then axes, in 2-D with a slice number.
        grid: of the gate's skip connection in the patch, two or three axes.
    """
    weights = []
    cells = (1,) * (3 - len(grid)) + tuple(grid)
    for axis, place in enumerate(tile[1:]):
        start, length = (
            (place, 1) if isinstance(place, int) else (place.start, place.stop - place.start)
        )
        voxels = np.clip(
            np.arange(start, start + length) - frame.before[axis], 0, frame.shape[axis] - 1
        )
        of_blocks = np.zeros((length, blocks.shape[axis]))
        of_blocks[np.arange(length), voxels // sizes[axis]] = 1
        weights.append(_covering(cells[axis], length) @ of_blocks)
    seen = _applied(weights, blocks)
    return seen.reshape(tuple(grid))


def _covering(cells: int, length: int) -> np.ndarray:
    """Return which share of each cell each of `length` equal parts of an axis covers."""
    ends = np.arange(cells + 1) * (length / cells)
    parts = np.arange(length + 1, dtype=float)
    overlap = np.minimum(ends[1:, None], parts[None, 1:]) - np.maximum(
        ends[:-1, None], parts[None, :-1]
    )
    return np.clip(overlap, 0, None) * (cells / length)


def _applied(weights: Sequence[np.ndarray], blocks: np.ndarray) -> np.ndarray:
    low, high = blocks.min(), blocks.max()
    values = blocks.astype(np.float64)
    for axis, weight in enumerate(weights):
        values = np.moveaxis(np.tensordot(weight, values, (1, axis)), 0, axis)
    return np.clip(values, low, high).astype(np.float32)
