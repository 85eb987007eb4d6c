"""Small cases as pictures and pages show them."""

from dataclasses import replace

import numpy as np

from nnunet_attention.maps.case_view import CaseView

SHAPE, SPACING_MM = (3, 4, 5), (3.0, 2.0, 1.0)


def anisotropic_case(**changes) -> CaseView:
    """Shape (3, 4, 5), all voxels different; organ 1 fullest in z 1, y 2, x 3."""
    voxels = np.arange(60, dtype=np.float32).reshape(SHAPE)
    prediction = np.zeros(SHAPE, dtype=np.uint8)
    prediction[:, 2, 3] = 1
    prediction[1, :, 3] = 1
    prediction[1, 2, :] = 1
    view = CaseView(
        name="case_001",
        image=voxels,
        spacing_mm=SPACING_MM,
        labels={"background": 0, "organ": 1, "lesion": 2},
        prediction=prediction,
        maps={
            "mean": (voxels / 120).astype(np.float16),
            "gate 1": (voxels[::-1, ::-1, ::-1] / 59).astype(np.float16),
        },
    )
    return replace(view, **changes)


def flat_case(**changes) -> CaseView:
    """One slice of shape (4, 5)."""
    view = anisotropic_case()
    maps = {name: one_map[1:2] for name, one_map in view.maps.items()}
    flat = {"image": view.image[1:2], "prediction": view.prediction[1:2], "maps": maps}
    return replace(view, **{"spacing_mm": (999.0, 2.0, 1.0), **flat, **changes})
