"""Decides which value counts where a metric is undefined, and which cases all models share."""

from __future__ import annotations

import math

import pandas as pd

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.metrics.definitions import METRICS, check_metrics
from nnunet_attention.evaluation.metrics.table import recorded_tolerances
from nnunet_attention.evaluation.statistics.definitions import DEFAULT_POLICY, POLICIES

_GROUP = ["dataset", "configuration", "model", "label", "metric"]
_PAIR = ["dataset", "label", "metric"]


def apply_policy(
    frame: pd.DataFrame, policy: str = DEFAULT_POLICY, missing_distance_mm: float | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Replace undefined values, or leave them out; afterwards every value is defined.

    Some values remain undefined under every policy and are left out: precision without any
    prediction, recall and relative volume difference without a reference, distances to an empty
    mask.

    Args:
        frame: with the columns of `COLUMNS`; unchanged.
        policy: one of `POLICIES`.
        missing_distance_mm: value of ASSD and HD95 where just one mask is empty, e.g. the diagonal
            of the images; None: these cases are left out.

    Returns:
        The rows that count, and for each dataset, configuration, model, label and metric the
        numbers of: cases; both_empty, prediction_only, reference_only (the kinds of empty masks
        among them); replaced (values given by the policy); left_out; used.

    Raises:
        CommandError: if there is no such policy or metric, or normalised surface Dice was computed
            with several tolerances.
    """
    if policy not in POLICIES:
        raise CommandError(f"unknown policy {policy!r}; choose from: {', '.join(POLICIES)}")
    if "nsd" in check_metrics(frame["metric"].unique()):
        recorded_tolerances(frame)
    no_reference = frame["reference_voxels"] == 0
    no_prediction = frame["prediction_voxels"] == 0
    both_empty = no_reference & no_prediction
    one_empty = no_reference ^ no_prediction
    value = frame["value"].replace([math.inf, -math.inf], math.nan)
    if missing_distance_mm is not None:
        value = value.mask(
            one_empty & frame["metric"].isin(["assd_mm", "hd95_mm"]), missing_distance_mm
        )
    if policy == "empty-correct-is-one":
        perfect = frame["metric"].map(
            {name: metric.when_both_empty for name, metric in METRICS.items()}
        )
        value = value.mask(both_empty, perfect.astype(float))
    elif policy == "reference-present":
        value = value.mask(no_reference)
    kept = value.notna()
    flags = pd.DataFrame(
        {
            **{column: frame[column] for column in _GROUP},
            "cases": 1,
            "both_empty": both_empty,
            "prediction_only": no_reference & ~no_prediction,
            "reference_only": no_prediction & ~no_reference,
            "replaced": kept & ~frame["value"].eq(value),
            "left_out": ~kept,
            "used": kept,
        }
    )
    counts = flags.groupby(_GROUP, sort=False, as_index=False).sum()
    numbers = [column for column in counts if column not in _GROUP]
    counts = counts.astype(dict.fromkeys(numbers, "int64"))
    return frame.assign(value=value)[kept].reset_index(drop=True), counts


def common_cases(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the cases that every model has, for each data set, label and metric.

    Models are paired by the names of cases, never by their position. A model here is a pair of
    model and configuration. A model without any row for a data set and metric is ignored there.

    Args:
        frame: after `apply_policy`; rows whose value is NaN count as absent. Unchanged.

    Returns:
        The rows of the cases in common, and for each dataset, label and metric the numbers of:
        cases (of any model), common, dropped.

    Raises:
        CommandError: if a model has a case twice.
    """
    defined = frame[frame["value"].notna()]
    contestant = ["model", "configuration"]
    twice = defined.duplicated([*_PAIR, "case", *contestant])
    if twice.any():
        first = defined[twice].iloc[0]
        raise CommandError(
            f"model {first['model']} has case {first['case']} of {first['dataset']} "
            f"{first['configuration']} twice; give each model a different name"
        )
    expected = (
        defined[["dataset", "metric", *contestant]]
        .drop_duplicates()
        .groupby(["dataset", "metric"])
        .size()
        .rename("expected")
    )
    present = defined.groupby([*_PAIR, "case"], sort=False).size().rename("present").reset_index()
    present = present.merge(expected, on=["dataset", "metric"])
    present["common"] = present["present"] == present["expected"]
    dropped = present.groupby(_PAIR, sort=False, as_index=False).agg(
        cases=("common", "size"), common=("common", "sum")
    )
    dropped["dropped"] = dropped["cases"] - dropped["common"]
    shared = defined.merge(present[present["common"]][[*_PAIR, "case"]], on=[*_PAIR, "case"])
    return shared.reset_index(drop=True), dropped
