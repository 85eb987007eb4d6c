"""Lays out tables like those of the paper: for terminal, Markdown, LaTeX and JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.evaluation.leaderboard.building import MEAN_OF_LABELS, Leaderboard, Pair, Row
from nnunet_attention.evaluation.leaderboard.costs import Cost
from nnunet_attention.evaluation.leaderboard.grid import (
    DASH,
    Cell,
    Grid,
    latex_table,
    markdown_table,
)
from nnunet_attention.evaluation.leaderboard.grid import latex as tex
from nnunet_attention.evaluation.leaderboard.grid import markdown as md
from nnunet_attention.evaluation.leaderboard.grid.terminal import print_grid
from nnunet_attention.evaluation.leaderboard.methods import versions
from nnunet_attention.evaluation.leaderboard.records import settings_record, trainings_record
from nnunet_attention.evaluation.leaderboard.tables import (
    confidence_interval,
    count_heading,
    count_text,
    p_text,
    signed,
    spread_text,
    test_words,
    units_in_words,
    value_text,
)
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.comparisons import Comparison, Summary
from nnunet_attention.evaluation.statistics.repeats import Repeated
from nnunet_attention.files import json_text, write_all

if TYPE_CHECKING:
    from rich.console import Console

# The paper's: Dice, precision, recall and S2S, the mean distance of the two surfaces.
PAPER_METRICS = ("dice", "precision", "recall", "assd_mm")
TITLES = {
    "dice": "Dice",
    "precision": "Precision",
    "recall": "Recall",
    "assd_mm": "S2S distance (mm)",
}
PARAMETERS, SECONDS = "Parameters", "Inference (s)"
# Grows when a key of the JSON changes its meaning or goes.
FORMAT = 1
_LEVEL = 0.05


@dataclass(frozen=True)
class Layout:
    """Says how a table is laid out.

    Attributes:
        title: of the table.
        settings: titles by the name that the setting has as a data set of the leaderboard.
        baseline: method that the others are tested against.
        methods_in_columns: as in the paper's table of training sizes; else each setting's methods
            stand in rows, as in its table of transfer.
        controls: further methods that the others are compared with, without a test.
    """

    title: str
    settings: Mapping[str, str]
    baseline: str
    methods_in_columns: bool = False
    controls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Value:
    """Holds a method's result in a setting, by one metric on one label.

    Attributes:
        summary: over the cases.
        comparison: with the baseline, this method first; None for the baseline itself.
        adjusted_p_value: by Holm's method; None where there is no comparison.
        is_better: whether it is significantly better than the baseline.
        count: the number of cases, or of groups with their cases in brackets, in words.
        repeated: the result of several trainings of the method; None where it was trained once.
        repeated_comparison: the same for the difference, this method first.
    """

    summary: Summary
    comparison: Comparison | None
    adjusted_p_value: float | None
    is_better: bool
    count: str
    repeated: Repeated | None = None
    repeated_comparison: Repeated | None = None


class PaperTable:
    """Lays out a leaderboard whose data sets are settings of an experiment, as in the paper."""

    def __init__(self, board: Leaderboard, layout: Layout):
        """Look everything up; compute nothing.

        Args:
            board: with the metrics `PAPER_METRICS`, or some of them.
            layout: see `Layout`.
        """
        self.board = board
        self.layout = layout
        self._rows = {(row.dataset, row.label, row.metric): row for row in board.rows}

    @property
    def settings(self) -> list[str]:
        """The settings that have results, in the layout's order."""
        return [name for name in self.layout.settings if name in self.board.datasets]

    def methods(self, setting: str) -> list[str]:
        """List the methods that have results in a setting."""
        return [
            model
            for model in self.board.models
            if any(model in row.entries for key, row in self._rows.items() if key[0] == setting)
        ]

    @property
    def labels(self) -> list[str]:
        """The labels of all settings, the mean of labels first."""
        labels = dict.fromkeys(row.label for row in self.board.rows)
        return sorted(labels, key=lambda label: label != MEAN_OF_LABELS)

    def value(self, setting: str, label: str, metric: str, method: str) -> Value | None:
        """Look up a value; None where there is none."""
        row = self._rows.get((setting, label, metric))
        if row is None or method not in row.entries:
            return None
        pair = _against(row, method, self.layout.baseline)
        comparison = None if pair is None else pair.comparison
        p_value = None if pair is None else pair.adjusted_p_value
        is_better = (
            pair is not None
            and pair.adjusted_p_value < _LEVEL
            and not pair.ranks_disagree
            and (pair.comparison.mean_difference > 0) == METRICS[metric].higher_is_better
        )
        entry = row.entries[method]
        return Value(
            entry.summary,
            comparison,
            p_value,
            is_better,
            count_text(self.board, row),
            entry.repeated,
            None if pair is None else pair.repeated,
        )

    def cost(self, setting: str, method: str) -> Cost:
        """Look up what a method costs in a setting; its parameters are the same in all."""
        cost = self.board.costs.get((setting, method), Cost())
        if cost.parameters is not None:
            return cost
        known = (
            elsewhere.parameters
            for (_, other), elsewhere in self.board.costs.items()
            if other == method and elsewhere.parameters is not None
        )
        return Cost(next(known, None), cost.training_hours, cost.seconds_per_case)

    def grids(self) -> list[Grid]:
        """Return the table: one grid, or one for each label where methods stand in rows."""
        if self.layout.methods_in_columns:
            return [self._in_columns()]
        return [self._in_rows(label) for label in self.labels]

    def differences(self) -> list[Grid]:
        """Compare methods with the baseline, and with each control, with intervals."""
        grids = []
        for other in (self.layout.baseline, *self.layout.controls):
            grid = self._by_method(
                f"Differences from {other}: mean and 95 % interval",
                "Difference",
                partial(self._difference_cell, other),
                partial(_is_none_of, (other, self.layout.baseline)),
            )
            grids += [] if grid is None else [grid]
        return grids

    def p_values(self) -> Grid | None:
        """Compare each method with the baseline; None where there is only the baseline."""
        return self._by_method(
            f"p-values against {self.layout.baseline}: raw (Holm)",
            "p (Holm)",
            lambda *place: _p_cell(self.value(*place)),
            lambda method: method != self.layout.baseline,
        )

    def spreads(self) -> Grid | None:
        """Put the spread between trainings beside that between cases; None without repeats."""
        if max(self.board.trainings.values()) == 1:
            return None
        return self._by_method(
            f"SD between the means of trainings (between {self.board.settings.unit}s)",
            "SD",
            lambda *place: _spread_cell(self.value(*place), place[2]),
            lambda method: self.board.trainings[method] > 1,
        )

    def _by_method(
        self,
        title: str,
        folded: str,
        cell: Callable[[str, str, str, str], Cell],
        is_shown: Callable[[str], bool],
    ) -> Grid | None:
        """Return a grid with a row for each setting, label and method; None without rows.

        Args:
            title: Of the grid.
            folded: Heading of its numbers where they stand below each other.
            cell: Makes the cell of a setting, label, metric and method.
            is_shown: Tells whether a method has rows.
        """
        metrics = self.board.settings.metrics
        rows: list[tuple[Cell, ...]] = []
        groups: set[int] = set()
        for setting in self.settings:
            for label in self.labels:
                for method in filter(is_shown, self.methods(setting)):
                    values = [self.value(setting, label, metric, method) for metric in metrics]
                    if not any(values):
                        continue
                    if not rows or rows[-1][0].text != self.layout.settings[setting]:
                        groups.add(len(rows))
                    n = next(value.count for value in values if value)
                    names = (self.layout.settings[setting], label, method, n)
                    cells = [cell(setting, label, metric, method) for metric in metrics]
                    rows.append((*map(Cell, names), *cells))
        if not rows:
            return None
        titles = (TITLES[metric] for metric in metrics)
        return Grid(
            title,
            ("Setting", "Label", "Method", count_heading(self.board), *titles),
            tuple(rows),
            3,
            frozenset(groups),
            kept=4,
            folded_heading=("Metric", folded),
        )

    def pair(self, setting: str, label: str, metric: str, method: str, other: str) -> Pair | None:
        """Look up a comparison of two methods, `method` first; None where there is none."""
        row = self._rows.get((setting, label, metric))
        return None if row is None else _against(row, method, other)

    def _difference_cell(
        self, other: str, setting: str, label: str, metric: str, method: str
    ) -> Cell:
        pair = self.pair(setting, label, metric, method, other)
        if pair is None:
            return Cell(DASH)
        comparison = pair.comparison
        ends = confidence_interval(comparison.low, comparison.high, metric, signed)
        return Cell(f"{signed(comparison.mean_difference, metric)} {ends}")

    def caption(self) -> str:
        """Say what the numbers are."""
        return (
            f"Mean and standard deviation over {units_in_words(self.board)}{self._trainings()}. "
            f"Bold: significantly better than {self.layout.baseline} (p < {_LEVEL:g}; "
            f"{test_words(self.board)} on the same {self.board.settings.unit}s, corrected by "
            "Holm's method for all tests of the metric, single labels "
            "apart from their mean). S2S distance: average symmetric surface distance. Undefined "
            f"values: policy '{self.board.settings.policy}'. Inference: mean seconds from one case "
            "to the next in nnU-Net's validation, with sliding window and mirroring."
            f"{self._intervals()}{self._trained_once()}"
        )

    def _trainings(self) -> str:
        """Say how often methods were trained; nothing if they were trained once."""
        count = max(self.board.trainings.values())
        return "" if count == 1 else f", of means over {count} trainings"

    def _intervals(self) -> str:
        """Say what the intervals of differences are; nothing where there are none."""
        counts = self.board.trainings
        if len(counts) == 1:
            return ""
        over = f"{self.board.settings.unit}s"
        if min(counts.values()) > 1:
            over += " and trainings"
        return f" Intervals: bootstrap over {over}."

    def _trained_once(self) -> str:
        """Say what p-values do not tell; nothing where there are none, or several trainings."""
        counts = self.board.trainings
        if len(counts) == 1 or max(counts.values()) > 1:
            return ""
        unit = self.board.settings.unit
        return f" One training each: p-values hold for other {unit}s, not for other trainings."

    def record(self) -> dict:
        """Return everything, for JSON."""
        metrics = self.board.settings.metrics
        results = []
        for setting in self.settings:
            for method in self.methods(setting):
                labels = {}
                for label in self.labels:
                    values = {name: self.value(setting, label, name, method) for name in metrics}
                    labels[label] = {
                        name: None
                        if value is None
                        else {
                            **_value_record(value),
                            "against_controls": self._controls_record(setting, label, name, method),
                        }
                        for name, value in values.items()
                    }
                results.append(
                    {
                        "setting": setting,
                        "setting_title": self.layout.settings[setting],
                        "method": method,
                        "labels": labels,
                        **asdict(self.cost(setting, method)),
                    }
                )
        return {
            "format": FORMAT,
            "title": self.layout.title,
            "baseline": self.layout.baseline,
            "caption": self.caption(),
            "metrics": {name: METRICS[name].definition for name in metrics},
            "settings": settings_record(self.board.settings),
            "results": results,
            "versions": versions(),
        }

    def _controls_record(self, setting: str, label: str, metric: str, method: str) -> dict:
        pairs = {
            control: self.pair(setting, label, metric, method, control)
            for control in self.layout.controls
        }
        return {
            control: _comparison_record(pair.comparison, pair.repeated)
            for control, pair in pairs.items()
            if pair is not None
        }

    def _in_rows(self, label: str) -> Grid:
        metrics = self.board.settings.metrics
        several = len(self.settings) > 1
        rows: list[tuple[Cell, ...]] = []
        groups: set[int] = set()
        for setting in self.settings:
            groups.add(len(rows))
            for method in self.methods(setting):
                first = len(rows) in groups
                names = [self.layout.settings[setting] if first else ""] if several else []
                values = [self.value(setting, label, metric, method) for metric in metrics]
                if not any(values):
                    continue
                cells = [
                    _cell(value, metric) for value, metric in zip(values, metrics, strict=True)
                ]
                cost = self.cost(setting, method)
                rows.append(
                    (
                        *map(Cell, [*names, method]),
                        *cells,
                        Cell(_parameters(cost)),
                        Cell(_seconds(cost)),
                    )
                )
        names = ["Setting", "Method"] if several else ["Method"]
        heading = (*names, *(TITLES[metric] for metric in metrics), PARAMETERS, SECONDS)
        title = f"{self.layout.title}: {label}" if len(self.labels) > 1 else self.layout.title
        return Grid(
            title,
            heading,
            tuple(rows),
            len(names),
            frozenset(groups),
            kept=len(names),
            folded_heading=("Measure", "Value"),
        )

    def _in_columns(self) -> Grid:
        metrics = self.board.settings.metrics
        columns = [
            (setting, method) for setting in self.settings for method in self.methods(setting)
        ]
        rows: list[tuple[Cell, ...]] = []
        groups: set[int] = set()
        for label in self.labels:
            groups.add(len(rows))
            for metric in metrics:
                values = [self.value(setting, label, metric, method) for setting, method in columns]
                first = len(rows) in groups
                names = (label if first else "", TITLES[metric])
                rows.append((*map(Cell, names), *(_cell(value, metric) for value in values)))
        groups.add(len(rows))
        costs = [self.cost(setting, method) for setting, method in columns]
        for title, text in ((PARAMETERS, _parameters), (SECONDS, _seconds)):
            rows.append((Cell(""), Cell(title), *(Cell(text(cost)) for cost in costs)))
        heading = (
            "",
            "",
            *(f"{method} ({self.layout.settings[setting]})" for setting, method in columns),
        )
        return Grid(
            self.layout.title,
            heading,
            tuple(rows),
            2,
            frozenset(groups),
            kept=2,
            folded_heading=("Method", "Value"),
        )


