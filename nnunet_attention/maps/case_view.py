"""Holds what a picture or a page of one case shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class CaseView:
    """One case in image space, arrays in nnU-Net's order (z, y, x); a 2-D image has one slice.

    Arrays of a patient begin at the right, the front and the feet (DICOM's LPS).

    Attributes:
        name: the case's name.
        image: grey values, (Z, Y, X), or (Z, Y, X, 3) for colour images of 0 to 255.
        spacing_mm: the spacing of z, y, x; in 2-D that of z means nothing.
        labels: names to the value, or for a region the values, that prediction and reference have.
        prediction: (Z, Y, X)
        maps: attention coefficients in [0, 1] by name, each (Z, Y, X), in the order of display.
        reference: (Z, Y, X), or None where there is none.
        reading: a sentence on how to read a coefficient; empty for none.
        verdicts: sentences on what a gate does for the segmentation, by the name of its map, that
            about all labels first.
    """

    name: str
    image: np.ndarray
    spacing_mm: tuple[float, float, float]
    labels: Mapping[str, int | list[int]]
    prediction: np.ndarray
    maps: Mapping[str, np.ndarray]
    reference: np.ndarray | None = None
    reading: str = ""
    verdicts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def shown_verdicts(self) -> list[str]:
        """The sentences of the maps that are shown."""
        return [sentence for name in self.maps for sentence in self.verdicts.get(name, ())]
