"""Draws how the gates' coefficients change while the network learns (figure 3 of the paper)."""

from pathlib import Path

import numpy as np

from nnunet_attention.drawing import (
    COEFFICIENT_COLOURS,
    FAINT_TEXT,
    TEXT,
    draw_labels,
    draw_legend,
    fullest_slice,
    label_styles,
    new_figure,
    save_png,
)
from nnunet_attention.errors import CommandError
from nnunet_attention.files import require_writable
from nnunet_attention.maps.limits import grey_limits, map_limits
from nnunet_attention.maps.reading import how_to_read
from nnunet_attention.maps.training_record import FOLDER, RecordedEpoch, read_recorded_epochs
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, read_dataset_json
from nnunet_attention.nnunet.model_folders import PLANS_JSON, model_name
from nnunet_attention.nnunet.plans import configuration_of, read_plans

_PANEL_INCHES = 2.0
_OPACITY = 0.6


def draw_evolution_of_fold(fold: Path, output: Path | None = None) -> list[Path]:
    """Draw the coefficients that a training recorded, with the labels of the model's data set.

    Args:
        fold: a fold's folder within a model's folder.
        output: folder for the pictures; None for the folder of the recordings.

    Returns:
        The paths of the pictures.

    Raises:
        CommandError: if the fold's folder does not exist, the output folder cannot be written to,
            or `draw_evolution` raises it.
    """
    if not fold.is_dir():
        raise CommandError(f"{fold}: there is no such folder")
    model = fold.absolute().parent
    labels = read_dataset_json(model / DATASET_JSON, ending=False)["labels"]
    folder = output or fold / FOLDER
    require_writable(folder, "-o")
    return draw_evolution(fold, folder, labels, _reading(model))


def _reading(model: Path) -> str:
    """Say how to read a coefficient; nothing of a folder that has no plans of its own."""
    name = model_name(model.name)
    if name is None or not (model / PLANS_JSON).is_file():
        return ""
    configuration = configuration_of(read_plans(model / PLANS_JSON), name.configuration)
    return how_to_read(configuration["architecture"]["arch_kwargs"])


def draw_evolution(
    fold: Path, folder: Path, labels: dict[str, int | list[int]], reading: str = ""
) -> list[Path]:
    """Draw a grid of gates by epochs for each recorded patch.

    Every row has one colour scale, from the 1st to the 99th percentile of the values it shows.

    Args:
        fold: `MODEL_FOLDER/fold_0`, with recordings.
        folder: where `evolution_CASE.png` goes.
        labels: the data set's labels.
        reading: how to read a coefficient, below the grid.

    Returns:
        The paths of the pictures.

    Raises:
        CommandError: if nothing was recorded, or the recordings are of different patches.
    """
    epochs = read_recorded_epochs(fold)
    first = epochs[0]
    for other in epochs[1:]:
        if _signature(other) != _signature(first):
            raise CommandError(
                f"{fold}: epoch {other.epoch} was recorded on different patches or with different "
                f"gates from epoch {first.epoch}; remove the files of one of the two trainings"
            )
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, patch in enumerate(first.patches):
        path = folder / f"evolution_{patch.case}.png"
        _draw(path, epochs, number, labels, reading)
        paths.append(path)
    return paths


def _signature(epoch: RecordedEpoch) -> list:
    return [
        (patch.case, patch.image.shape, [array.shape for array in patch.coefficients])
        for patch in epoch.patches
    ]


def _draw(path: Path, epochs: list[RecordedEpoch], number: int, labels: dict, reading: str) -> None:
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    first = epochs[0].patches[number]
    spacing_mm = epochs[0].spacing_mm[-2:]
    is_volume = first.image.ndim == 3
    index = fullest_slice(first.reference) if is_volume else 0

    def cut(volume: np.ndarray) -> np.ndarray:
        return volume[index] if is_volume else volume

    image, reference = cut(first.image).astype(np.float32), cut(first.reference)
    gates = range(len(first.coefficients))
    rows = [
        [
            cut(_on_patch(epoch.patches[number].coefficients[gate], first.image.shape))
            for epoch in epochs
        ]
        for gate in gates
    ]
    height = _PANEL_INCHES * image.shape[0] * spacing_mm[0] / (image.shape[1] * spacing_mm[1])
    columns = len(epochs) + 1
    figure = new_figure(
        columns * _PANEL_INCHES + 1.1, len(rows) * (height + 0.12) + 1.0, layout="constrained"
    )
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    panels = figure.subplots(len(rows), columns, squeeze=False)
    greys = grey_limits(first.image.astype(np.float32))
    options = {"aspect": spacing_mm[0] / spacing_mm[1], "interpolation": "bilinear"}
    for panel in panels.flat:
        panel.imshow(image, cmap="gray", vmin=greys[0], vmax=greys[1], **options)
        panel.set_axis_off()
    styles = [style for style in label_styles(labels) if np.isin(reference, style.values).any()]
    for gate, row in zip(gates, rows, strict=True):
        low, high = map_limits(np.stack(row))
        for panel, coefficients in zip(panels[gate, 1:], row, strict=True):
            drawn = panel.imshow(
                coefficients,
                cmap=COEFFICIENT_COLOURS,
                vmin=low,
                vmax=high,
                alpha=_OPACITY,
                **options,
            )
        draw_labels(panels[gate, 0], reference, styles)
        downsampling = [
            f"{size / grid:g}"
            for size, grid in zip(first.image.shape, first.coefficients[gate].shape, strict=True)
        ]
        panels[gate, 0].text(
            *(-0.06, 0.5, f"gate {gate}\n1/{' x 1/'.join(downsampling)}"),
            transform=panels[gate, 0].transAxes,
            **{"color": TEXT, "rotation": 90, "ha": "right", "va": "center", "fontsize": 9},
        )
        bar = figure.colorbar(drawn, ax=panels[gate, -1], fraction=0.08, pad=0.04)
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=TEXT, labelsize=8)
    titles = ["reference", *(f"epoch {epoch.epoch}" for epoch in epochs)]
    for panel, title in zip(panels[0], titles, strict=True):
        panel.set_title(title, color=TEXT if panel is not panels[0, 0] else FAINT_TEXT, fontsize=11)
    figure.suptitle(f"{first.case}: attention coefficients while learning", color=TEXT, fontsize=12)
    if reading:
        figure.supxlabel(reading, color=FAINT_TEXT, fontsize=9)
    if styles:
        draw_legend(figure, styles, loc="outside lower center", fontsize=10)
    save_png(figure, path)


def _on_patch(coefficients: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    import torch

    from nnunet_attention.maps.stitching import on_grid_of_patch

    batch = torch.from_numpy(coefficients.astype(np.float32))[None, None]
    return on_grid_of_patch([batch], shape)[0].numpy()
