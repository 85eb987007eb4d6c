"""Measures distances between the surfaces of two masks, and computes metrics from them.

The surface of a mask M is

    S(M) = {p in M: a face neighbour of p is not in M},

with 4 neighbours in 2-D and 6 in 3-D; nothing outside the image is in M. The distance of a voxel p
to a surface S is d(p, S) = min over q in S of |p - q|, between voxel centres, in mm. Axes of length
1 have no neighbours and are left out: a single slice is a 2-D image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import edt
import numpy as np
from scipy.spatial import KDTree

from nnunet_attention.evaluation.metrics.masks import bounding_box

# Relative; a distance that equals the tolerance but for rounding to 32 bits lies within it.
_ROUNDING = 1e-6
# As measured, a point takes a tree about as long as this many voxels take a distance transform.
_VOXELS_PER_POINT = 20
# How far a tree searches, in multiples of the finest spacing.
_NEAR_VOX = 16


@dataclass(frozen=True)
class SurfaceDistances:
    """Holds distances that are computed once and read by several metrics.

    Attributes:
        reference_to_prediction_mm: of each surface voxel of the reference; infinite if the
            prediction is empty.
        prediction_to_reference_mm: of each surface voxel of the prediction; infinite if the
            reference is empty.
    """

    reference_to_prediction_mm: np.ndarray
    prediction_to_reference_mm: np.ndarray


def surface_distances(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float]
) -> SurfaceDistances:
    """Measure the exact Euclidean distances from each surface to the other.

    Args:
        reference: mask, (z, y, x) or (y, x).
        prediction: mask of the same shape.
        spacing_mm: of the axes, in the arrays' order.
    """
    reference, prediction = np.asarray(reference, bool), np.asarray(prediction, bool)
    if reference.shape != prediction.shape:
        raise ValueError(
            f"reference and prediction must have the same shape, got {reference.shape} and "
            f"{prediction.shape}"
        )
    spacing = tuple(float(step) for step in spacing_mm)
    if len(spacing) != reference.ndim or not all(0 < step < math.inf for step in spacing):
        raise ValueError(
            f"spacing_mm must be {reference.ndim} positive numbers, one per axis, got {spacing}"
        )
    wide = [
        (length, step) for length, step in zip(reference.shape, spacing, strict=True) if length > 1
    ]
    shape, spacing = zip(*wide, strict=True) if wide else ((1,), (1.0,))
    reference, prediction = reference.reshape(shape), prediction.reshape(shape)
    # Both surfaces lie within this box, and their distances do not depend on voxels outside it.
    box = bounding_box(reference | prediction)
    if box is None:
        nothing = np.zeros(0, dtype=np.float32)
        return SurfaceDistances(nothing, nothing)
    of_reference, of_prediction = _surface(reference[box]), _surface(prediction[box])
    return SurfaceDistances(
        _distances(of_reference, of_prediction, spacing),
        _distances(of_prediction, of_reference, spacing),
    )


def average_symmetric_surface_distance(distances: SurfaceDistances) -> float:
    """Return ASSD in mm, the paper's S2S: the mean of all distances of both surfaces, pooled.

    NaN if both masks are empty, infinite if one is.

        ASSD = (sum over a in S(A) of d(a, S(B)) + sum over b in S(B) of d(b, S(A)))
               / (|S(A)| + |S(B)|)
    """
    both = _pooled(distances)
    return float(both.mean(dtype=np.float64)) if both.size else math.nan


def hausdorff_distance(distances: SurfaceDistances, percentile: float = 95) -> float:
    """Return HD95 in mm: the larger of the two directions' percentiles, linearly interpolated.

    NaN if both masks are empty, infinite if one is.
    """
    directions = (distances.reference_to_prediction_mm, distances.prediction_to_reference_mm)
    if not all(distances_mm.size for distances_mm in directions):
        return math.inf if any(distances_mm.size for distances_mm in directions) else math.nan
    return max(
        float(np.percentile(distances_mm.astype(np.float64), percentile))
        for distances_mm in directions
    )


def normalised_surface_dice(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Return the pooled share of both surfaces' voxels within the tolerance of the other surface.

    NaN if both masks are empty, 0 if one is.
    """
    if not 0 <= tolerance_mm < math.inf:
        raise ValueError(f"tolerance_mm must be finite and not negative, got {tolerance_mm}")
    both = _pooled(distances)
    if not both.size:
        return math.nan
    return float(np.count_nonzero(both <= tolerance_mm * (1 + _ROUNDING)) / both.size)


def _pooled(distances: SurfaceDistances) -> np.ndarray:
    return np.concatenate(
        [distances.reference_to_prediction_mm, distances.prediction_to_reference_mm]
    )


def _surface(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a mask that have a face neighbour outside it."""
    interior = mask.copy()
    for axis in range(mask.ndim):
        along, of_mask = np.moveaxis(interior, axis, 0), np.moveaxis(mask, axis, 0)
        along[1:] &= of_mask[:-1]
        along[:-1] &= of_mask[1:]
        # Outside the image, before the first voxel and after the last, is background.
        along[0] = False
        along[-1] = False
    return mask & ~interior


def _distances(origin: np.ndarray, target: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Measure the distance from each voxel of one surface to the nearest voxel of another.

    Surfaces are thin and mostly close, so looking up neighbours in a tree is several times as fast
    as transforming the whole box. The distance transform is used where trees are slow: if a surface
    fills much of the box, and for distant voxels. Both are exact.
    """
    if not target.any():
        return np.full(np.count_nonzero(origin), np.inf, dtype=np.float32)
    shared = target[origin]
    distances = np.zeros(shared.size, dtype=np.float32)
    apart = np.flatnonzero(~shared)
    points = np.argwhere(target)
    if _VOXELS_PER_POINT * (len(points) + apart.size) < target.size:
        tree = KDTree(points * spacing, leafsize=32, compact_nodes=False, balanced_tree=False)
        near, _ = tree.query(
            np.argwhere(origin)[apart] * spacing, distance_upper_bound=_NEAR_VOX * min(spacing)
        )
        distances[apart] = near
        apart = apart[np.isinf(near)]
    if apart.size:
        # For a line, edt takes the spacing as a number.
        anisotropy = spacing if len(spacing) > 1 else spacing[0]
        distances[apart] = edt.edt(~target, anisotropy=anisotropy)[origin][apart]
    return distances