def write_paper_table(table: PaperTable, folder: Path) -> list[Path]:
    """Write `table.json`, `.md` and `.tex`, all or none; existing files are replaced.

    Raises:
        CommandError: if the folder cannot be written.
    """
    texts = {
        "table.json": json_text(table.record(), indent=1),
        "table.md": as_markdown(table),
        "table.tex": as_latex(table),
    }
    return write_all(folder, texts)


def print_paper_table(table: PaperTable, console: Console) -> None:
    """Print all grids, and what the numbers are."""
    for grid in _all_grids(table):
        print_grid(grid, console)
    console.print(table.caption(), style="dim", highlight=False, markup=False)


def as_markdown(table: PaperTable) -> str:
    """Return a section for each grid."""
    parts = [f"# {md.escaped(table.layout.title)}\n"]
    for grid in _all_grids(table):
        if grid.title != table.layout.title:
            parts.append(f"## {md.escaped(grid.title)}\n")
        parts.append(markdown_table(grid))
    parts.append(f"{md.escaped(table.caption())}\n")
    return "\n".join(parts)


def as_latex(table: PaperTable) -> str:
    """Return a float for each grid."""
    parts = ["% Needs \\usepackage{booktabs} in the preamble.\n"]
    key = re.sub(r"[^a-z0-9]+", "-", table.layout.title.lower())
    for number, grid in enumerate(_all_grids(table)):
        caption = tex.escaped(grid.title) + "." + (f" {_latex_caption(table)}" * (not number))
        parts.append(latex_table(grid, caption, f"tab:{key}-{number + 1}"))
    return "\n".join(parts)


