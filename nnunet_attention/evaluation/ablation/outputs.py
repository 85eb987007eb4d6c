"""Writes an ablation's files, all or none, and prints it."""

from __future__ import annotations

from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.evaluation.ablation.building import Ablation
from nnunet_attention.evaluation.ablation.effects import Effect
from nnunet_attention.evaluation.ablation.report.page import report_page
from nnunet_attention.evaluation.ablation.tables import (
    area_grid,
    effect_grid,
    methods,
    verdict_grid,
    violation_grid,
)
from nnunet_attention.evaluation.leaderboard.grid import Grid
from nnunet_attention.evaluation.leaderboard.grid.latex import escaped as latex_escaped
from nnunet_attention.evaluation.leaderboard.grid.latex import latex_table
from nnunet_attention.evaluation.leaderboard.grid.markdown import escaped, markdown_table
from nnunet_attention.evaluation.leaderboard.grid.terminal import print_grid
from nnunet_attention.evaluation.leaderboard.methods import versions
from nnunet_attention.files import json_text, write_all

if TYPE_CHECKING:
    from rich.console import Console

# To be increased when a key changes its meaning or is removed.
FORMAT = 1
RECORD = "ablation.json"


def write_ablation(ablation: Ablation, folder: Path) -> list[Path]:
    """Write `ablation.json`, `.csv`, `.md`, `.tex` and `.html`, and if there are curves, their CSV.

    The curves are written to `curves.csv`. Existing files of these names are replaced.

    Raises:
        CommandError: if the folder cannot be written.
    """
    texts = {
        RECORD: json_text(ablation_record(ablation), indent=1),
        "ablation.csv": ablation.rows.to_csv(index=False, lineterminator="\n"),
        "ablation.md": markdown(ablation),
        "ablation.tex": latex(ablation),
        "ablation.html": report_page(ablation),
    }
    if ablation.curve_rows is not None:
        texts["curves.csv"] = ablation.curve_rows.to_csv(index=False, lineterminator="\n")
    return write_all(folder, texts)


def print_ablation(ablation: Ablation, console: Console) -> None:
    """Print verdicts, the effects on the first metric, and the results of the curves."""
    grids = [effect_grid(ablation, ablation.metrics[0]), *_curve_grids(ablation)]
    for grid in (*grids, verdict_grid(ablation)):
        if grid.rows:
            print_grid(grid, console)
    for found in ablation.verdicts:
        console.print(found.sentence, highlight=False, markup=False, soft_wrap=True)


def ablation_record(ablation: Ablation) -> dict:
    """Return everything but the values of single cases, which are in the CSV files."""
    curves = ablation.curves
    record = {
        "format": FORMAT,
        "versions": versions(),
        "model": dict(ablation.model),
        "settings": {
            "metrics": list(ablation.metrics),
            "groups": None if ablation.groups is None else dict(ablation.groups),
            "margin": ablation.margin,
            "tolerance_mm": None if ablation.tolerance_mm is None else dict(ablation.tolerance_mm),
            "seed": ablation.seed,
            "cases": ablation.cases,
        },
        "effects": [_effect_record(effect) for effect in ablation.effects],
        "verdicts": [
            {
                "gates": found.gates,
                "label": found.label,
                "verdict": found.kind,
                "sentence": found.sentence,
                "replacement": found.effect.replacement,
                "idle_p_value": found.idle_p_value,
            }
            for found in ablation.verdicts
        ],
        "methods": methods(ablation),
    }
    if curves is not None:
        record["areas"] = [_flat(asdict(area)) for area in curves.areas]
        record["violations"] = [asdict(found) for found in curves.violations]
        record["curves"] = curves.means.to_dict("records")
    return record


def markdown(ablation: Ablation) -> str:
    """Return all tables of all metrics, the verdicts and the methods."""
    parts = ["# Ablation of the attention gates\n"]
    parts.append("".join(f"- {escaped(found.sentence)}\n" for found in ablation.verdicts))
    for grid in _all_grids(ablation):
        parts += [f"## {grid.title}\n", markdown_table(grid)]
        parts += [f"{escaped(note)}\n" for note in grid.notes]
    parts += ["## Methods\n", *(f"{escaped(text)}\n" for text in methods(ablation))]
    return "\n".join(parts)


def latex(ablation: Ablation) -> str:
    """Return all tables, and the methods as comments."""
    parts = ["% Needs \\usepackage{booktabs} in the preamble.\n"]
    for number, grid in enumerate(_all_grids(ablation)):
        caption = ". ".join([grid.title, *(note.rstrip(".") for note in grid.notes)])
        parts.append(latex_table(grid, f"{latex_escaped(caption)}.", f"tab:ablation-{number}"))
    parts.append("% Methods, for the text of the paper:\n")
    parts += [f"% {text}\n" for text in methods(ablation)]
    return "\n".join(parts)


def _all_grids(ablation: Ablation) -> list[Grid]:
    effects = [effect_grid(ablation, metric) for metric in ablation.metrics]
    grids = [verdict_grid(ablation), *effects, *_curve_grids(ablation)]
    return [grid for grid in grids if grid.rows]


def _curve_grids(ablation: Ablation) -> list[Grid]:
    return [area_grid(ablation), violation_grid(ablation)]


def _effect_record(effect: Effect) -> dict:
    return _flat(asdict(effect))


def _flat(record: dict) -> dict:
    """Merge the fields of the comparison into the record; JSON has null for NaN."""
    merged = {**record.pop("comparison"), **record}
    return {
        key: None if isinstance(value, float) and isnan(value) else value
        for key, value in merged.items()
    }
