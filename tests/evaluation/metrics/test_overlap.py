"""Overlap metrics against hand-worked values and a mask by mask second implementation."""

import math

import numpy as np
import pytest

from nnunet_attention.evaluation.metrics import overlap
from nnunet_attention.evaluation.metrics.overlap import (
    OverlapCounts,
    dice,
    iou,
    mask_overlap,
    overlap_counts,
    precision,
    recall,
    volume_difference,
)

ALL = (dice, iou, precision, recall, volume_difference)


def slow_counts(reference, prediction, members, ignore_label):
    """Voxel by voxel."""
    numbers = {"tp": 0, "fp": 0, "fn": 0, "tn": 0}
    for one, other in zip(reference.ravel(), prediction.ravel(), strict=True):
        if one == ignore_label:
            continue
        kind = {
            (True, True): "tp",
            (False, True): "fp",
            (True, False): "fn",
            (False, False): "tn",
        }[one in members, other in members]
        numbers[kind] += 1
    return OverlapCounts(*numbers.values())


def test_metrics_of_a_worked_example():
    # 6 voxels in common, 2 only predicted, 4 missed.
    counts = OverlapCounts(true_positive=6, false_positive=2, false_negative=4, true_negative=48)
    assert dice(counts) == 12 / 18
    assert iou(counts) == 6 / 12
    assert precision(counts) == 6 / 8
    assert recall(counts) == 6 / 10
    # 8 voxels predicted instead of 10.
    assert volume_difference(counts) == 0.2


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param(OverlapCounts(0, 0, 0, 9), (math.nan,) * 5, id="both empty"),
        pytest.param(OverlapCounts(0, 3, 0, 6), (0, 0, 0, math.nan, math.nan), id="no reference"),
        pytest.param(OverlapCounts(0, 0, 3, 6), (0, 0, math.nan, 0, 1), id="no prediction"),
        pytest.param(OverlapCounts(3, 0, 0, 0), (1, 1, 1, 1, 0), id="perfect"),
    ],
)
def test_empty_masks_are_defined_in_every_combination(counts, expected):
    np.testing.assert_array_equal([metric(counts) for metric in ALL], expected)


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5)])
@pytest.mark.parametrize("ignore_label", [None, 4])
def test_labels_and_regions_are_counted_as_voxel_by_voxel(shape, ignore_label):
    rng = np.random.default_rng(0)
    reference, prediction = rng.integers(0, 5, (2, *shape), dtype=np.uint8)
    reference[0] = prediction[0] = 0
    labels = [1, 2, (1, 2), (1, 2, 3)]
    counts = overlap_counts(reference, prediction, labels, ignore_label)
    for label in labels:
        members = label if isinstance(label, tuple) else (label,)
        assert counts[label] == slow_counts(reference, prediction, members, ignore_label)


def test_large_images_are_counted_in_parts(monkeypatch):
    rng = np.random.default_rng(1)
    reference, prediction = rng.integers(0, 3, (2, 3, 4, 5))
    whole = overlap_counts(reference, prediction, [1, 2])
    monkeypatch.setattr(overlap, "_VOXELS_AT_ONCE", 7)
    assert overlap_counts(reference, prediction, [1, 2]) == whole


def test_large_label_numbers_are_counted():
    reference, prediction = np.array([[0, 60000, 7]]), np.array([[60000, 60000, 7]])
    assert overlap_counts(reference, prediction, [60000])[60000] == OverlapCounts(1, 1, 0, 1)


def test_images_without_any_label_are_all_true_negative():
    nothing = np.zeros((3, 4, 5), dtype=np.uint8)
    assert overlap_counts(nothing, nothing, [1], ignore_label=2)[1] == OverlapCounts(0, 0, 0, 60)


def test_masks_are_counted():
    assert mask_overlap(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0])) == OverlapCounts(1, 1, 1, 1)


def test_images_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="the same shape"):
        overlap_counts(np.ones((2, 3), int), np.ones((3, 2), int), [1])


def test_fractions_are_refused():
    with pytest.raises(ValueError, match="whole numbers"):
        overlap_counts(np.ones((2, 3)), np.ones((2, 3), int), [1])


@pytest.mark.parametrize("of_prediction", ["bool", "uint8", "int8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("of_reference", ["uint8", "int64", "uint64"])
def test_types_that_make_floats_together_are_counted(of_reference, of_prediction):
    reference, prediction = np.array([[1, 1, 0], [0, 1, 0]]), np.array([[1, 0, 1], [0, 1, 0]])
    counts = overlap_counts(reference.astype(of_reference), prediction.astype(of_prediction), [1])
    assert counts[1] == OverlapCounts(2, 1, 1, 2)


def test_labels_whose_pairs_exceed_64_bits_are_refused():
    with pytest.raises(ValueError, match="prediction must hold labels up to 2147483647"):
        overlap_counts(np.array([1]), np.array([2**32]), [1])
