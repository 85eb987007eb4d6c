"""Draws the demo's picture: the image, reference and predictions of a few held-out cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_attention.drawing import (
    CT_WINDOW_HU,
    FAINT_TEXT,
    TEXT,
    draw_labels,
    draw_legend,
    fullest_slice,
    label_styles,
    new_figure,
    save_png,
)
from nnunet_attention.msd import MsdTask
from nnunet_attention.whole_files import check_whole

_MOST_CASES = 3
_PANEL_INCHES = 3.1
# Slices are cut across the thick axis if its spacing exceeds the finest by more than this factor.
_ANISOTROPY = 1.5


@dataclass(frozen=True)
class ShownCase:
    """A held-out case.

    Attributes:
        name: Name of the case.
        image: Image file.
        reference: File of the reference segmentation.
        predictions: File of each model's segmentation.
        dice: Each model's mean Dice over the labels; None where it is undefined for all of them.
    """

    name: str
    image: Path
    reference: Path
    predictions: tuple[Path, ...]
    dice: tuple[float | None, ...]


@dataclass(frozen=True)
class Slice:
    """One row of panels, oriented as on a radiologist's screen.

    Attributes:
        image: Grey values of the first channel, (rows, columns).
        labels: Label arrays of the same shape: the reference, then the predictions.
        spacing_mm: Spacing of rows and columns.
        number: Number of the slice, from 1.
        slices: How many slices there are.
    """

    image: np.ndarray
    labels: tuple[np.ndarray, ...]
    spacing_mm: tuple[float, float]
    number: int
    slices: int


def write_comparison(
    path: Path, cases: Sequence[ShownCase], models: Sequence[str], task: MsdTask
) -> None:
    """Draw up to three held-out cases and write a PNG.

    Args:
        path: The PNG.
        cases: The held-out cases.
        models: Names of the models, in the order of each case's predictions.
        task: The task that the cases belong to.
    """
    shown = cases[:_MOST_CASES]
    rows = [cut_slice(case.image, [case.reference, *case.predictions]) for case in shown]
    titles = [
        [
            f"{case.name}, slice {row.number} of {row.slices}",
            "reference",
            *(
                f"{model}: Dice {_dice(dice)}"
                for model, dice in zip(models, case.dice, strict=True)
            ),
        ]
        for case, row in zip(shown, rows, strict=True)
    ]
    draw(path, rows, titles, task.organs, CT_WINDOW_HU if task.is_ct else None)


def cut_slice(image_path: Path, label_paths: list[Path]) -> Slice:
    """Cut the slice that shows most of the reference's organs, each organ with equal weight.

    Args:
        image_path: A 3-D image, or a 4-D image whose first channel is used.
        label_paths: Label images, the reference first.

    Returns:
        The slice.
    """
    import SimpleITK

    for file in (image_path, *label_paths):
        check_whole(file)
    image = SimpleITK.ReadImage(str(image_path))
    labels = [SimpleITK.ReadImage(str(label_path)) for label_path in label_paths]
    if image.GetDimension() == 4:
        first = SimpleITK.GetImageFromArray(SimpleITK.GetArrayFromImage(image)[0])
        # The labels have the geometry of one channel.
        first.CopyInformation(labels[0])
        image = first
    # Reorient so that the axes run from the patient's right to left, front to back, feet to head.
    image, *labels = (SimpleITK.DICOMOrient(volume, "LPS") for volume in (image, *labels))
    spacing_mm = np.array(image.GetSpacing()[::-1])
    across = int(spacing_mm.argmax()) if spacing_mm.max() > _ANISOTROPY * spacing_mm.min() else 0
    arrays = [SimpleITK.GetArrayFromImage(volume) for volume in (image, *labels)]
    volumes = [np.moveaxis(array, across, 0) for array in arrays]
    rows_mm, columns_mm = np.delete(spacing_mm, across)
    index = fullest_slice(volumes[1])
    planes = [volume[index] for volume in volumes]
    if across != 0:
        # Rows start at the feet, but on the screen the head is at the top.
        planes = [plane[::-1] for plane in planes]
    return Slice(
        image=planes[0].astype(float),
        labels=tuple(planes[1:]),
        spacing_mm=(float(rows_mm), float(columns_mm)),
        number=index + 1,
        slices=volumes[0].shape[0],
    )


def draw(
    path: Path,
    rows: list[Slice],
    titles: list[list[str]],
    organs: dict[int, str],
    window: tuple[float, float] | None,
) -> None:
    """Draw rows of an image and its label maps, and write a PNG beside its target.

    Args:
        path: The PNG.
        rows: One row for each case.
        titles: A title for each panel of each row: the image, then the label maps.
        organs: Names by label.
        window: Grey values shown as black and as white; None uses percentiles of the image.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    styles = label_styles({name: label for label, name in organs.items()})
    columns = len(titles[0])
    heights = [_PANEL_INCHES * _height_over_width(row) for row in rows]
    header_inches, title_inches = 0.45, 0.25
    figure = new_figure(
        columns * _PANEL_INCHES,
        sum(heights) + title_inches * len(rows) + header_inches,
        layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.05, wspace=0, hspace=0.02),
    )
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for row, row_titles, row_axes in zip(rows, titles, axes, strict=True):
        low, high = window or np.percentile(row.image, (0.5, 99.5))
        for number, (title, panel) in enumerate(zip(row_titles, row_axes, strict=True)):
            panel.imshow(
                row.image,
                cmap="gray",
                vmin=low,
                vmax=high,
                interpolation="bicubic",
                aspect=row.spacing_mm[0] / row.spacing_mm[1],
            )
            panel.set_title(title, color=TEXT if number else FAINT_TEXT, fontsize=10, pad=4)
            panel.set_axis_off()
            if number:
                draw_labels(panel, row.labels[number - 1], styles)
    draw_legend(figure, styles, loc="outside upper center", fontsize=11)
    save_png(figure, path)


def _height_over_width(row: Slice) -> float:
    rows, columns = row.image.shape
    return rows * row.spacing_mm[0] / (columns * row.spacing_mm[1])


def _dice(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"
