"""Compares deletion and insertion curves of two orders: the area between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.integrate import trapezoid

from nnunet_attention.evaluation.ablation.effects import compare_pairs
from nnunet_attention.evaluation.leaderboard.building import MEAN_OF_LABELS
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.comparisons import Comparison

DELETION, INSERTION = "deletion", "insertion"
ORDERS = ("attention", "random", "cam")
CURVE_COLUMNS = ("case", "gate", "order", "direction", "share", "label", "value")
ATTENTION, OTHERS = ORDERS[0], ORDERS[1:]
_MEANS = ["direction", "order", "share", "value", "gate", "label"]


@dataclass(frozen=True)
class Area:
    """Tells whether the order of the coefficients is more faithful than another order.

    Attributes:
        gate: number of the gate.
        direction: deletion or insertion.
        other: the other order.
        label: name, or the mean of labels.
        comparison: the area between the curves, over cases; above 0 where the coefficients' order
            is the more faithful: shutting blocks costs more, letting them through gains more.
        adjusted_p_value: by Holm over all tests of the ablation, see `corrected`.
    """

    gate: int
    direction: str
    other: str
    label: str
    comparison: Comparison
    adjusted_p_value: float


@dataclass(frozen=True)
class Violations:
    """Counts cases in which shutting the blocks with the largest coefficients improves the result.

    Attributes:
        gate: number of the gate.
        label: name, or the mean of labels.
        share: share of the blocks that are shut first.
        better: number of cases, or groups, that are then better.
        worse: number of cases, or groups, that are then worse.
        p_value: of the sign test, two-sided; 1 where no case differs.
        adjusted_p_value: by Holm over all tests of the ablation, see `corrected`.
    """

    gate: int
    label: str
    share: float
    better: int
    worse: int
    p_value: float
    adjusted_p_value: float


@dataclass(frozen=True)
class Curves:
    """The results of deletion and insertion.

    Attributes:
        areas: areas between the curves of the coefficients' order and those of other orders.
        violations: how often shutting the blocks with the largest coefficients helps.
        means: mean over cases by gate, direction, order, label and share.
    """

    areas: tuple[Area, ...]
    violations: tuple[Violations, ...]
    means: pd.DataFrame


def curves_of(
    rows: pd.DataFrame,
    metric: str,
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Curves:
    """Compare the curves that `deletion_curves` measured, case by case.

    A case counts for a label if the metric is defined at every share and in every order. No p-value
    is corrected yet.

    Args:
        rows: as `deletion_curves` returns them.
        metric: the measured metric.
        groups: the group of each case; None: each case is its own group.
        seed: of the bootstrap.
    """
    sign = 1 if METRICS[metric].higher_is_better else -1
    tables = dict(_tables(rows))
    areas = []
    for (gate, label), table in tables.items():
        for direction in (DELETION, INSERTION):
            of_order = {order: _areas(table, order, direction) for order in ORDERS}
            for other in OTHERS:
                gains = of_order[ATTENTION] - of_order[other]
                gains *= sign if direction == INSERTION else -sign
                values = np.stack([gains, np.zeros_like(gains)])
                found = compare_pairs(values, list(table.index), True, groups, seed)
                areas.append(Area(gate, direction, other, label, found, found.p_value))
    violations = [
        _violations(gate, label, table, sign, groups) for (gate, label), table in tables.items()
    ]
    means = [_means(gate, label, table) for (gate, label), table in tables.items()]
    # Where no label has a case that counts, there is nothing to put together.
    together = pd.concat(means, ignore_index=True) if means else pd.DataFrame(columns=_MEANS)
    return Curves(tuple(areas), tuple(violations), together)


def _tables(rows: pd.DataFrame) -> Iterable[tuple[tuple[int, str], pd.DataFrame]]:
    """Yield a table (cases, direction x order x share) for each gate and label, and their mean."""
    columns = ["direction", "order", "share"]
    for gate, of_gate in rows.groupby("gate"):
        tables = {}
        for label, of_label in of_gate.groupby("label", sort=False):
            table = of_label.pivot(index="case", columns=columns, values="value").dropna()
            # pandas keeps the rows' order, in which the ends of a curve come first.
            table = table.sort_index(axis="columns")
            if not table.empty:
                tables[str(label)] = table
        if len(tables) > 1:
            # A case's mean is over those of its labels that count.
            together = pd.concat(tables.values()).groupby(level="case").mean()
            yield (int(gate), MEAN_OF_LABELS), together
        for label, table in tables.items():
            yield (int(gate), label), table


def _areas(table: pd.DataFrame, order: str, direction: str) -> np.ndarray:
    curve = table[direction][order]
    return trapezoid(curve.to_numpy(), curve.columns.to_numpy(dtype=float), axis=1)


def _violations(
    gate: int, label: str, table: pd.DataFrame, sign: int, groups: Mapping[str, str] | None
) -> Violations:
    curve = table[DELETION][ATTENTION]
    first, second, *_ = sorted(curve.columns)
    gains = sign * (curve[second] - curve[first])
    if groups is not None:
        gains = gains.groupby([groups[case] for case in gains.index]).mean()
    better, worse = int((gains > 0).sum()), int((gains < 0).sum())
    p_value = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    p_value = float(p_value)
    return Violations(gate, label, float(second), better, worse, p_value, p_value)


def _means(gate: int, label: str, table: pd.DataFrame) -> pd.DataFrame:
    means = table.mean().rename("value").reset_index()
    return means.assign(gate=gate, label=label)
