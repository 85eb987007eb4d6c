"""Means with confidence intervals, and paired comparisons of models on the same cases."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
INTERVAL_RESAMPLES = 9999
# Resamples held in memory at a time, times models, times cases: 80 MB of doubles.
_NUMBERS_AT_A_TIME = 10_000_000


@dataclass(frozen=True)
class Summary:
    """One model on the cases of one label.

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
    """Two models on the same cases; differences are first minus second.

    Attributes:
        n: cases.
        zeros: cases without a difference; the test leaves them out.
        wins: cases where the first model is better.
        losses: cases where the second is better.
        mean_difference: over all cases, zeros too.
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


def summarise(
    values: np.ndarray, seed: int | Sequence[int], resamples: int = INTERVAL_RESAMPLES
) -> list[Summary]:
    """Describes each model.

    Args:
        values: (models, cases), all defined.
        seed: of the bootstrap.
        resamples: of the bootstrap.
    """
    n = values.shape[1]
    low, high = bootstrap_interval(values, seed, resamples)
    sd = values.std(axis=1, ddof=1) if n > 1 else np.full(len(values), np.nan)
    return [
        Summary(n, float(mean), _defined(one_sd), float(median), _defined(one_low), _defined(one))
        for mean, one_sd, median, one_low, one in zip(
            values.mean(axis=1), sd, np.median(values, axis=1), low, high, strict=True
        )
    ]


def bootstrap_interval(
    values: np.ndarray,
    seed: int | Sequence[int],
    resamples: int = INTERVAL_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[np.ndarray, np.ndarray]:
    """Bias-corrected and accelerated bootstrap interval of each row's mean.

    Cases are drawn with replacement, the same for all rows. Where all values of a row are equal
    the interval is that value; with a single case it is NaN.

    Args:
        values: (rows, cases), all defined.
        seed: of the resampling.
        resamples: how often the cases are drawn.
        confidence: of the interval.

    References:
        Efron: Better bootstrap confidence intervals. JASA 1987, https://doi.org/10.2307/2289144
    """
    rows, n = values.shape
    low, high = values[:, 0].astype(float), values[:, 0].astype(float)
    if n == 1:
        return np.full(rows, np.nan), np.full(rows, np.nan)
    varied = np.ptp(values, axis=1) > 0
    if not varied.any():
        return low, high
    with warnings.catch_warnings():
        # Says that an interval is NaN; such rows get the percentile interval below.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (values[varied],),
            np.mean,
            axis=1,
            n_resamples=resamples,
            batch=max(1, _NUMBERS_AT_A_TIME // (int(varied.sum()) * n)),
            confidence_level=confidence,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    percentile = np.quantile(found.bootstrap_distribution, tails, axis=-1)
    interval = found.confidence_interval
    low[varied] = np.where(np.isfinite(interval.low), interval.low, percentile[0])
    high[varied] = np.where(np.isfinite(interval.high), interval.high, percentile[1])
    return low, high


def compare(
    first: np.ndarray,
    second: np.ndarray,
    higher_is_better: bool,
    seed: int | Sequence[int],
    resamples: int = INTERVAL_RESAMPLES,
) -> Comparison:
    """Compares two models case by case.

    The test is Wilcoxon's signed-rank test, two-sided. Cases without a difference are left out, as
    Wilcoxon did. Of what is left the distribution is exact up to 50 cases where no two differences
    are of the same size, and up to 13 cases in any event; else it is normal, corrected for ties.

    Args:
        first: (cases,), all defined.
        second: of the same cases in the same order.
        higher_is_better: of the metric.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    References:
        Wilcoxon: Individual comparisons by ranking methods. 1945, https://doi.org/10.2307/3001968.
        Kerby: The simple difference formula. 2014, https://doi.org/10.2466/11.IT.3.1
    """
    differences = np.asarray(first, dtype=float) - second
    differing = differences[differences != 0]
    gains = differing if higher_is_better else -differing
    low, high = bootstrap_interval(differences[None], seed, resamples)
    return Comparison(
        n=len(differences),
        zeros=len(differences) - len(differing),
        wins=int((gains > 0).sum()),
        losses=int((gains < 0).sum()),
        mean_difference=float(differences.mean()),
        low=_defined(low[0]),
        high=_defined(high[0]),
        p_value=float(stats.wilcoxon(differing).pvalue) if len(differing) else 1.0,
        effect_size=_rank_biserial(gains),
    )


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P-values adjusted for all of them being read (Holm's step-down method).

    References:
        Holm: A simple sequentially rejective multiple test procedure. 1979,
        https://www.jstor.org/stable/4615733
    """
    p_values = np.asarray(p_values, dtype=float)
    order = p_values.argsort(kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted


def _rank_biserial(gains: np.ndarray) -> float:
    """(sum of ranks of gains - of losses) / sum of all ranks; ranks by size, zeros left out."""
    if len(gains) == 0:
        return 0.0
    ranks = stats.rankdata(np.abs(gains))
    return float((ranks * np.sign(gains)).sum() / ranks.sum())


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
