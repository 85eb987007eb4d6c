"""Formats numbers for the benchmarks' tables."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_attention.evaluation.leaderboard.tables import MINUS


def four_places(value: float) -> str:
    """Write a difference of Dice with its sign."""
    return f"{value:+.4f}".replace("-", MINUS)


def ends_text(interval: tuple[float, float]) -> str:
    """Write an interval of differences of Dice."""
    return f"[{four_places(interval[0])}, {four_places(interval[1])}]"


def markdown_row(cells: Sequence[str]) -> str:
    """Write a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"
