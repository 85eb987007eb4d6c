"""Draws grids as HTML."""

from __future__ import annotations

import re
from html import escape

from nnunet_attention.evaluation.leaderboard.grid.cells import PLUS_MINUS, Cell, Grid

# The class of texts that the page's style may break anywhere; of headings only long ones have it.
_NAME, _LONG = ' class="name"', 14
# With more columns than this, a table fits on paper only in a smaller font.
_MANY_COLUMNS = 10
# Breaks names like AttentionUNetTrainer_250epochs, but not after nn; no HTML escape matches.
_WORD_OF_NAME_ENDS = re.compile(r"(?<=[A-Za-z0-9][a-z0-9]{2})(?=[A-Z])|(?<=_)(?=.)")


def html_table(grid: Grid) -> str:
    """Return a table that scrolls sideways, without its title and notes."""
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
    """Return the content of a cell."""
    text = breakable(cell.text)
    if cell.bold:
        text = f"<strong>{text}</strong>"
    spread = f" {PLUS_MINUS} {cell.spread}" if cell.spread else ""
    mark = f"<sup>{cell.mark}</sup>" if cell.mark else ""
    return f"{text}{spread}{mark}"


def breakable(text: str) -> str:
    """Return text with line-break opportunities between the words of compound names."""
    return _WORD_OF_NAME_ENDS.sub("<wbr>", escape(text))