def _all_grids(table: PaperTable) -> list[Grid]:
    further = (table.p_values(), table.spreads())
    return [
        *table.grids(),
        *table.differences(),
        *(grid for grid in further if grid is not None),
    ]


def _against(row: Row, method: str, baseline: str) -> Pair | None:
    """Return the comparison with the baseline, the method first; None for the baseline itself."""
    for pair in row.pairs:
        if (pair.first, pair.second) == (method, baseline):
            return pair
        if (pair.first, pair.second) == (baseline, method):
            return replace(
                pair,
                first=method,
                second=baseline,
                comparison=pair.comparison.turned(),
                repeated=None if pair.repeated is None else pair.repeated.turned(),
            )
    return None


def _value_record(value: Value) -> dict:
    return {
        **asdict(value.summary),
        **trainings_record(value.repeated),
        "against_baseline": None
        if value.comparison is None
        else _comparison_record(value.comparison, value.repeated_comparison),
        "adjusted_p_value": value.adjusted_p_value,
        "significantly_better": value.is_better,
    }


def _is_none_of(names: Collection[str], name: str) -> bool:
    return name not in names


def _comparison_record(comparison: Comparison, repeated: Repeated | None) -> dict:
    return {**asdict(comparison), **trainings_record(repeated)}


def _cell(value: Value | None, metric: str) -> Cell:
    if value is None:
        return Cell(DASH)
    sd = value.summary.sd
    spread = "" if sd is None else value_text(sd, metric)
    return Cell(value_text(value.summary.mean, metric), spread, value.is_better)


def _p_cell(value: Value | None) -> Cell:
    if value is None or value.comparison is None or value.adjusted_p_value is None:
        return Cell(DASH)
    raw, adjusted = p_text(value.comparison.p_value), p_text(value.adjusted_p_value)
    return Cell(f"{raw} ({adjusted})", bold=value.is_better)


def _spread_cell(value: Value | None, metric: str) -> Cell:
    if value is None or value.repeated is None:
        return Cell(DASH)
    of_trainings, of_units = (
        spread_text(sd, metric) for sd in (value.repeated.training_sd, value.repeated.unit_sd)
    )
    return Cell(f"{of_trainings} ({of_units})")


def _parameters(cost: Cost) -> str:
    return DASH if cost.parameters is None else f"{cost.parameters / 1e6:.2f} M"


def _seconds(cost: Cost) -> str:
    return DASH if cost.seconds_per_case is None else f"{cost.seconds_per_case:.2f}"


def _latex_caption(table: PaperTable) -> str:
    return tex.escaped(table.caption()).replace("p \\textless{} 0.05", "$p<0.05$")
