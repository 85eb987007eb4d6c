"""Masks of labels and regions, and the boxes around them."""

from __future__ import annotations

import numpy as np

# A label, or a region: the labels that together make it, as nnU-Net's dataset.json has them.
Label = int | tuple[int, ...]


def label_mask(segmentation: np.ndarray, label: Label) -> np.ndarray:
    """Where a segmentation has a label, or any label of a region."""
    if isinstance(label, tuple):
        return np.isin(segmentation, label)
    return segmentation == label


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box that holds a mask; None if the mask is empty."""
    box = []
    for axis in range(mask.ndim):
        # Each axis is looked for in what the axes before it have left.
        rest = mask[tuple(box)]
        others = tuple(other for other in range(mask.ndim) if other != axis)
        filled = np.flatnonzero(rest.any(axis=others))
        if filled.size == 0:
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)
