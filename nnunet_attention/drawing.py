"""Draws what our pictures have in common: colours, outlines, slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from nnunet_attention.files import written_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BACKGROUND, TEXT, FAINT_TEXT = "#0e1116", "#f0f3f6", "#9aa4af"
# Okabe and Ito's colours, told apart by colour-blind people too; those far apart come first.
LABEL_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2")
# Perceptually uniform and monotone in lightness; no coefficient looks like a grey of the image.
COEFFICIENT_COLOURS = "inferno"
# A soft-tissue window in Hounsfield units.
CT_WINDOW_HU = (-160.0, 240.0)
# A second and a third turn through the colours.
LineStyle = Literal["solid", "dashed", "dotted"]
_LINE_STYLES: tuple[LineStyle, ...] = ("solid", "dashed", "dotted")


@dataclass(frozen=True)
class LabelStyle:
    """Says how a label, or a region of several, is drawn.

    Attributes:
        name: its name for people.
        values: its values in the label image.
        colour: one of `LABEL_COLOURS`.
        line: the outline's style in matplotlib.
    """

    name: str
    values: tuple[int, ...]
    colour: str
    line: LineStyle

    def mask(self, labels: np.ndarray) -> np.ndarray:
        """Tell where the label image shows this label."""
        return np.isin(labels, self.values)


def label_styles(labels: Mapping[str, int | list[int]]) -> list[LabelStyle]:
    """Choose styles for the foreground labels in their order; none for background and `ignore`.

    Args:
        labels: the value or, for a region, the values by name; as in dataset.json.
    """
    shown = [
        (name, tuple(np.atleast_1d(value).tolist()))
        for name, value in labels.items()
        if value != 0 and name != "ignore"
    ]
    turns = len(LABEL_COLOURS)
    return [
        LabelStyle(
            name, values, LABEL_COLOURS[n % turns], _LINE_STYLES[n // turns % len(_LINE_STYLES)]
        )
        for n, (name, values) in enumerate(shown)
    ]


def fullest_slice(labels: np.ndarray) -> int:
    """Return the index along the first axis of the slice that shows most of the organs.

    Each organ's area counts relative to its largest one. Without organs it is the middle slice.
    """
    score = np.zeros(labels.shape[0])
    for label in np.unique(labels[labels != 0]):
        area = (labels == label).sum(axis=(1, 2))
        score += area / area.max()
    return int(score.argmax()) if score.any() else labels.shape[0] // 2


def draw_labels(panel: Axes, labels: np.ndarray, styles: list[LabelStyle]) -> None:
    """Fill and outline the labels of a slice that the panel shows as an image."""
    for style in styles:
        # A frame of background closes the outline of an organ that leaves the image.
        mask = np.pad(style.mask(labels).astype(float), 1)
        if not mask.any():
            continue
        rows, columns = (np.arange(-1, n - 1) for n in mask.shape)
        panel.contourf(columns, rows, mask, levels=(0.5, 1.5), colors=style.colour, alpha=0.3)
        panel.contour(
            columns,
            rows,
            mask,
            levels=(0.5,),
            colors=style.colour,
            linewidths=1.6,
            linestyles=style.line,
        )
    height, width = labels.shape
    panel.set_xlim(-0.5, width - 0.5)
    panel.set_ylim(height - 0.5, -0.5)


def draw_legend(figure: Figure, styles: list[LabelStyle], columns: int = 6, **options) -> None:
    """Draw a legend of the labels in so many columns; the options are matplotlib's."""
    from matplotlib.patches import Patch

    patches = [
        Patch(
            facecolor=style.colour + "66",
            edgecolor=style.colour,
            linestyle=style.line,
            linewidth=1.5,
            label=style.name,
        )
        for style in styles
    ]
    figure.legend(
        handles=patches,
        ncols=min(len(styles), columns),
        frameon=False,
        labelcolor=TEXT,
        **options,
    )


def new_figure(width_inches: float, height_inches: float, **options) -> Figure:
    """Make a dark figure that needs no display; the options are matplotlib's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), facecolor=BACKGROUND, **options)
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: Path, dots_per_inch: int = 150) -> None:
    """Write a PNG beside its target and rename it."""
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=dots_per_inch, format="png")
