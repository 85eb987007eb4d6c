"""The leaderboard as Markdown."""

from __future__ import annotations

import re

from nnunet_attention.evaluation.leaderboard.building import Leaderboard
from nnunet_attention.evaluation.leaderboard.methods import REFERENCES, methods_paragraphs
from nnunet_attention.evaluation.leaderboard.tables import (
    CONSENSUS_EXPLAINED,
    DASH,
    FOLD_MEANS_EXPLAINED,
    MARKS_EXPLAINED,
    PLUS_MINUS,
    UNDEFINED_EXPLAINED,
    Cell,
    consensus_table,
    cost_table,
    fold_mean_table,
    main_table,
    metric_title,
    pair_table,
    undefined_table,
)

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&$])")


def markdown(board: Leaderboard) -> str:
    """All tables of all metrics, and the methods."""
    parts = ["# Leaderboard\n"]
    for metric in board.settings.metrics:
        parts += [f"## {metric_title(metric)}\n", _main_table(board, metric)]
        parts.append(f"{escaped(MARKS_EXPLAINED)}\n")
        if len(board.models) > 1:
            parts += ["### Ranks over data sets\n", _table(*consensus_table(board, metric))]
            parts.append(f"{CONSENSUS_EXPLAINED}\n")
            parts += ["### Paired comparisons\n", _table(*pair_table(board, metric))]
        heading, rows = undefined_table(board, metric)
        if rows:
            parts += ["### Undefined values\n", f"{UNDEFINED_EXPLAINED}\n", _table(heading, rows)]
        parts += ["### nnU-Net's means\n", f"{escaped(FOLD_MEANS_EXPLAINED)}\n"]
        parts.append(_table(*fold_mean_table(board, metric)))
    heading, rows = cost_table(board)
    if rows:
        parts += ["## Costs\n", _table(heading, rows)]
    if board.missing:
        parts += ["## Missing folds\n", "".join(f"- {escaped(one)}\n" for one in board.missing)]
    parts += ["## Methods\n", *(f"{escaped(text)}\n" for text in methods_paragraphs(board))]
    parts.append("".join(f"{number}. {text}\n" for number, text in enumerate(REFERENCES, 1)))
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _main_table(board: Leaderboard, metric: str) -> str:
    heading = ["data set", "label", "n", *board.models]
    lines = [_line([escaped(name) for name in heading])]
    lines.append(_line(["---", "---", "---:", *("---:" for _ in board.models)]))
    for row in main_table(board, metric):
        dataset = f"**{escaped(row.dataset)}**" if row.dataset else ""
        cells = [_cell(cell) for cell in row.cells]
        lines.append(_line([dataset, escaped(row.label), str(row.n), *cells]))
    return "".join(lines)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return DASH
    mean = f"**{cell.mean}**" if cell.best else cell.mean
    spread = f" {PLUS_MINUS} {cell.sd}" if cell.sd else ""
    return f"{mean}{spread}{escaped(cell.mark)}"


def _table(heading: list[str], rows: list[list[str]]) -> str:
    lines = [[escaped(cell) for cell in heading], ["---"] * len(heading)]
    return "".join(map(_line, lines)) + "".join(
        _line([escaped(cell) for cell in row]) for row in rows
    )


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
