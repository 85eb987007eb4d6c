"""The leaderboard in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_attention.evaluation.leaderboard.building import Leaderboard
from nnunet_attention.evaluation.leaderboard.tables import (
    CONSENSUS_EXPLAINED,
    DASH,
    MARKS_EXPLAINED,
    PLUS_MINUS,
    UNDEFINED_EXPLAINED,
    Cell,
    consensus_standings,
    consensus_table,
    cost_table,
    main_table,
    metric_title,
    undefined_table,
)
from nnunet_attention.evaluation.metrics.definitions import METRICS

# The least room for a heading's word, and for a column of names.
_WORD, _NAME = 10, 12

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


def print_leaderboard(board: Leaderboard, console: Console) -> None:
    """Prints the first metric's tables, costs, and where values are undefined."""
    metric = board.settings.metrics[0]
    console.print(_main_table(board, metric, console.width))
    console.print(MARKS_EXPLAINED, style="dim", highlight=False)
    count, _ = consensus_standings(board, metric)
    if len(board.models) > 1 and count:
        title = f"Ranks over {count} data sets" if count > 1 else "Ranks"
        console.print(_plain_table(title, *consensus_table(board, metric), console.width))
        console.print(CONSENSUS_EXPLAINED, style="dim", highlight=False)
    heading, rows = cost_table(board)
    if rows:
        console.print(_plain_table("Costs", heading, rows, console.width))
    heading, rows = undefined_table(board, metric)
    if rows:
        title = f"Undefined values of {METRICS[metric].title}: {board.settings.policy}"
        console.print(_plain_table(title, heading, rows, console.width))
        console.print(UNDEFINED_EXPLAINED, style="dim", highlight=False)


def _main_table(board: Leaderboard, metric: str, width: int) -> Table:
    """A column for each model or, on a terminal too narrow for that, a line."""
    rows = main_table(board, metric)
    heading = ["data set", "label", "n", *board.models]
    lines = [[row.dataset, row.label, str(row.n), *map(_cell, row.cells)] for row in rows]
    ends = [n + 1 == len(rows) or rows[n + 1].is_overall for n in range(len(rows))]
    numbers = range(2, len(heading))
    widths = _widths(heading, lines, numbers, width)
    if widths is None:
        heading = ["data set", "label", "n", "model", f"mean {PLUS_MINUS} SD"]
        lines = [
            [*(line[:3] if place == 0 else ("", "", "")), model, line[3 + place]]
            for line in lines
            for place, model in enumerate(board.models)
        ]
        ends = [end and model == board.models[-1] for end in ends for model in board.models]
        numbers = (2, 4)
        widths = _widths(heading, lines, numbers, width)
    return _table(metric_title(metric), heading, lines, numbers, widths, ends)


def _plain_table(title: str, heading: list[str], rows: list[list[str]], width: int) -> Table:
    numbers = [n for n in range(len(heading)) if any(row[n][:1].isdigit() for row in rows)]
    widths = _widths(heading, rows, numbers, width)
    return _table(title, heading, rows, numbers, widths, [False] * len(rows))


def _table(
    title: str,
    heading: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    numbers: Collection[int],
    widths: Sequence[int | None] | None,
    ends: Sequence[bool],
) -> Table:
    """Names as they are, without markup; `ends` says after which rows there is a line."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title))
    for number, (name, width) in enumerate(
        zip(heading, widths or [None] * len(heading), strict=True)
    ):
        justify = "right" if number in numbers else "left"
        table.add_column(Text(name), justify=justify, overflow="fold", width=width)
    for row, end in zip(rows, ends, strict=True):
        cells = (Text(cell) if isinstance(cell, str) else cell for cell in row)
        table.add_row(*cells, end_section=end)
    return table


def _widths(
    heading: Sequence[str],
    rows: Sequence[Sequence[str | Text]],
    numbers: Collection[int],
    width: int,
) -> list[int | None] | None:
    """The widths of columns whose numbers must not be broken; None for what may be.

    Args:
        heading: may be broken, as other columns may.
        rows: of the table.
        numbers: the columns.
        width: of the terminal.

    Returns:
        None if there is no room for whole numbers and a little of each other column.
    """
    longest = [max((len(row[n]) for row in rows), default=0) for n in range(len(heading))]
    natural = [max(one, len(name)) for one, name in zip(longest, heading, strict=True)]
    # A line and two blanks between columns.
    room = width - 3 * len(heading) - 1
    if sum(natural) <= room:
        return [None] * len(heading)
    words = [max(map(len, name.split()), default=0) for name in heading]
    least = [
        max(longest[n], min(words[n], _WORD)) if n in numbers else min(natural[n], _NAME)
        for n in range(len(heading))
    ]
    spare = room - sum(least)
    if spare < 0:
        return None
    widths: list[int | None] = [None] * len(heading)
    for place, n in enumerate(numbers):
        grown = min(natural[n] - least[n], spare // (len(numbers) - place))
        widths[n] = least[n] + grown
        spare -= grown
    return widths


def _cell(cell: Cell | None) -> Text:
    from rich.text import Text

    if cell is None:
        return Text(DASH)
    text = Text(cell.mean, style="bold" if cell.best else "")
    spread = f" {PLUS_MINUS} {cell.sd}" if cell.sd else ""
    return Text.assemble(text, spread, cell.mark.ljust(3))
