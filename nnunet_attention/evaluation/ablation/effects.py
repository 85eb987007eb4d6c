"""Tests the effect of each replacement over cases, and the effect beyond that on random gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nnunet_attention.evaluation.ablation.rows import RANDOMISED, TRAINED
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.comparisons import (
    Comparison,
    holm,
    summarise_and_compare,
)
from nnunet_attention.evaluation.statistics.groups import (
    group_interval,
    group_means,
    group_numbers,
)

_ROW = ["gates", "replacement", "label", "metric"]


@dataclass(frozen=True)
class Effect:
    """The effect of a replacement on a metric of a label, over the cases where it is defined.

    Attributes:
        gates: the gates that are replaced together.
        replacement: name of the replacement.
        label: name, or the mean of labels.
        metric: name.
        cases: number of cases that count.
        left_out: number of cases where the metric is undefined, with the replacement or without.
        ordinary: mean without replacement.
        comparison: with the replacement minus without.
        adjusted_p_value: by Holm over all tests of the ablation.
        changed_share: mean over all cases, see `rows.case_rows`.
        false_positives_gained: likewise, in voxels.
        false_negatives_gained: likewise, in voxels.
        beyond_random: the difference in the trained network minus that in the network with random
            gates; None if that was not requested.
        beyond_random_p_value: by Holm, as above.
    """

    gates: str
    replacement: str
    label: str
    metric: str
    cases: int
    left_out: int
    ordinary: float
    comparison: Comparison
    adjusted_p_value: float
    changed_share: float
    false_positives_gained: float
    false_negatives_gained: float
    beyond_random: Comparison | None = None
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
    of groups of cases; their intervals are bootstrapped. Holm's correction covers all tests: those
    of the replacements, and those against random gates.

    Args:
        rows: as `ablate` returns them.
        groups: the group of each case; None: each case is its own group.
        seed: of the bootstrap.
    """
    random = {
        key: of_key.set_index("case")["difference"]
        for key, of_key in rows[rows["weights"] == RANDOMISED].groupby(_ROW)
    }
    effects = []
    for key, of_key in rows[rows["weights"] == TRAINED].groupby(_ROW, sort=False):
        gates, replacement, label, metric = key
        defined = of_key.dropna(subset="difference")
        if defined.empty:
            continue
        pair = defined.set_index("case")[["value", "ordinary"]]
        beyond = None
        if key in random:
            pairs = pd.DataFrame(
                {"trained": defined.set_index("case")["difference"], "random": random[key]}
            ).dropna()
            if not pairs.empty:
                beyond = _compared(pairs, metric, groups, seed)
        effects.append(
            Effect(
                gates=gates,
                replacement=replacement,
                label=label,
                metric=metric,
                cases=len(defined),
                left_out=len(of_key) - len(defined),
                ordinary=float(defined["ordinary"].mean()),
                comparison=_compared(pair, metric, groups, seed),
                adjusted_p_value=1.0,
                changed_share=float(of_key["changed_share"].mean()),
                false_positives_gained=float(of_key["false_positives_gained"].mean()),
                false_negatives_gained=float(of_key["false_negatives_gained"].mean()),
                beyond_random=beyond,
            )
        )
    return tuple(_adjusted(effects))


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


def _compared(
    pair: pd.DataFrame, metric: str, groups: Mapping[str, str] | None, seed: int
) -> Comparison:
    better = METRICS[metric].higher_is_better
    return compare_pairs(pair.to_numpy().T, list(map(str, pair.index)), better, groups, seed)


def _adjusted(effects: list[Effect]) -> list[Effect]:
    own = [effect.comparison.p_value for effect in effects]
    beyond = [e.beyond_random.p_value for e in effects if e.beyond_random is not None]
    adjusted = holm([*own, *beyond]).tolist()
    against = iter(adjusted[len(own) :])
    return [
        replace(
            effect,
            adjusted_p_value=p_value,
            beyond_random_p_value=None if effect.beyond_random is None else next(against),
        )
        for effect, p_value in zip(effects, adjusted[: len(own)], strict=True)
    ]
