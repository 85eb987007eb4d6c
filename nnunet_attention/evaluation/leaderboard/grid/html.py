"""Draws grids as HTML."""

from __future__ import annotations

import re
from html import escape

from nnunet_attention.evaluation.leaderboard.grid.cells import PLUS_MINUS, Cell, Grid

# Of what may be broken anywhere, as a page's style has it; of headings only the long ones are.
_NAME, _LONG = ' class="name"', 14
# So many that paper takes them only with smaller letters.
_MANY_COLUMNS = 10
# As in AttentionUNetTrainer_250epochs, and not after nn; nothing in an escaped character looks so.
_WORD_OF_NAME_ENDS = re.compile(r"(?<=[A-Za-z0-9][a-z0-9]{2})(?=[A-Z])|(?<=_)(?=.)")


def html_table(grid: Grid) -> str:
    """Return a table that can be scrolled sideways, without its title and notes."""
    head = "".join(
        f'<th scope="col"{_NAME if len(name) > _LONG else ""}>{breakable(name)}</th>'
        for name in grid.heading
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_NAME if cell.text[:1].isalpha() else ''}>{html_cell(cell)}</td>" for cell in row
        )
        + "</tr>"
        for row in grid.rows
    )
    boxed = "scroll many-columns" if len(grid.heading) > _MANY_COLUMNS else "scroll"
    return (
        f'<div class="{boxed}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def html_cell(cell: Cell) -> str:
    """Return what stands in a cell."""
    text = breakable(cell.text)
    if cell.bold:
        text = f"<strong>{text}</strong>"
    spread = f" {PLUS_MINUS} {cell.spread}" if cell.spread else ""
    mark = f"<sup>{cell.mark}</sup>" if cell.mark else ""
    return f"{text}{spread}{mark}"


def breakable(text: str) -> str:
    """Return text that may be broken where a word of a compound name ends."""
    return _WORD_OF_NAME_ENDS.sub("<wbr>", escape(text))
