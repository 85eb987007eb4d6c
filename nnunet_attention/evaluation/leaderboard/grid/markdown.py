"""Draws grids as Markdown."""

from __future__ import annotations

import re

from nnunet_attention.evaluation.leaderboard.grid.cells import PLUS_MINUS, Cell, Grid

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~&$])")


def escaped(text: str) -> str:
    """Escape text so that Markdown shows it literally."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def markdown_table(grid: Grid, bold_groups: bool = False) -> str:
    """Return a table, without its title and notes.

    Args:
        grid: the table.
        bold_groups: whether the first name of each group is bold, as Markdown has no lines between
            rows.
    """
    rules = ["---" if place < grid.names else "---:" for place in range(len(grid.heading))]
    lines = [[escaped(name) for name in grid.heading], rules]
    for number, row in enumerate(grid.rows):
        first, *others = row
        is_bold = first.bold or (bold_groups and number in grid.groups)
        lines.append(
            [_cell(Cell(first.text, first.spread, is_bold, first.mark)), *map(_cell, others)]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    if cell.bold and text:
        text = f"**{text}**"
    spread = f" {PLUS_MINUS} {cell.spread}" if cell.spread else ""
    return f"{text}{spread}{escaped(cell.mark)}"
