"""Makes masks of labels and regions, and finds the boxes around them."""

from __future__ import annotations

import numpy as np

from nnunet_attention.nnunet.summary_json import Label


def label_mask(segmentation: np.ndarray, label: Label) -> np.ndarray:
    """Return the mask of a label, or of all labels of a region."""
    if isinstance(label, tuple):
        return np.isin(segmentation, label)
    return segmentation == label


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """Return the smallest box that holds a mask; None if the mask is empty."""
    box: list[slice] = []
    for axis in range(mask.ndim):
        # Each axis is searched only within the bounds of the axes before it.
        rest = mask[tuple(box)]
        others = tuple(other for other in range(mask.ndim) if other != axis)
        filled = np.flatnonzero(rest.any(axis=others))
        if filled.size == 0:
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)
