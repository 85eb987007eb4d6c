"""Gathers the data that the page's script draws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nnunet_attention.evaluation.leaderboard.building import (
    RANKING_METHODS,
    Leaderboard,
    Pair,
    Row,
    Standing,
)
from nnunet_attention.evaluation.leaderboard.records import critical_record
from nnunet_attention.evaluation.leaderboard.tables import count_text
from nnunet_attention.evaluation.metrics.definitions import METRICS

# More decimals would not be visible, and every digit makes the page larger.
_DECIMALS = 4


def page_data(board: Leaderboard) -> dict:
    """Return models by their index, and values in the order of a data set's cases."""
    cases = {
        dataset: sorted(
            {case for row in board.rows if row.dataset == dataset for case in row.cases}
        )
        for dataset in board.datasets
    }
    groups = {dataset: board.settings.groups_of(dataset) for dataset in board.datasets}
    return {
        "models": list(board.models),
        "unit": board.settings.unit,
        "datasets": [
            {
                "name": board.short_name(dataset),
                "cases": cases[dataset],
                **_groups(groups[dataset], cases[dataset]),
            }
            for dataset in board.datasets
        ],
        "metrics": [
            {
                "name": name,
                "title": METRICS[name].title,
                "higher": METRICS[name].higher_is_better,
                "decimals": 2 if name.endswith("_mm") else 3,
                "margin": board.settings.margin_of(name),
            }
            for name in board.settings.metrics
        ],
        "methods": list(RANKING_METHODS.values()),
        "rows": [_row(board, row, cases[row.dataset]) for row in board.rows],
        "consensus": [
            {
                "metric": consensus.metric,
                "datasets": len(consensus.datasets),
                "standings": [
                    [_standing(of_method[model]) for model in board.models]
                    for of_method in consensus.standings.values()
                ],
                "critical": critical_record(consensus.critical, board.models),
            }
            for consensus in board.consensus
        ],
    }


def _groups(groups: Mapping[str, str] | None, cases: list[str]) -> dict:
    return {} if groups is None else {"groups": [groups[case] for case in cases]}


def _row(board: Leaderboard, row: Row, cases: list[str]) -> dict:
    place = {case: number for number, case in enumerate(cases)}
    models = [board.models.index(model) for model in row.entries]
    values = []
    for of_model in np.round(row.values, _DECIMALS).tolist():
        aligned: list[float | None] = [None] * len(cases)
        for case, value in zip(row.cases, of_model, strict=True):
            aligned[place[case]] = value
        values.append(aligned)
    return {
        "dataset": board.datasets.index(row.dataset),
        "label": row.label,
        "overall": row.is_overall,
        "metric": row.metric,
        "models": models,
        "values": values,
        "trainings": {
            str(board.models.index(model)): list(entry.repeated.training_means)
            for model, entry in row.entries.items()
            if entry.repeated is not None
        },
        "standings": [
            [_standing(entry.standings[method]) for entry in row.entries.values()]
            for method in RANKING_METHODS
        ],
        "pairs": [
            {
                "first": board.models.index(pair.first),
                "second": board.models.index(pair.second),
                "difference": pair.comparison.mean_difference,
                "low": pair.comparison.low,
                "high": pair.comparison.high,
                "p": pair.adjusted_p_value,
                # Whether a significant difference may be shown as such.
                "marked": board.settings.marks or pair.repeated is not None,
                **({"disagree": True} if pair.ranks_disagree else {}),
                "n": count_text(board, row),
                **_details(pair),
                "effect": pair.comparison.effect_size,
                "counts": [
                    pair.comparison.wins,
                    pair.comparison.zeros,
                    pair.comparison.losses,
                ],
            }
            for pair in row.pairs
        ],
        "critical": critical_record(row.critical, list(row.entries)),
    }


def _details(pair: Pair) -> dict:
    """Return a pair's results over trainings and against the margin, if it has any."""
    details: dict = {}
    if pair.repeated is not None and pair.repeated.training_means:
        details["trainings"] = list(pair.repeated.training_means)
    if pair.assessment is not None:
        details["verdict"] = pair.assessment.verdict
        details["within"] = [pair.assessment.equivalence.low, pair.assessment.equivalence.high]
        details["claim"] = pair.assessment.false_claim_probability
    return details


def _standing(standing: Standing) -> list:
    shares = [round(share, _DECIMALS) for share in standing.distribution]
    return [standing.rank, standing.low, standing.high, shares]
