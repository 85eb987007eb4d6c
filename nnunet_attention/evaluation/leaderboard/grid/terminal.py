"""Draws grids in the terminal."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from nnunet_attention.evaluation.leaderboard.grid.cells import PLUS_MINUS, Cell, Grid

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table
    from rich.text import Text

# The minimum width for a word of a heading, and for a column of names.
_WORD, _NAME = 10, 12


def print_grid(grid: Grid, console: Console) -> None:
    """Print a grid within the width of the terminal, and its notes."""
    console.print(rich_table(grid, console.width))
    for note in grid.notes:
        console.print(note, style="dim", highlight=False, markup=False)


def rich_table(grid: Grid, width: int, compact: bool = False) -> Table:
    """Return a table that breaks no number, and names only if necessary.

    If the columns do not fit side by side, the grid is folded.

    Args:
        grid: the grid, whose texts are shown literally, without markup.
        width: width of the terminal.
        compact: whether the table has no lines between its columns, which takes less room.
    """
    from rich.box import HEAVY_HEAD, SIMPLE
    from rich.table import Table
    from rich.text import Text

    numbers = set(range(grid.names, len(grid.heading)))
    widths = _widths(grid, numbers, width, compact)
    if widths is None and len(grid.heading) > grid.kept + 1:
        # In the folded grid the last column but one holds names.
        numbers = {*range(grid.names, grid.kept), grid.kept + 1}
        grid = grid.folded()
        widths = _widths(grid, numbers, width, compact)
    if widths is None:
        longest = _longest(grid)
        widths = [longest[n] if n in numbers else None for n in range(len(grid.heading))]
    table = Table(
        title=Text(grid.title),
        title_justify="left",
        box=SIMPLE if compact else HEAVY_HEAD,
        collapse_padding=compact,
    )
    for place, name in enumerate(grid.heading):
        # Numbers are padded below: rich would strip the blanks that stand in for a mark.
        justify: JustifyMethod = "right" if place in numbers else "left"
        width_of_column = widths[place]
        if compact and place == 0 and width_of_column is not None:
            # When it collapses padding, rich does not allow for the blank before the first column.
            width_of_column += 1
        table.add_column(Text(name, justify=justify), overflow="fold", width=width_of_column)
    marks = grid.mark_widths
    for number, row in enumerate(grid.rows):
        cells = [
            _text(cell, mark, (widths[n] or 0) if n in numbers else 0)
            for n, (cell, mark) in enumerate(zip(row, marks, strict=True))
        ]
        table.add_row(*cells, end_section=number + 1 in grid.groups)
    return table


def _text(cell: Cell, mark_width: int, width: int) -> Text:
    from rich.text import Text

    text = Text.assemble(
        Text(cell.text, style="bold" if cell.bold else ""), _after(cell, mark_width)
    )
    text.pad_left(max(0, width - text.cell_len))
    return text


def _after(cell: Cell, mark_width: int) -> str:
    spread = f" {PLUS_MINUS} {cell.spread}" if cell.spread else ""
    # Padded, so that the numbers line up.
    return spread + cell.mark.ljust(mark_width)


def _widths(
    grid: Grid, numbers: Collection[int], width: int, compact: bool
) -> list[int | None] | None:
    """Return the widths of columns whose numbers must not be broken.

    Args:
        grid: the grid; its heading and its columns of names may be broken.
        numbers: indices of the columns of numbers.
        width: width of the terminal.
        compact: see `rich_table`.

    Returns:
        The widths, None for a column that may be broken; or None if there is no room for unbroken
        numbers and the minimum width of every other column.
    """
    columns = range(len(grid.heading))
    longest = _longest(grid)
    natural = [max(longest[n], len(grid.heading[n])) for n in columns]
    # Columns are separated by a line and two blanks, or by two blanks.
    room = width - (2 * len(columns) + 2 if compact else 3 * len(columns) + 1)
    if sum(natural) <= room:
        return list(natural)
    words = [max(map(len, name.split()), default=0) for name in grid.heading]
    least = [
        max(longest[n], min(words[n], _WORD)) if n in numbers else min(natural[n], _NAME)
        for n in columns
    ]
    spare = room - sum(least)
    if spare < 0:
        return None
    widths: list[int | None] = [None] * len(columns)
    for place, n in enumerate(sorted(numbers)):
        grown = min(natural[n] - least[n], spare // (len(numbers) - place))
        widths[n] = least[n] + grown
        spare -= grown
    return widths


def _longest(grid: Grid) -> list[int]:
    """Return the length of each column's longest cell."""
    marks = grid.mark_widths
    return [
        max((len(row[n].text) + len(_after(row[n], marks[n])) for row in grid.rows), default=0)
        for n in range(len(grid.heading))
    ]
