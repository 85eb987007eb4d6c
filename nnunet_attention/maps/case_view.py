"""Holds the data that a picture or a page of one case shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class CaseView:
    """Holds one case in image space; arrays are in nnU-Net's order (z, y, x).

    A 2-D image has one slice. Arrays of a patient begin at the right, the front and the feet
    (DICOM's LPS).

    Attributes:
        name: the case's name.
        image: grey values, (Z, Y, X), or (Z, Y, X, 3) for colour images of 0 to 255.
        spacing_mm: the spacing along z, y and x; in 2-D that of z has no meaning.
        labels: by name, the label's value in prediction and reference, or the values of a region.
        prediction: (Z, Y, X)
        maps: attention coefficients in [0, 1] by name, each (Z, Y, X), in display order.
        reference: (Z, Y, X), or None if there is none.
        reading: a sentence on how to read a coefficient; empty for none.
        verdicts: by the name of the map, sentences on what its gate does for the segmentation; the
            one about all labels comes first.
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
