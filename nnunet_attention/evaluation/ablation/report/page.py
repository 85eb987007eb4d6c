"""Fills the page's template with tables, curves and text."""

from __future__ import annotations

from html import escape

from nnunet_attention import __version__
from nnunet_attention.evaluation.ablation.building import Ablation
from nnunet_attention.evaluation.ablation.report.plot import curve_plot
from nnunet_attention.evaluation.ablation.tables import (
    area_grid,
    effect_grid,
    methods,
    verdict_grid,
    violation_grid,
)
from nnunet_attention.evaluation.leaderboard.grid import Grid, html_table
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.pages import filled_page


def report_page(ablation: Ablation) -> str:
    """Return the text of ablation.html."""
    return filled_page(
        "nnunet_attention.evaluation.ablation.report",
        # No script: the page is static.
        None,
        title="Ablation of the attention gates",
        subtitle=escape(_subtitle(ablation)),
        findings="".join(
            f'<li class="{found.kind}">{escape(found.sentence)}</li>' for found in ablation.verdicts
        ),
        verdicts=_table(verdict_grid(ablation)),
        effects="".join(
            f"<h3>{escape(METRICS[metric].title)}</h3>{_table(effect_grid(ablation, metric))}"
            for metric in ablation.metrics
        ),
        curves=_curves(ablation),
        methods="".join(f"<p>{escape(text)}</p>" for text in methods(ablation)),
        version=escape(__version__),
    )


def _subtitle(ablation: Ablation) -> str:
    groups = "" if ablation.groups is None else f" in {ablation.units} groups"
    folder = ablation.model.get("folder")
    return f"{ablation.cases} cases{groups}" + (f"; {folder}" if folder else "")


def _table(grid: Grid) -> str:
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in grid.notes)
    return html_table(grid) + notes


def _curves(ablation: Ablation) -> str:
    if ablation.curves is None:
        return ""
    plots = "".join(
        curve_plot(of_plot, f"gate {gate}, {direction}", METRICS[ablation.metrics[0]].title)
        for (gate, direction), of_plot in _overall(ablation).groupby(["gate", "direction"])
    )
    return (
        f'<section id="curves"><h2>Deletion and insertion</h2><div class="plots">{plots}</div>'
        f"{_table(area_grid(ablation))}{_table(violation_grid(ablation))}</section>"
    )


def _overall(ablation: Ablation):
    """Return the means of each gate's first label, the mean of labels if there are several."""
    assert ablation.curves is not None, "asked for curves only"
    means = ablation.curves.means
    return means[means["label"] == means.groupby("gate")["label"].transform("first")]
