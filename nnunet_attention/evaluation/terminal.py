"""The leaderboard in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_attention.evaluation.leaderboard import Leaderboard
from nnunet_attention.evaluation.metrics import METRICS
from nnunet_attention.evaluation.tables import (
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

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


def print_leaderboard(board: Leaderboard, console: Console) -> None:
    """Prints the first metric's tables, costs, and where values are undefined."""
    metric = board.settings.metrics[0]
    console.print(_main_table(board, metric))
    console.print(MARKS_EXPLAINED, style="dim", highlight=False)
    count, _ = consensus_standings(board, metric)
    if len(board.models) > 1 and count:
        title = f"Ranks over {count} data sets" if count > 1 else "Ranks"
        console.print(_plain_table(title, *consensus_table(board, metric)))
        console.print(CONSENSUS_EXPLAINED, style="dim", highlight=False)
    heading, rows = cost_table(board)
    if rows:
        console.print(_plain_table("Costs", heading, rows))
    heading, rows = undefined_table(board, metric)
    if rows:
        title = f"Undefined values of {METRICS[metric].title}: {board.settings.policy}"
        console.print(_plain_table(title, heading, rows))
        console.print(UNDEFINED_EXPLAINED, style="dim", highlight=False)


def _main_table(board: Leaderboard, metric: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=metric_title(metric))
    table.add_column("data set", overflow="fold")
    table.add_column("label", overflow="fold")
    table.add_column("n", justify="right")
    for model in board.models:
        table.add_column(Text(model), justify="right", overflow="fold")
    rows = main_table(board, metric)
    for number, row in enumerate(rows):
        last = number + 1 == len(rows) or rows[number + 1].is_overall
        cells = [_cell(cell) for cell in row.cells]
        table.add_row(Text(row.dataset), Text(row.label), str(row.n), *cells, end_section=last)
    return table


def _cell(cell: Cell | None) -> Text:
    from rich.text import Text

    if cell is None:
        return Text(DASH)
    text = Text(cell.mean, style="bold" if cell.best else "")
    spread = f" {PLUS_MINUS} {cell.sd}" if cell.sd else ""
    return Text.assemble(text, spread, cell.mark.ljust(3))


def _plain_table(title: str, heading: list[str], rows: list[list[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title))
    for number, name in enumerate(heading):
        is_number = any(row[number][:1].isdigit() for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
