"""Draws grids as LaTeX tables, which need the booktabs package."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nnunet_attention.evaluation.leaderboard.grid.cells import Cell, Grid

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
}
_PATTERN = re.compile("|".join(map(re.escape, _SPECIAL)))


def escaped(text: str) -> str:
    """Escape text so that LaTeX prints it literally."""
    return _PATTERN.sub(lambda match: _SPECIAL[match[0]], " ".join(text.split()))


def latex_table(
    grid: Grid,
    caption: str,
    label: str,
    heading: str | None = None,
    between_groups: str = "\\midrule\n",
) -> str:
    """Return a float with a table; title and notes are left to the caption.

    Args:
        grid: the table.
        caption: in LaTeX.
        label: for references.
        heading: lines of LaTeX that replace the grid's own heading.
        between_groups: a line of LaTeX.
    """
    lines = [latex_line(map(escaped, grid.heading)) if heading is None else heading]
    lines.append("\\midrule\n")
    marks = grid.mark_widths
    for number, row in enumerate(grid.rows):
        if number and number in grid.groups:
            lines.append(between_groups)
        lines.append(
            latex_line(
                _cell(cell, marks[place], place >= grid.names) for place, cell in enumerate(row)
            )
        )
    columns = "l" * grid.names + "r" * (len(grid.heading) - grid.names)
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{caption}}}\n\\label{{{label}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{''.join(lines)}\\bottomrule\n"
        "\\end{tabular}\n\\end{table}\n"
    )


def latex_line(cells: Iterable[str]) -> str:
    """Return a line of a table from cells in LaTeX."""
    return f"{' & '.join(cells)} \\\\\n"


def _cell(cell: Cell, mark_width: int, is_number: bool) -> str:
    if not (cell.spread or cell.mark):
        text = _number(cell.text) if is_number else escaped(cell.text)
        return f"\\textbf{{{text}}}" if cell.bold else text
    text = f"\\mathbf{{{cell.text}}}" if cell.bold else cell.text
    if cell.spread:
        text += f" \\pm {cell.spread}"
    if mark_width:
        # Pad to the column's widest mark, so that the numbers line up.
        missing = "*" * (mark_width - len(cell.mark))
        phantom = f"\\phantom{{{missing}}}" if missing else ""
        text += f"^{{{cell.mark}{phantom}}}"
    return f"${text}$"


def _number(text: str) -> str:
    bound = f"${text[0]}$" if text.startswith(("<", ">")) else ""
    return bound + escaped(text[1:] if bound else text).replace(" \\%", "\\,\\%")
