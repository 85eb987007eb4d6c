"""Writes the leaderboard as Markdown."""

from __future__ import annotations

from nnunet_attention.evaluation.leaderboard.building import Leaderboard
from nnunet_attention.evaluation.leaderboard.grid import Grid
from nnunet_attention.evaluation.leaderboard.grid.markdown import escaped, markdown_table
from nnunet_attention.evaluation.leaderboard.methods import methods_paragraphs, references
from nnunet_attention.evaluation.leaderboard.tables import (
    assessment_table,
    consensus_table,
    cost_table,
    fold_mean_table,
    main_table,
    pair_table,
    published_table,
    trainings_table,
    undefined_table,
)


def markdown(board: Leaderboard) -> str:
    """Return all tables of all metrics, and the methods."""
    parts = ["# Leaderboard\n"]
    for metric in board.settings.metrics:
        main = main_table(board, metric)
        parts += [f"## {main.title}\n", markdown_table(main, bold_groups=True), *_notes(main)]
        trainings = trainings_table(board, metric)
        if trainings.rows:
            parts += ["### Trainings\n", markdown_table(trainings), *_notes(trainings)]
        if len(board.models) > 1:
            ranks = consensus_table(board, metric)
            parts += ["### Ranks over data sets\n", markdown_table(ranks), *_notes(ranks)]
            pairs = pair_table(board, metric)
            parts += [f"### {pairs.title}\n", markdown_table(pairs)]
            assessed = assessment_table(board, metric)
            if assessed.rows:
                parts += [f"### {assessed.title}\n", markdown_table(assessed), *_notes(assessed)]
        published = published_table(board, metric)
        if published.rows:
            parts += [f"### {published.title}\n", markdown_table(published), *_notes(published)]
        undefined = undefined_table(board, metric)
        if undefined.rows:
            parts += ["### Undefined values\n", *_notes(undefined), markdown_table(undefined)]
        means = fold_mean_table(board, metric)
        parts += [f"### {means.title}\n", *_notes(means), markdown_table(means)]
    costs = cost_table(board)
    if costs.rows:
        parts += [f"## {costs.title}\n", markdown_table(costs)]
    if board.missing:
        listed = "".join(f"- {escaped(path)}\n" for path in board.missing)
        parts += ["## Missing folds\n", listed]
    parts += ["## Methods\n", *(f"{escaped(text)}\n" for text in methods_paragraphs(board))]
    parts.append("".join(f"{number}. {text}\n" for number, text in enumerate(references(board), 1)))
    return "\n".join(parts)


def _notes(grid: Grid) -> list[str]:
    return [f"{escaped(note)}\n" for note in grid.notes]
