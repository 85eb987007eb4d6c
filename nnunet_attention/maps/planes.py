"""Cuts axial, sagittal and coronal planes through a volume, as radiologists see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from nnunet_attention.drawing import fullest_slice
from nnunet_attention.maps.case_view import CaseView

T = TypeVar("T")


@dataclass(frozen=True)
class Plane:
    """Slices across one axis of arrays (z, y, x) that begin at the patient's right, front, feet.

    Attributes:
        name: axial, sagittal or coronal.
        axis: the axis perpendicular to the plane; 0 is z.
        head_up: whether rows count from the feet and are shown from the head.
    """

    name: str
    axis: int
    head_up: bool

    def cut(self, volume: np.ndarray, index: int) -> np.ndarray:
        """Cut a slice of (Z, Y, X) or (Z, Y, X, 3): rows from the top of the screen, columns."""
        plane = volume.take(index, self.axis)
        return plane[::-1] if self.head_up else plane

    def of_rows_and_columns(self, values: Sequence[T]) -> tuple[T, T]:
        """Pick the values of rows and columns from those of z, y and x, such as spacing or size."""
        rows, columns = (value for axis, value in enumerate(values) if axis != self.axis)
        return rows, columns

    def fullest_index(self, labels: np.ndarray) -> int:
        """Return the slice with the most labelled voxels; without any, the middle one."""
        return fullest_slice(np.moveaxis(labels, self.axis, 0))


AXIAL = Plane("axial", 0, head_up=False)
SAGITTAL = Plane("sagittal", 2, head_up=True)
CORONAL = Plane("coronal", 1, head_up=True)


def planes_of(view: CaseView) -> tuple[Plane, ...]:
    """Return the planes in which the case has an area: all three, or one in 2-D."""
    return (AXIAL,) if view.image.shape[0] == 1 else (AXIAL, SAGITTAL, CORONAL)


def shown_foreground(view: CaseView) -> np.ndarray:
    """Return the labels by which slices are chosen: the reference's, else the prediction's."""
    ignored = view.labels.get("ignore")
    for labels in (view.reference, view.prediction):
        if labels is None:
            continue
        labels = np.where(labels == ignored, 0, labels) if ignored is not None else labels
        if labels.any():
            return labels
    return np.zeros_like(view.prediction)
