"""Shows the leaderboard in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_attention.evaluation.leaderboard.building import Leaderboard
from nnunet_attention.evaluation.leaderboard.grid.terminal import print_grid
from nnunet_attention.evaluation.leaderboard.tables import (
    assessment_table,
    consensus_table,
    cost_table,
    main_table,
    published_table,
    trainings_table,
    undefined_table,
)

if TYPE_CHECKING:
    from rich.console import Console


def print_leaderboard(board: Leaderboard, console: Console) -> None:
    """Print the first metric's tables, the costs, and where values are undefined."""
    metric = board.settings.metrics[0]
    print_grid(main_table(board, metric), console)
    trainings = trainings_table(board, metric)
    if trainings.rows:
        print_grid(trainings, console)
    if len(board.models) > 1:
        ranks = consensus_table(board, metric)
        if ranks.rows:
            print_grid(ranks, console)
        assessed = assessment_table(board, metric)
        if assessed.rows:
            print_grid(assessed, console)
    others = (published_table(board, metric), cost_table(board), undefined_table(board, metric))
    for grid in others:
        if grid.rows:
            print_grid(grid, console)
