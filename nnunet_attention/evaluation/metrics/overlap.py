"""Computes the metrics that follow from the voxels that reference and prediction share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from nnunet_attention.evaluation.metrics.masks import bounding_box
from nnunet_attention.nnunet.summary_json import Label

# A pair of labels is encoded as one number, which must fit into 64 bits.
LARGEST_LABEL = 2**31 - 1
# Voxels that are counted at a time, so that a large image needs little extra memory.
_VOXELS_AT_ONCE = 2**22
# Up to this size, a table of all pairs of labels is counted in one pass.
_LARGEST_TABLE = 2**20


@dataclass(frozen=True)
class OverlapCounts:
    """Holds the counts by which a prediction agrees with the reference on a label.

    Attributes:
        true_positive: voxels of both.
        false_positive: voxels of the prediction only.
        false_negative: voxels of the reference only.
        true_negative: voxels of neither.
    """

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def reference(self) -> int:
        """The number of the reference's voxels."""
        return self.true_positive + self.false_negative

    @property
    def prediction(self) -> int:
        """The number of the prediction's voxels."""
        return self.true_positive + self.false_positive


def overlap_counts(
    reference: np.ndarray,
    prediction: np.ndarray,
    labels: Iterable[Label],
    ignore_label: int | None = None,
) -> dict[Label, OverlapCounts]:
    """Count the voxels of each label or region.

    Args:
        reference: labels, whole numbers from 0.
        prediction: labels, of the reference's shape.
        labels: the labels to count.
        ignore_label: voxels where the reference has this label are not counted at all.
    """
    return counts_of_labels(pairs_of_labels(reference, prediction, ignore_label), labels)


def pairs_of_labels(
    reference: np.ndarray, prediction: np.ndarray, ignore_label: int | None = None
) -> dict[tuple[int, int], int]:
    """Count how often each pair of labels occurs, the reference's first.

    Args:
        reference: labels, whole numbers from 0.
        prediction: labels, of the reference's shape.
        ignore_label: voxels where the reference has this label are left out.
    """
    if reference.shape != prediction.shape:
        raise ValueError(
            f"reference and prediction must have the same shape, got {reference.shape} and "
            f"{prediction.shape}"
        )
    box = bounding_box((reference != 0) | (prediction != 0))
    if box is None:
        return {(0, 0): reference.size}
    reference_inside, prediction_inside = reference[box].ravel(), prediction[box].ravel()
    highest = [int(array.max()) for array in (reference_inside, prediction_inside)]
    for array, name in ((reference_inside, "reference"), (prediction_inside, "prediction")):
        if array.dtype.kind not in "bui" or array.min() < 0:
            raise ValueError(f"{name} must hold whole numbers from 0, got {array.dtype}")
        if array.max() > LARGEST_LABEL:
            raise ValueError(f"{name} must hold labels up to {LARGEST_LABEL}, got {array.max()}")
    pairs: dict[tuple[int, int], int] = {(0, 0): reference.size - reference_inside.size}
    columns = highest[1] + 1
    for start in range(0, reference_inside.size, _VOXELS_AT_ONCE):
        part = slice(start, start + _VOXELS_AT_ONCE)
        codes = reference_inside[part].astype(np.int64) * columns
        # numpy would combine int64 and uint64 to floats.
        codes += prediction_inside[part].astype(np.int64)
        if (highest[0] + 1) * columns <= _LARGEST_TABLE:
            numbers = np.bincount(codes)
            occurring = np.flatnonzero(numbers)
            numbers = numbers[occurring]
        else:
            occurring, numbers = np.unique(codes, return_counts=True)
        for code, number in zip(occurring.tolist(), numbers.tolist(), strict=True):
            pair = divmod(code, columns)
            pairs[pair] = pairs.get(pair, 0) + number
    return {pair: number for pair, number in pairs.items() if pair[0] != ignore_label}


def counts_of_labels(
    pairs: Mapping[tuple[int, int], int], labels: Iterable[Label]
) -> dict[Label, OverlapCounts]:
    """Return the same as `overlap_counts`, from the counts of `pairs_of_labels`."""
    counts = {}
    for label in labels:
        members = label if isinstance(label, tuple) else (label,)
        numbers = {(a, b): 0 for a in (False, True) for b in (False, True)}
        for (of_reference, of_prediction), number in pairs.items():
            numbers[of_reference in members, of_prediction in members] += number
        counts[label] = OverlapCounts(
            true_positive=numbers[True, True],
            false_positive=numbers[False, True],
            false_negative=numbers[True, False],
            true_negative=numbers[False, False],
        )
    return counts


def mask_overlap(reference: np.ndarray, prediction: np.ndarray) -> OverlapCounts:
    """Count the voxels of two masks."""
    return overlap_counts(np.asarray(reference, bool), np.asarray(prediction, bool), [1])[1]


def dice(counts: OverlapCounts) -> float:
    """Return 2 TP / (2 TP + FP + FN); NaN if both are empty, 0 if one is."""
    return _ratio(2 * counts.true_positive, counts.reference + counts.prediction)


def iou(counts: OverlapCounts) -> float:
    """Return TP / (TP + FP + FN); NaN if both are empty, 0 if one is."""
    union = counts.true_positive + counts.false_positive + counts.false_negative
    return _ratio(counts.true_positive, union)


def precision(counts: OverlapCounts) -> float:
    """Return TP / (TP + FP); NaN if the prediction is empty, 0 if only the reference is."""
    return _ratio(counts.true_positive, counts.prediction)


def recall(counts: OverlapCounts) -> float:
    """Return TP / (TP + FN); NaN if the reference is empty, 0 if only the prediction is."""
    return _ratio(counts.true_positive, counts.reference)


def volume_difference(counts: OverlapCounts) -> float:
    """Return |prediction - reference| / reference; NaN if the reference is empty."""
    return _ratio(abs(counts.prediction - counts.reference), counts.reference)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan
