"""Adds means over groups of cases, such as the images of one patient, to a summary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.comparisons import Summary
from nnunet_attention.evaluation.statistics.groups import summarise_groups

_STATISTICS = ("mean", "sd", "median", "low", "high")
_DEFINITION = (
    "Means over groups, each of which counts once, by the mean of its cases where they are "
    "defined; 95 % intervals by a bootstrap over groups. The mean of the foreground is that of "
    "each case's mean over its defined labels."
)


def with_groups(
    summary: Mapping, cases: Sequence[str], groups: Mapping[str, str], seed: int = 0
) -> dict:
    """Return a summary with the key `groups`, and each case's group beside its metrics.

    Args:
        summary: nnU-Net's, with the metrics of `METRICS`; unchanged, and so are its own means.
        cases: names, in the order of `metric_per_case`.
        groups: by case.
        seed: of the bootstrap.
    """
    entries = summary["metric_per_case"]
    labels = list(summary["mean"])
    keys = [metric.key for metric in METRICS.values()]
    # (labels, metrics, cases)
    values = np.array(
        [[[entry["metrics"][label][key] for entry in entries] for key in keys] for label in labels]
    )
    defined = (~np.isnan(values)).sum(axis=0)
    foreground = np.where(defined, np.nansum(values, axis=0) / np.maximum(defined, 1), np.nan)
    rows = np.concatenate([values, foreground[None]])
    of_cases = [groups[case] for case in cases]
    found = summarise_groups(rows.reshape(-1, len(cases)), of_cases, seed)
    number_of_cases = (~np.isnan(rows)).sum(axis=2).ravel()
    records = [
        {"cases": int(number), **_record(described)}
        for described, number in zip(found, number_of_cases, strict=True)
    ]
    by_label = [
        dict(zip(keys, records[start : start + len(keys)], strict=True))
        for start in range(0, len(records), len(keys))
    ]
    return {
        **summary,
        "metric_per_case": [
            {**entry, "group": group} for entry, group in zip(entries, of_cases, strict=True)
        ],
        "groups": {
            "number": len(set(of_cases)),
            "definition": _DEFINITION,
            "mean": dict(zip(labels, by_label[:-1], strict=True)),
            "foreground_mean": by_label[-1],
        },
    }


def _record(described: Summary | None) -> dict[str, float]:
    """Return the statistics of a row, NaN where undefined, as in the rest of the file."""
    if described is None:
        return {"groups": 0, **dict.fromkeys(_STATISTICS, math.nan)}
    numbers = {name: getattr(described, name) for name in _STATISTICS}
    defined = {name: math.nan if value is None else value for name, value in numbers.items()}
    return {"groups": described.n, **defined}
