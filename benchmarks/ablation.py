"""Keeps the result of `nnunet-attention ablate`, and makes tables and a picture of docs/maps.md.

    python -m benchmarks.ablation OUT

OUT is the folder that `ablate --sanity --curves` wrote. Its numbers, without the paths of its
machine, and two tables go to results/ablation beside this file, from where
`python -m benchmarks.documents` puts the tables into docs/maps.md; the curves are drawn in
docs/pictures/curves.png. Where there are several labels, tables and curves are of their mean.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.documents import ROOT
from benchmarks.texts import markdown_row
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.ablation.curves import DELETION, INSERTION
from nnunet_attention.evaluation.leaderboard.building import MEAN_OF_LABELS
from nnunet_attention.evaluation.leaderboard.tables import (
    confidence_interval,
    p_text,
    percent,
    signed,
)
from nnunet_attention.files import json_text, read_json, write_all

RESULTS = Path(__file__).resolve().parent / "results" / "ablation"
PICTURE = ROOT / "docs" / "pictures" / "curves.png"
_METRIC = "dice"
# Of the picture: the lines' names and colours, from a palette for the colour-blind.
_ORDERS = {
    "attention": ("coefficients", "#0072B2"),
    "cam": ("Grad-CAM", "#D55E00"),
    "random": ("random", "#777777"),
}


def effects_table(record: Mapping) -> str:
    """Return what each replacement changes, as a table in Markdown."""
    label = _label(record)
    heading = ["gates", "replacement", f"Dice, {label}", "95 % CI", "p", "p (Holm)"]
    heading += ["beyond random gates", "changed"]
    rows = []
    for effect in record["effects"]:
        if effect["label"] != label or effect["metric"] != _METRIC:
            continue
        beyond = effect["beyond_random"]
        rows.append(
            [
                effect["gates"],
                effect["replacement"],
                signed(effect["mean_difference"], _METRIC),
                _ends(effect),
                p_text(effect["p_value"]),
                p_text(effect["adjusted_p_value"]),
                f"{signed(beyond['mean_difference'], _METRIC)} {_ends(beyond)}" if beyond else "",
                percent(effect["changed_share"]),
            ]
        )
    return _table(heading, "---|---|---:|---:|---:|---:|---:|---:", rows, record)


def areas_table(record: Mapping) -> str:
    """Return the areas between curves, and the violations, as a table in Markdown."""
    label = _label(record)
    heading = ["gate", "direction", "coefficients against", "area, Dice", "95 % CI"]
    heading += ["p", "p (Holm)"]
    rows = [
        [
            str(area["gate"]),
            area["direction"],
            _ORDERS[area["other"]][0],
            signed(area["mean_difference"], _METRIC),
            _ends(area),
            p_text(area["p_value"]),
            p_text(area["adjusted_p_value"]),
        ]
        for area in record["areas"]
        if area["label"] == label
    ]
    sentences = [
        f"Gate {one['gate']}, the {percent(one['share'])} of blocks with the largest coefficients "
        f"shut: worse in {one['worse']} cases, better in {one['better']} "
        f"(p {_equals(one['p_value'])}, Holm {_equals(one['adjusted_p_value'])})."
        for one in record["violations"]
        if one["label"] == label
    ]
    table = _table(heading, "---:|---|---|---:|---:|---:|---:", rows, record)
    return "\n\n".join([table.rstrip(), *sentences]) + "\n"


def draw_curves(record: Mapping, path: Path) -> None:
    """Draw deletion and insertion of each gate, a panel each."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points = [point for point in record["curves"] if point["label"] == _label(record)]
    gates = sorted({point["gate"] for point in points})
    directions = {DELETION: "shut", INSERTION: "let through"}
    figure = Figure(figsize=(3.4 * len(directions), 2.5 * len(gates)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(gates), len(directions), sharex=True, sharey=True, squeeze=False)
    for row, gate in zip(panels, gates, strict=True):
        for panel, direction in zip(row, directions, strict=True):
            for order, (name, colour) in _ORDERS.items():
                line = [
                    (100 * point["share"], point["value"])
                    for point in points
                    if (point["gate"], point["direction"], point["order"])
                    == (gate, direction, order)
                ]
                panel.plot(*zip(*sorted(line), strict=True), color=colour, marker="o", label=name)
            panel.set_title(f"gate {gate}, {direction}", fontsize=10)
            panel.grid(alpha=0.3)
    for panel, direction in zip(panels[-1], directions.values(), strict=True):
        panel.set_xlabel(f"blocks {direction}, %")
    for row in panels:
        row[0].set_ylabel("Dice")
    panels[0][0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def main(command_line: Sequence[str] | None = None) -> int:
    """Write numbers, tables and picture."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("folder", type=Path, help="folder of ablation.json")
    arguments = parser.parse_args(command_line)
    record = read_json(arguments.folder / "ablation.json")
    if not record.get("curves"):
        raise CommandError(
            f"{arguments.folder}: the ablation has no curves; run nnunet-attention ablate with "
            "--sanity and --curves"
        )
    record["model"].pop("folder")
    texts = {
        "ablation.json": json_text(record, indent=1),
        "effects.md": effects_table(record),
        "areas.md": areas_table(record),
    }
    for path in write_all(RESULTS, texts):
        print(f"wrote {path}")
    draw_curves(record, PICTURE)
    print(f"wrote {PICTURE}")
    return 0


def _label(record: Mapping) -> str:
    labels = [effect["label"] for effect in record["effects"]]
    return MEAN_OF_LABELS if MEAN_OF_LABELS in labels else labels[0]


def _ends(comparison: Mapping) -> str:
    return confidence_interval(comparison["low"], comparison["high"], _METRIC, signed)


def _equals(p_value: float) -> str:
    text = p_text(p_value)
    return text if text.startswith("<") else f"= {text}"


def _table(
    heading: Sequence[str], alignments: str, rows: Iterable[Sequence[str]], record: Mapping
) -> str:
    prediction = record["model"]["prediction"]
    mirrored = "with" if prediction["mirroring_axes"] else "without"
    caption = (
        f"{record['settings']['cases']} cases, {mirrored} mirroring; run by "
        f"{prediction['engine']}, in {prediction['precision']}."
    )
    lines = [markdown_row(heading), f"|{alignments}|", *map(markdown_row, rows)]
    return "\n".join([*lines, "", caption, ""])


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.ablation", main))
