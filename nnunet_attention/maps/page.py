"""Writes one page for each case, to scroll through its slices and attention maps offline."""

import html
from pathlib import Path

import numpy as np

from nnunet_attention.drawing import COEFFICIENT_COLOURS, label_styles
from nnunet_attention.files import write_text
from nnunet_attention.maps.case_view import CaseView
from nnunet_attention.maps.embedding import coarsening, embed_colours, embed_labels, embed_values
from nnunet_attention.maps.figure import OVERLAY_OPACITY
from nnunet_attention.maps.limits import grey_limits, looks_like_ct, map_limits
from nnunet_attention.maps.planes import planes_of, shown_foreground
from nnunet_attention.pages import filled_page

# Of the image and of the labels; a map has half as many, since gates are coarser than the image.
MOST_VOXELS = 2**22
MOST_MAP_VOXELS = 2**21
# Level and width in Hounsfield units, as usual on a radiologist's screen.
_CT_WINDOWS_HU = {"lung": (-600, 1500), "bone": (400, 1800), "brain": (40, 80)}


def write_case_page(view: CaseView, path: Path) -> None:
    """Write one self-contained HTML file beside its target and rename it.

    Large volumes are embedded at a coarser resolution, and the page says so.

    Raises:
        CommandError: if prediction or reference has more than 256 different labels.
    """
    title = html.escape(view.name)
    write_text(path, filled_page("nnunet_attention.maps", _page_data(view), title=title))


def _page_data(view: CaseView) -> dict:
    shape = view.image.shape[:3]
    factors = coarsening(shape, view.spacing_mm, MOST_VOXELS)
    map_factors = coarsening(shape, view.spacing_mm, MOST_MAP_VOXELS)
    foreground = shown_foreground(view)
    is_colour = view.image.ndim == 4
    greys = (0.0, 255.0) if is_colour else grey_limits(view.image)
    limits = {name: map_limits(attention_map) for name, attention_map in view.maps.items()}
    return {
        "name": view.name,
        "shape": shape,
        "spacing_mm": [float(mm) for mm in view.spacing_mm],
        "planes": [
            {
                "name": plane.name,
                "axis": plane.axis,
                "head_up": plane.head_up,
                "index": plane.fullest_index(foreground),
            }
            for plane in planes_of(view)
        ],
        "image": embed_colours(view.image, factors)
        if is_colour
        else embed_values(view.image, greys, factors),
        "windows": _windows(view.image, greys),
        "labels": [
            {"name": style.name, "values": style.values, "colour": style.colour}
            for style in label_styles(view.labels)
        ],
        "prediction": embed_labels(view.prediction, factors),
        "reference": None if view.reference is None else embed_labels(view.reference, factors),
        "maps": [
            {
                "name": name,
                "limits": limits[name],
                **embed_values(attention_map, limits[name], map_factors),
            }
            for name, attention_map in view.maps.items()
        ],
        "colours": _colour_table(),
        "opacity": OVERLAY_OPACITY,
        "reading": view.reading,
        "verdicts": view.shown_verdicts,
        "note": _note(factors, map_factors if view.maps else factors),
    }


def _windows(image: np.ndarray, greys: tuple[float, float]) -> list[dict]:
    """Return the pairs of black and white levels to choose from, the initial one first."""
    if image.ndim == 4:
        # Fluorescence is often dark: its brightest value can be shown as the screen's.
        brightest = (0.0, max(1.0, min(255.0, float(image.max()))))
        return [{"name": "as it is", "limits": greys}, {"name": "bright", "limits": brightest}]
    everything = (float(image.min()), float(image.max()))
    if not looks_like_ct(image):
        return [
            {"name": "automatic", "limits": greys},
            {"name": "all values", "limits": everything},
        ]
    return [
        {"name": "soft tissue", "limits": greys},
        *(
            {"name": name, "limits": (level - width / 2, level + width / 2)}
            for name, (level, width) in _CT_WINDOWS_HU.items()
        ),
        {"name": "all values", "limits": everything},
    ]


def _colour_table() -> list[list[int]]:
    from matplotlib import colormaps

    return colormaps[COEFFICIENT_COLOURS](np.arange(256), bytes=True)[:, :3].tolist()


def _note(factors: tuple[int, ...], map_factors: tuple[int, ...]) -> str:
    if max(*factors, *map_factors) == 1:
        return ""
    parts = [
        f"{what} in blocks of {' x '.join(map(str, sizes))} voxels"
        for what, sizes in (("the image", factors), ("the maps", map_factors))
        if max(sizes) > 1
    ]
    return (
        f"To keep this page small it shows {' and '.join(parts)} (z, y, x): values are means over "
        "a block, labels those at its centre."
    )
