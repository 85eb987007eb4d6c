"""The demo's picture: image, reference and both predictions of a few held-out cases."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnunet_attention.demo.task import MsdTask

if TYPE_CHECKING:
    from nnunet_attention.demo.results import Results

# Okabe and Ito's colours, told apart by colour-blind people too; those far apart come first.
ORGAN_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2")
_BACKGROUND, _TEXT, _FAINT_TEXT = "#0e1116", "#f0f3f6", "#9aa4af"
_MOST_CASES = 3
# A soft-tissue window in Hounsfield units.
_CT_WINDOW_HU = (-160.0, 240.0)
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
    draw(path, rows, titles, task.organs, _CT_WINDOW_HU if task.is_ct else None)


def cut_slice(image_path: Path, label_paths: list[Path]) -> Slice:
    """Cuts the slice that shows most of the reference's organs, each counted alike.

    Args:
        image_path: a 3-D image, or a 4-D one of which the first channel is taken.
        label_paths: reference first.
    """
    import SimpleITK

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


def fullest_slice(labels: np.ndarray) -> int:
    """Index along the first axis where the organs, each relative to its largest area, sum highest.

    Without any organ it is the middle.
    """
    score = np.zeros(labels.shape[0])
    for label in np.unique(labels[labels != 0]):
        area = (labels == label).sum(axis=(1, 2))
        score += area / area.max()
    return int(score.argmax()) if score.any() else labels.shape[0] // 2


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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    columns = len(titles[0])
    heights = [_PANEL_INCHES * _height_over_width(row) for row in rows]
    header_inches, title_inches = 0.45, 0.25
    figure = Figure(
        figsize=(columns * _PANEL_INCHES, sum(heights) + title_inches * len(rows) + header_inches),
        facecolor=_BACKGROUND,
        layout="constrained",
    )
    FigureCanvasAgg(figure)
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
            panel.set_title(title, color=_TEXT if number else _FAINT_TEXT, fontsize=10, pad=4)
            panel.set_axis_off()
            if number:
                _outline(panel, row.labels[number - 1], organs)
    figure.legend(
        handles=[
            Patch(facecolor=colour + "66", edgecolor=colour, linewidth=1.5, label=organs[label])
            for label, colour in _colours(organs).items()
        ],
        loc="outside upper center",
        ncols=min(len(organs), 6),
        frameon=False,
        labelcolor=_TEXT,
        fontsize=11,
    )
    beside = path.with_name(path.name + ".part")
    figure.savefig(beside, dpi=150, format="png")
    os.replace(beside, path)


def _outline(panel, labels: np.ndarray, organs: dict[int, str]) -> None:
    for label, colour in _colours(organs).items():
        # A frame of background closes the outline of an organ that leaves the image.
        mask = np.pad((labels == label).astype(float), 1)
        if not mask.any():
            continue
        rows, columns = (np.arange(-1, n - 1) for n in mask.shape)
        panel.contourf(columns, rows, mask, levels=(0.5, 1.5), colors=colour, alpha=0.3)
        panel.contour(columns, rows, mask, levels=(0.5,), colors=colour, linewidths=1.6)
    height, width = labels.shape
    panel.set_xlim(-0.5, width - 0.5)
    panel.set_ylim(height - 0.5, -0.5)


def _colours(organs: dict[int, str]) -> dict[int, str]:
    return {
        label: ORGAN_COLOURS[number % len(ORGAN_COLOURS)] for number, label in enumerate(organs)
    }


def _height_over_width(row: Slice) -> float:
    rows, columns = row.image.shape
    return rows * row.spacing_mm[0] / (columns * row.spacing_mm[1])


def _dice(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"
