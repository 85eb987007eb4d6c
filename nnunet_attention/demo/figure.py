"""The demo's picture: image, reference and both predictions of a few held-out cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
from nnunet_attention.msd.task_folder import MsdTask
from nnunet_attention.whole_files import check_whole

if TYPE_CHECKING:
    from nnunet_attention.demo.results import Results

_MOST_CASES = 3
_PANEL_INCHES = 3.1
# Slices are cut across the thick axis where one spacing is this much above the finest.
_ANISOTROPY = 1.5


@dataclass(frozen=True)
class Slice:
    """One panel row, in the orientation of a radiologist's screen.

    Attributes:
        image: grey values, (rows, columns), first channel.
        labels: label arrays of the same shape: the reference, then the predictions.
        spacing_mm: of rows and columns.
        number: of the slice, from 1.
        slices: how many there are.
    """

    image: np.ndarray
    labels: tuple[np.ndarray, ...]
    spacing_mm: tuple[float, float]
    number: int
    slices: int


def write_comparison(
    path: Path, task: MsdTask, results: Results, predictions: dict[str, Path]
) -> None:
    """Draws up to three held-out cases and writes a PNG.

    Args:
        path: of the PNG.
        task: the demo's layout with imagesTs and labelsTs.
        results: for the names and Dice.
        predictions: folder of the predicted label images by trainer.
    """
    cases = results.held_out_cases[:_MOST_CASES]
    rows = [
        cut_slice(
            task.folder / "imagesTs" / f"{case}.nii.gz",
            [
                task.folder / "labelsTs" / f"{case}.nii.gz",
                *(predictions[model.trainer] / f"{case}.nii.gz" for model in results.models),
            ],
        )
        for case in cases
    ]
    titles = [
        [
            f"{case}, slice {row.number} of {row.slices}",
            "reference",
            *(f"{model.name}: Dice {_dice(model.dice_of_case[case])}" for model in results.models),
        ]
        for case, row in zip(cases, rows, strict=True)
    ]
    draw(path, rows, titles, task.organs, CT_WINDOW_HU if task.is_ct else None)


def cut_slice(image_path: Path, label_paths: list[Path]) -> Slice:
    """Cuts the slice that shows most of the reference's organs, each counted alike.

    Args:
        image_path: a 3-D image, or a 4-D one of which the first channel is taken.
        label_paths: reference first.
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
    # Axes from the patient's right to left, front to back, feet to head, wherever they began.
    image, *labels = (SimpleITK.DICOMOrient(one, "LPS") for one in (image, *labels))
    spacing_mm = np.array(image.GetSpacing()[::-1])
    across = int(spacing_mm.argmax()) if spacing_mm.max() > _ANISOTROPY * spacing_mm.min() else 0
    volumes = [np.moveaxis(SimpleITK.GetArrayFromImage(one), across, 0) for one in (image, *labels)]
    rows_mm, columns_mm = np.delete(spacing_mm, across)
    index = fullest_slice(volumes[1])
    planes = [volume[index] for volume in volumes]
    if across != 0:
        # Rows count from the feet; on the screen the head is on top.
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
    """Draws rows of an image and its label maps, and writes a PNG beside its target.

    Args:
        path: of the PNG.
        rows: one a case.
        titles: for each row one a panel: the image, then the label maps.
        organs: names by label.
        window: grey values of black and white; None: from the image's own percentiles.
    """
    styles = label_styles({name: label for label, name in organs.items()})
    columns = len(titles[0])
    heights = [_PANEL_INCHES * _height_over_width(row) for row in rows]
    header_inches, title_inches = 0.45, 0.25
    figure = new_figure(
        columns * _PANEL_INCHES,
        sum(heights) + title_inches * len(rows) + header_inches,
        layout="constrained",
    )
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.05, wspace=0, hspace=0.02)
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
