"""Masks hold labels and regions; boxes hold masks."""

import numpy as np

from nnunet_attention.evaluation.metrics.masks import bounding_box, label_mask


def test_a_region_is_any_of_its_labels():
    segmentation = np.array([[0, 1, 2], [3, 2, 0]])
    assert label_mask(segmentation, 2).tolist() == [[False, False, True], [False, True, False]]
    assert label_mask(segmentation, (1, 3)).tolist() == [[False, True, False], [True, False, False]]


def test_the_box_is_the_smallest_that_holds_the_mask():
    mask = np.zeros((3, 4, 5), dtype=bool)
    mask[1, 0, 2] = mask[2, 3, 2] = True
    assert bounding_box(mask) == (slice(1, 3), slice(0, 4), slice(2, 3))
    assert bounding_box(np.ones((2, 1), dtype=bool)) == (slice(0, 2), slice(0, 1))


def test_an_empty_mask_has_no_box():
    assert bounding_box(np.zeros((3, 4, 5), dtype=bool)) is None
