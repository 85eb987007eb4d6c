"""Draws the maps of several networks of the same case side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.where_gates_help.coefficients import read_image
from nnunet_attention.drawing import (
    COEFFICIENT_COLOURS,
    TEXT,
    draw_labels,
    fullest_slice,
    label_styles,
    new_figure,
    save_png,
)
from nnunet_attention.files import read_json
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.folders import RAW_REFERENCES

_PANEL_INCHES = 2.2


def draw_side_by_side(raw: Path, mapped: Mapping[str, Path], path: Path) -> None:
    """Draw a row for each gate: the image with its reference, and each network's coefficients.

    The case is the first by name, the slice the one that shows most of the reference. All maps have
    one colour scale, from 0 to 1.

    Args:
        raw: the raw data set.
        mapped: outputs of `nnunet-attention maps` by the networks' titles, all of the same cases.
        path: of the PNG.
    """
    description = read_json(raw / DATASET_JSON)
    ending = description["file_ending"]
    case = min((next(iter(mapped.values())) / "maps").iterdir()).name
    image = read_image(raw / "imagesTr" / f"{case}_0000{ending}")
    reference = read_image(raw / RAW_REFERENCES / f"{case}{ending}")
    shown = fullest_slice(reference)
    maps = {title: output / "maps" / case for title, output in mapped.items()}
    gates = sorted(one.name for one in next(iter(maps.values())).glob(f"gate_*{ending}"))
    rows, columns = len(gates), 1 + len(maps)
    figure = new_figure(
        _PANEL_INCHES * (columns + 0.4), _PANEL_INCHES * (rows + 0.2), layout="constrained"
    )
    panels = figure.subplots(rows, columns, squeeze=False)
    for gate, of_gate in zip(gates, panels, strict=True):
        of_gate[0].imshow(image[shown], cmap="gray")
        draw_labels(of_gate[0], reference[shown], label_styles(description["labels"]))
        of_gate[0].set_ylabel(gate.removesuffix(ending).replace("_", " "), color=TEXT)
        for panel, (title, folder) in zip(of_gate[1:], maps.items(), strict=True):
            drawn = panel.imshow(
                read_image(folder / gate)[shown], cmap=COEFFICIENT_COLOURS, vmin=0, vmax=1
            )
            panel.set_title(title, color=TEXT, fontsize=9)
        of_gate[0].set_title(f"{case}, slice {shown}, reference", color=TEXT, fontsize=9)
        for panel in of_gate:
            panel.set(xticks=(), yticks=())
    bar = figure.colorbar(drawn, ax=panels, shrink=0.6)
    bar.ax.tick_params(colors=TEXT)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(figure, path, 100)
