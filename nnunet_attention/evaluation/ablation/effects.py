"""Tests the effect of each replacement over cases, and the effect beyond that on random gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd

from nnunet_attention.evaluation.ablation.rows import RANDOMISED, TRAINED
from nnunet_attention.evaluation.leaderboard.building import MEAN_OF_LABELS
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.comparisons import Comparison, summarise_and_compare
from nnunet_attention.evaluation.statistics.estimates import Estimate, over_units
from nnunet_attention.evaluation.statistics.groups import (
    group_interval,
    group_means,
    group_numbers,
)

_ROW = ["gates", "replacement", "label", "metric"]
_WITHOUT_LABEL = [name for name in _ROW if name != "label"]
_NOTHING = Comparison(0, 0, 0, 0, nan, None, None, 1.0, 0.0)


@dataclass(frozen=True)
class Effect:
    """The effect of a replacement on a metric of a label, over the cases where it is defined.

    Where cases are grouped, means are over groups, each represented by the mean of its cases.

    Attributes:
        gates: the gates that are replaced together.
        replacement: name of the replacement.
        label: name, or the mean of labels.
        metric: name.
        cases: number of cases that count.
        left_out: number of cases where the metric is undefined, with the replacement or without.
        in_one_only: number of cases where it is defined only with the replacement, or only without;
            for the mean of labels, those where this is true of a label.
        ordinary: mean without replacement; NaN if no case counts.
        comparison: with the replacement minus without; of no cases if none counts.
        estimate: the mean difference with its standard error; None for fewer than two cases or
            groups.
        adjusted_p_value: by Holm over all tests of the ablation, see `corrected`.
        changed_share: mean over all cases, see `rows.case_rows`.
        false_positives_gained: likewise, in voxels.
        false_negatives_gained: likewise, in voxels.
        beyond_random: the difference in the trained network minus that in the network with random
            gates; None if that was not requested.
        beyond_random_estimate: its mean with its standard error, as above.
        beyond_random_p_value: by Holm, as above.
    """

    gates: str
    replacement: str
    label: str
    metric: str
    cases: int
    left_out: int
    in_one_only: int
    ordinary: float
    comparison: Comparison
    estimate: Estimate | None
    adjusted_p_value: float
    changed_share: float
    false_positives_gained: float
    false_negatives_gained: float
    beyond_random: Comparison | None = None
    beyond_random_estimate: Estimate | None = None
    beyond_random_p_value: float | None = None

    @property
    def gain(self) -> float:
        """The mean difference, above 0 if the metric is better with the replacement."""
        difference = self.comparison.mean_difference
        return difference if METRICS[self.metric].higher_is_better else -difference


def effects_of(
    rows: pd.DataFrame, groups: Mapping[str, str] | None = None, seed: int = 0
) -> tuple[Effect, ...]:
    """Summarise the rows of `ablate` for each set of gates, replacement, label and metric.

    Differences are tested by the two-sided Wilcoxon signed-rank test over cases, or over the means
    of groups of cases; their intervals are bootstrapped. No p-value is corrected yet. What is
    undefined in every case, with the replacement and without, is left out.

    Args:
        rows: as `ablate` returns them.
        groups: the group of each case; None: each case is its own group.
        seed: of the bootstrap.
    """
    random = {
        key: of_key.set_index("case")["difference"]
        for key, of_key in rows[rows["weights"] == RANDOMISED].groupby(_ROW)
    }
    trained = rows[rows["weights"] == TRAINED]
    trained = trained.assign(unpaired=_unpaired(trained))
    effects = []
    for key, of_key in trained.groupby(_ROW, sort=False):
        gates, replacement, label, metric = key
        of_key = of_key.set_index("case")
        defined = of_key.dropna(subset="difference")
        unpaired = int(of_key["unpaired"].sum())
        if defined.empty and not unpaired:
            continue
        comparison, estimate = _tested(defined[["value", "ordinary"]], metric, groups, seed)
        beyond, beyond_estimate = None, None
        if key in random:
            pairs = pd.DataFrame({"trained": defined["difference"], "random": random[key]}).dropna()
            if not pairs.empty:
                beyond, beyond_estimate = _tested(pairs, metric, groups, seed)
        effects.append(
            Effect(
                gates=gates,
                replacement=replacement,
                label=label,
                metric=metric,
                cases=len(defined),
                left_out=len(of_key) - len(defined),
                in_one_only=unpaired,
                ordinary=_mean(defined["ordinary"], groups),
                comparison=comparison,
                estimate=estimate,
                adjusted_p_value=comparison.p_value,
                changed_share=_mean(of_key["changed_share"], groups),
                false_positives_gained=_mean(of_key["false_positives_gained"], groups),
                false_negatives_gained=_mean(of_key["false_negatives_gained"], groups),
                beyond_random=beyond,
                beyond_random_estimate=beyond_estimate,
                beyond_random_p_value=None if beyond is None else beyond.p_value,
            )
        )
    return tuple(effects)


def compare_pairs(
    values: np.ndarray,
    cases: list[str],
    higher_is_better: bool,
    groups: Mapping[str, str] | None,
    seed: int,
) -> Comparison:
    """Compare two rows of values, the first minus the second, over cases or groups of them."""
    interval = None
    if groups is not None:
        values = group_means(values, group_numbers(cases, groups)[0])
        interval = group_interval
    _, comparisons = summarise_and_compare(values, higher_is_better, seed, interval=interval)
    return comparisons[0, 1]


def _tested(
    pair: pd.DataFrame, metric: str, groups: Mapping[str, str] | None, seed: int
) -> tuple[Comparison, Estimate | None]:
    """Compare two columns, the first minus the second; the index holds the cases."""
    if pair.empty:
        return _NOTHING, None
    better, cases = METRICS[metric].higher_is_better, list(map(str, pair.index))
    values = pair.to_numpy().T
    differences = values[0] - values[1]
    if groups is not None:
        differences = group_means(differences, group_numbers(cases, groups)[0])
    return compare_pairs(values, cases, better, groups, seed), over_units(differences)


def _mean(values: pd.Series, groups: Mapping[str, str] | None) -> float:
    """Return the mean over cases, or over the means of groups of them."""
    if groups is not None:
        values = values.groupby([groups[case] for case in values.index]).mean()
    return float(values.mean())


def _unpaired(rows: pd.DataFrame) -> pd.Series:
    """Tell for each row whether the metric is defined only with the replacement, or only without.

    The mean of labels is over the labels that have it in both; its row counts if one label's does.
    """
    one_only = rows["value"].isna() != rows["ordinary"].isna()
    of_a_label = one_only.groupby([rows[name] for name in ("case", *_WITHOUT_LABEL)]).transform(
        "any"
    )
    return one_only | (of_a_label & (rows["label"] == MEAN_OF_LABELS))
