"""Holds tables as grids of cells, which each output format draws in its own way."""

from nnunet_attention.evaluation.leaderboard.grid.cells import DASH, PLUS_MINUS, Cell, Grid
from nnunet_attention.evaluation.leaderboard.grid.html import html_table
from nnunet_attention.evaluation.leaderboard.grid.latex import latex_table
from nnunet_attention.evaluation.leaderboard.grid.markdown import markdown_table
from nnunet_attention.evaluation.leaderboard.grid.terminal import rich_table

__all__ = [
    "DASH",
    "PLUS_MINUS",
    "Cell",
    "Grid",
    "html_table",
    "latex_table",
    "markdown_table",
    "rich_table",
]
