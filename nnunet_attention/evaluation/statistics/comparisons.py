"""Computes means with confidence intervals, and compares models on the same cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import special, stats

from nnunet_attention.evaluation.statistics.resampling import resampled_means

CONFIDENCE = 0.95
INTERVAL_RESAMPLES = 9999
Interval = Callable[[np.ndarray, int | Sequence[int], int], tuple[np.ndarray, np.ndarray]]
"""Takes values, seed and resamples like `bootstrap_interval`; returns both ends for each row."""


# Errors of sums are smaller than this share of their largest term, and true differences larger.
_ROUNDING = 1e-12
# The largest sample for which scipy's `wilcoxon` tries all signs if there are ties.
_MOST_PERMUTED = 13


@dataclass(frozen=True)
class Summary:
    """Describes one model on the cases of one label.

    Where cases are grouped, read group for case.

    Attributes:
        n: cases.
        mean: over cases.
        sd: standard deviation over cases, n - 1 in the denominator; None for one case.
        median: over cases.
        low: lower end of the mean's confidence interval; None for one case.
        high: upper end.
    """

    n: int
    mean: float
    sd: float | None
    median: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Comparison:
    """Compares two models on the same cases; differences are first minus second.

    Where cases are grouped, read group for case.

    Attributes:
        n: cases.
        zeros: cases without a difference; the test leaves them out.
        wins: cases where the first model is better.
        losses: cases where the second is better.
        mean_difference: over all cases, including zeros.
        low: lower end of the mean difference's confidence interval; None for one case.
        high: upper end.
        p_value: two-sided, of the Wilcoxon signed-rank test; 1 where no case differs.
        effect_size: matched-pairs rank-biserial correlation, from -1 to 1, above 0 where the first
            model is better; 0 where no case differs.
    """

    n: int
    zeros: int
    wins: int
    losses: int
    mean_difference: float
    low: float | None
    high: float | None
    p_value: float
    effect_size: float

    def ranks_agree(self, higher_is_better: bool) -> bool:
        """Tell whether the mean difference and the ranks favour the same model.

        They need not: a model may be slightly better in most cases and much worse in a few.
        """
        gain = self.mean_difference if higher_is_better else -self.mean_difference
        return gain * self.effect_size > 0

    def turned(self) -> Comparison:
        """Return the same comparison with the second model first."""
        return Comparison(
            n=self.n,
            zeros=self.zeros,
            wins=self.losses,
            losses=self.wins,
            mean_difference=-self.mean_difference,
            low=None if self.high is None else -self.high,
            high=None if self.low is None else -self.low,
            p_value=self.p_value,
            effect_size=-self.effect_size,
        )


def summarise_and_compare(
    values: np.ndarray,
    higher_is_better: bool,
    seed: int | Sequence[int],
    resamples: int = INTERVAL_RESAMPLES,
    interval: Interval | None = None,
) -> tuple[list[Summary], dict[tuple[int, int], Comparison]]:
    """Describe each model, and compare each pair of models case by case.

    The test is the two-sided Wilcoxon signed-rank test. Cases without a difference are left out, as
    Wilcoxon did. For the remaining cases the distribution is exact up to 50 cases if no two
    differences are of the same size, and up to 13 cases in any event; otherwise it is normal,
    corrected for ties.

    Args:
        values: (models, cases), all defined.
        higher_is_better: of the metric.
        seed: of the bootstrap; all models and pairs see the same resamples.
        resamples: of the bootstrap.
        interval: of means; None: `bootstrap_interval`.

    Returns:
        Summaries by model; comparisons by the two models' indices, smaller one first.

    References:
        Wilcoxon: Individual comparisons by ranking methods. 1945, https://doi.org/10.2307/3001968.
        Kerby: The simple difference formula. 2014, https://doi.org/10.2466/11.IT.3.1
    """
    values = np.asarray(values, dtype=float)
    pairs = list(combinations(range(len(values)), 2))
    differences = [values[first] - values[second] for first, second in pairs]
    models = len(values)
    interval = interval or bootstrap_interval
    low, high = interval(np.array([*values, *differences]), seed, resamples)
    summaries = summaries_of(values, low, high)
    comparisons = {
        pair: _comparison(
            differences[number], higher_is_better, low[models + number], high[models + number]
        )
        for number, pair in enumerate(pairs)
    }
    return summaries, comparisons


def summaries_of(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> list[Summary]:
    """Describe each row.

    Args:
        values: (rows, cases), all defined.
        low: lower end of the interval of each row's mean; NaN where there is none.
        high: upper end.
    """
    rows, n = values.shape
    sd = values.std(axis=1, ddof=1) if n > 1 else np.full(rows, np.nan)
    return [
        Summary(
            n=n,
            mean=float(values[row].mean()),
            sd=_defined(sd[row]),
            median=float(np.median(values[row])),
            low=_defined(low[row]),
            high=_defined(high[row]),
        )
        for row in range(rows)
    ]


def bootstrap_interval(
    values: np.ndarray,
    seed: int | Sequence[int],
    resamples: int = INTERVAL_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bias-corrected and accelerated (BCa) bootstrap interval of each row's mean.

    The interval is that of `scipy.stats.bootstrap`, but all rows share the resamples and take a
    single matrix product. If all values of a row are equal, the interval is that value; with a
    single case it is NaN.

    Args:
        values: (rows, cases), all defined.
        seed: of the resampling.
        resamples: how often the cases are drawn.
        confidence: of the interval.

    References:
        Efron: Better bootstrap confidence intervals. 1987, https://doi.org/10.2307/2289144
    """
    values = np.asarray(values, dtype=float)
    rows, n = values.shape
    if n == 1:
        return np.full(rows, np.nan), np.full(rows, np.nan)
    means = values.mean(axis=1, keepdims=True)
    deviations = values - means
    constant = np.ptp(values, axis=1) == 0
    squares = np.where(constant, 1, (deviations**2).sum(axis=1))
    acceleration = np.where(constant, 0, (deviations**3).sum(axis=1) / (6 * squares**1.5))
    resampled = np.sort(resampled_means(values, resamples, seed), axis=1)
    # Both are sums of the same numbers in different orders, so equal means differ by rounding. Of
    # few cases many resamples have the mean of all, and each counts as half below.
    rounding = _ROUNDING * np.abs(values).max(axis=1, keepdims=True)
    lower, higher = resampled < means - rounding, resampled > means + rounding
    below = (lower.mean(axis=1) + 1 - higher.mean(axis=1)) / 2
    bias = special.ndtri(np.clip(below, 1 / (resamples + 1), resamples / (resamples + 1)))
    ends = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + special.ndtri(tail)
        level = special.ndtr(bias + shifted / (1 - acceleration * shifted))
        quantiles = [np.quantile(row, share) for row, share in zip(resampled, level, strict=True)]
        ends.append(np.where(constant, values[:, 0], quantiles))
    return ends[0], ends[1]


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjust p-values for multiple testing by Holm's step-down method.

    References:
        Holm: A simple sequentially rejective multiple test procedure. 1979,
        https://www.jstor.org/stable/4615733
    """
    raw = np.asarray(p_values, dtype=float)
    order = raw.argsort(kind="stable")
    factors = len(raw) - np.arange(len(raw))
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(np.maximum.accumulate(raw[order] * factors), 1)
    return adjusted


def _comparison(
    differences: np.ndarray, higher_is_better: bool, low: float, high: float
) -> Comparison:
    differing = differences[differences != 0]
    gains = differing if higher_is_better else -differing
    return Comparison(
        n=len(differences),
        zeros=len(differences) - len(differing),
        wins=int((gains > 0).sum()),
        losses=int((gains < 0).sum()),
        mean_difference=float(differences.mean()),
        low=_defined(low),
        high=_defined(high),
        p_value=_wilcoxon(differing) if len(differing) else 1.0,
        effect_size=_rank_biserial(gains),
    )


def _wilcoxon(differing: np.ndarray) -> float:
    """Return the two-sided p-value of the signed-rank test of nonzero differences."""
    ranks = stats.rankdata(np.abs(differing))
    if len(differing) > _MOST_PERMUTED or len(np.unique(ranks)) == len(ranks):
        return float(stats.wilcoxon(differing).pvalue)
    # This is what scipy's `wilcoxon` does if there are ties, but it ranks anew for every
    # permutation, which takes seconds. A change of signs does not change the ranks.
    result = stats.permutation_test(
        (differing,),
        lambda signed, axis: (ranks * (signed > 0)).sum(axis),
        permutation_type="samples",
        vectorized=True,
    )
    return float(result.pvalue)


def _rank_biserial(gains: np.ndarray) -> float:
    """Return (rank sum of gains - rank sum of losses) / sum of all ranks, without zeros."""
    if len(gains) == 0:
        return 0.0
    ranks = stats.rankdata(np.abs(gains))
    return float((ranks * np.sign(gains)).sum() / ranks.sum())


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
