"""Turns the leaderboard into plain objects for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

from nnunet_attention.evaluation.leaderboard.assessing import Assessment
from nnunet_attention.evaluation.leaderboard.building import Leaderboard, Row, Settings
from nnunet_attention.evaluation.leaderboard.methods import methods_paragraphs, references, versions
from nnunet_attention.evaluation.leaderboard.published import PublishedComparison
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.equivalence import CORRELATIONS, FalseClaims
from nnunet_attention.evaluation.statistics.groups import GroupsByDataset
from nnunet_attention.evaluation.statistics.ranking import CriticalDifference
from nnunet_attention.evaluation.statistics.repeats import Repeated

# To be increased when a key changes its meaning or is removed.
FORMAT = 1
# Settings added after the first format; records that do not use them stay unchanged.
_LATER = ("groups", "paired_repeats", "marks", "margin")


def leaderboard_record(board: Leaderboard) -> dict:
    """Return everything but the values of single cases, which are in the CSV file."""
    return {
        "format": FORMAT,
        "versions": versions(),
        "settings": settings_record(board.settings),
        "datasets": list(board.datasets),
        "models": list(board.models),
        "missing": list(board.missing),
        "metrics": {name: METRICS[name].definition for name in board.settings.metrics},
        "rows": [_row(row, board.settings) for row in board.rows],
        "consensus": [
            {
                "metric": consensus.metric,
                "datasets": list(consensus.datasets),
                "standings": {
                    method: {model: asdict(standing) for model, standing in standings.items()}
                    for method, standings in consensus.standings.items()
                },
                "critical_difference": critical_record(consensus.critical, board.models),
            }
            for consensus in board.consensus
        ],
        "nnunet_fold_means": board.fold_means,
        "undefined": board.undefined.to_dict("records"),
        "dropped": board.dropped.to_dict("records"),
        "costs": [
            {"dataset": dataset, "model": model, **asdict(cost)}
            for (dataset, model), cost in board.costs.items()
            if cost.is_known
        ],
        **({"published": published_record(board.published)} if board.published else {}),
        # The record has all marks, whether tables show them or not.
        "methods": methods_paragraphs(board, all_marks=True),
        "references": list(references(board)),
    }


def settings_record(settings: Settings) -> dict:
    """Return the settings; those added later only if they are used."""
    record = asdict(replace(settings, groups=None, published=()))
    # Published results are recorded beside the models instead.
    del record["published"]
    for name in _LATER:
        del record[name]
        if value := getattr(settings, name):
            record[name] = _groups(value) if name == "groups" else value
    return record


def _groups(groups: Mapping[str, str] | GroupsByDataset) -> dict:
    """Return groups by case, unless data sets have cases of one name in different groups."""
    by_case: dict[str, str] = {}
    record: dict[str, str | dict[str, str]] = {}
    is_unique = True
    for key, value in groups.items():
        of_cases = {key: value} if isinstance(value, str) else dict(value)
        record[key] = value if isinstance(value, str) else of_cases
        is_unique &= all(by_case.get(case, group) == group for case, group in of_cases.items())
        by_case.update(of_cases)
    return dict(by_case) if is_unique else record


def _row(row: Row, settings: Settings) -> dict:
    counts = {} if settings.groups is None else {"groups": len(row.units), "cases": len(row.cases)}
    return {
        **counts,
        "dataset": row.dataset,
        "label": row.label,
        "is_overall": row.is_overall,
        "metric": row.metric,
        "models": {
            model: {
                **asdict(entry.summary),
                "best": entry.best,
                "mark": entry.mark,
                **trainings_record(entry.repeated),
                "standings": {
                    method: asdict(standing) for method, standing in entry.standings.items()
                },
            }
            for model, entry in row.entries.items()
        },
        "comparisons": [
            {
                "first": pair.first,
                "second": pair.second,
                **asdict(pair.comparison),
                "adjusted_p_value": pair.adjusted_p_value,
                **({"mean_and_ranks_disagree": True} if pair.ranks_disagree else {}),
                **trainings_record(pair.repeated),
                **_assessment(pair.assessment),
            }
            for pair in row.pairs
        ],
        "critical_difference": critical_record(row.critical, tuple(row.entries)),
    }


def trainings_record(repeated: Repeated | None) -> dict:
    """Return the statistics over several trainings; empty if a model was trained once."""
    if repeated is None:
        return {}
    return {
        "trainings": {
            "repeats": list(repeated.repeats),
            "means": list(repeated.training_means),
            "sd": repeated.training_sd,
            "unit_sd": repeated.unit_sd,
            "paired": repeated.paired,
            "standard_error": repeated.estimate.standard_error,
            "degrees_of_freedom": repeated.estimate.degrees_of_freedom,
        }
    }


def _assessment(assessment: Assessment | None) -> dict:
    if assessment is None:
        return {}
    found = assessment.equivalence
    derived = {"p_value": found.p_value, "smallest_margin": found.smallest_margin}
    record = asdict(assessment)
    record["equivalence"].update(derived)
    return {"assessment": record}


def published_record(comparisons: Iterable[PublishedComparison]) -> list[dict]:
    """Return the comparisons with published results, with probabilities by correlation."""
    return [
        {
            **asdict(comparison.published),
            "beside": comparison.model,
            "difference": comparison.difference,
            "better": comparison.better,
            "false_claim_probability_at_correlation": _by_correlation(comparison.claims),
            "needed_correlation": comparison.claims and comparison.claims.needed_correlation,
        }
        for comparison in comparisons
    ]


def _by_correlation(claims: FalseClaims | None) -> dict[str, float] | None:
    if claims is None:
        return None
    names = [f"{correlation:g}" for correlation in CORRELATIONS]
    return dict(zip(names, claims.by_correlation, strict=True))


def critical_record(critical: CriticalDifference | None, models: Sequence[str]) -> dict | None:
    """Return a critical difference with mean ranks by model name; None if there is none.

    Args:
        critical: critical difference of the models.
        models: their names, in the order of its mean ranks.
    """
    if critical is None:
        return None
    return {
        "blocks": critical.blocks,
        "difference": critical.difference,
        "friedman_p_value": critical.friedman_p_value,
        "mean_ranks": dict(zip(models, critical.mean_ranks.tolist(), strict=True)),
        "cliques": [[models[number] for number in clique] for clique in critical.cliques],
    }
