"""Ranks models, measures how stable the ranks are, and combines them over data sets.

References:
    Wiesenfarth et al.: Methods and open-source toolkit for analyzing and visualizing challenge
    results (challengeR). 2021, https://doi.org/10.1038/s41598-021-82017-6.
    Antonelli et al.: The Medical Segmentation Decathlon. 2022,
    https://doi.org/10.1038/s41467-022-30695-9
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from scipy import stats

from nnunet_attention.evaluation.statistics.comparisons import CONFIDENCE
from nnunet_attention.evaluation.statistics.resampling import draw_counts

RANK_RESAMPLES = 1000
TEST_LEVEL = 0.05
# Scores that differ only by rounding share a rank.
_DECIMALS = 12


@dataclass(frozen=True)
class Ranking:
    """Orders models by one method; rank 1 is best, and ties share the smallest rank.

    Attributes:
        scores: the ranked values, by model: the mean, the mean rank, or the share of the other
            models that are significantly worse.
        ranks: by model.
        bootstrap_ranks: (resamples, models), ranks on resampled cases.
    """

    scores: np.ndarray
    ranks: np.ndarray
    bootstrap_ranks: np.ndarray

    @property
    def distribution(self) -> np.ndarray:
        """The shares of the resamples in which a model has rank 1, 2, ...: (models, ranks)."""
        models = len(self.ranks)
        return np.stack(
            [(self.bootstrap_ranks == rank).mean(axis=0) for rank in range(1, models + 1)], axis=1
        )

    def interval(self, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
        """Return lowest and highest rank by model; at most (1 - confidence) / 2 lie beyond each."""
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.quantile(self.bootstrap_ranks, tails, axis=0, method="inverted_cdf")
        return low.astype(int), high.astype(int)


@dataclass(frozen=True)
class CriticalDifference:
    """Holds the result of Nemenyi's test on the mean ranks of several models.

    Attributes:
        blocks: number of data sets, or cases, in each of which the models were ranked.
        mean_ranks: by model; ties share the mean of their ranks.
        difference: mean ranks further apart than this differ significantly.
        friedman_p_value: of the hypothesis that all models are equal; None for two models, for
            which Nemenyi's test itself is the sign test.
        cliques: groups of models, by index and from best to worst, that do not differ
            significantly; only groups that are not part of another one.
    """

    blocks: int
    mean_ranks: np.ndarray
    difference: float
    friedman_p_value: float | None
    cliques: tuple[tuple[int, ...], ...]


def rank_cases(
    values: np.ndarray,
    higher_is_better: bool,
    seed: int | Sequence[int],
    resamples: int = RANK_RESAMPLES,
) -> dict[str, Ranking]:
    """Rank models on the cases of one label by three methods.

    - `mean`: by the mean over cases (challengeR: mean then rank).
    - `mean_rank`: in each case, then by the mean of these ranks (challengeR: rank then mean).
    - `test`: by how many others are significantly worse, as in the Medical Segmentation Decathlon
      (challengeR: test then rank): the one-sided Wilcoxon signed-rank test by the normal
      approximation with continuity correction, at the 5 % level, uncorrected for the number of
      models.

    Args:
        values: (models, cases), all defined.
        higher_is_better: of the metric.
        seed: of the bootstrap; all methods see the same resamples.
        resamples: how often the cases are drawn with replacement.
    """
    n = values.shape[1]
    goodness = (values if higher_is_better else -values).astype(float)
    drawn = draw_counts(n, resamples, np.random.default_rng(seed))
    # How often each case counts in the original sample, then in the resamples:
    # (1 + resamples, cases).
    counts = np.concatenate([np.ones((1, n)), drawn])
    case_ranks = smallest_ranks(goodness.T).T
    scores = {
        "mean": counts @ goodness.T / n,
        "mean_rank": counts @ case_ranks.T / n,
        "test": _shares_beaten(goodness, counts),
    }
    ranks = {
        "mean": smallest_ranks(scores["mean"]),
        "mean_rank": smallest_ranks(-scores["mean_rank"]),
        "test": smallest_ranks(scores["test"]),
    }
    if not higher_is_better:
        scores["mean"] = -scores["mean"]
    return {name: Ranking(scores[name][0], ranks[name][0], ranks[name][1:]) for name in scores}


def consensus(rankings: Sequence[Ranking]) -> Ranking:
    """Rank models by the mean of their ranks in several data sets.

    This ranking is nearest to all of them in the sum of squared rank differences (challengeR's
    Euclidean consensus), and is how the Medical Segmentation Decathlon combines its tasks. Each
    resample of the cases of all data sets gives one resampled consensus.

    Args:
        rankings: one per data set, of the same models and by the same method.
    """
    scores = np.mean([ranking.ranks for ranking in rankings], axis=0)
    resampled = np.mean([ranking.bootstrap_ranks for ranking in rankings], axis=0)
    return Ranking(scores, smallest_ranks(-scores[None])[0], smallest_ranks(-resampled))


def critical_difference(goodness: np.ndarray, level: float = TEST_LEVEL) -> CriticalDifference:
    """Compute Friedman's test and Nemenyi's critical difference.

    `difference = q sqrt(k (k + 1) / (6 N))` with `q` the studentised range of `k` models over
    sqrt(2) and `N` blocks.

    Args:
        goodness: (models, blocks), higher is better; two models and two blocks at least.
        level: of the tests.

    References:
        Demsar: Statistical comparisons of classifiers over multiple data sets. 2006,
        https://jmlr.org/papers/v7/demsar06a.html
    """
    models, blocks = goodness.shape
    ranks = stats.rankdata(-np.round(goodness, _DECIMALS), axis=0)
    mean_ranks = ranks.mean(axis=1)
    difference = float(
        _nemenyi_quantile(models, level) * np.sqrt(models * (models + 1) / (6 * blocks))
    )
    friedman = None
    if models > 2:
        alike = (ranks == ranks[0]).all()
        friedman = 1.0 if alike else float(stats.friedmanchisquare(*ranks).pvalue)
    return CriticalDifference(
        blocks, mean_ranks, difference, friedman, _cliques(mean_ranks, difference)
    )


def smallest_ranks(goodness: np.ndarray) -> np.ndarray:
    """Rank along the last axis, 1 for the highest; ties share the smallest rank."""
    return stats.rankdata(-np.round(goodness, _DECIMALS), method="min", axis=-1).astype(int)


def _shares_beaten(goodness: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the share of the other models that are significantly worse: (resamples, models)."""
    beaten = np.zeros((len(counts), len(goodness)))
    for first, second in combinations(range(len(goodness)), 2):
        better, worse = _one_sided_wilcoxon(goodness[first] - goodness[second], counts)
        beaten[:, first] += better <= TEST_LEVEL
        beaten[:, second] += worse <= TEST_LEVEL
    return beaten / max(1, len(goodness) - 1)


def _one_sided_wilcoxon(
    differences: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return p-values of the signed-rank test that differences lie above, and below, zero.

    The test uses the normal approximation with continuity correction, leaves out zeros, and handles
    many resamples at once: the sizes are sorted once, and a case drawn c times is a tie of c.

    Args:
        differences: (cases,).
        counts: (resamples, cases), how often each case counts.
    """
    differs = differences != 0
    if not differs.any():
        return np.ones(len(counts)), np.ones(len(counts))
    order = np.flatnonzero(differs)[np.abs(differences[differs]).argsort(kind="stable")]
    starts = np.unique(np.abs(differences[order]), return_index=True)[1]
    drawn = counts[:, order]
    # How often each distinct size occurs in a resample, and how often with a positive sign.
    tied = np.add.reduceat(drawn, starts, axis=1)
    above = np.add.reduceat(drawn * (differences[order] > 0), starts, axis=1)
    upto = tied.cumsum(axis=1)
    middle_ranks = upto - (tied - 1) / 2
    n = upto[:, -1]
    excess = np.einsum("rs,rs->r", middle_ranks, above) - n * (n + 1) / 4
    ties = np.einsum("rs,rs,rs->r", tied, tied, tied) - n
    variance = n * (n + 1) * (2 * n + 1) / 24 - ties / 48
    spread = np.sqrt(np.where(variance > 0, variance, np.inf))
    return stats.norm.sf((excess - 0.5) / spread), stats.norm.sf((-excess - 0.5) / spread)


@cache
def _nemenyi_quantile(models: int, level: float) -> float:
    return stats.studentized_range.ppf(1 - level, models, np.inf) / np.sqrt(2)


def _cliques(mean_ranks: np.ndarray, difference: float) -> tuple[tuple[int, ...], ...]:
    order = np.argsort(mean_ranks, kind="stable")
    cliques: list[tuple[int, ...]] = []
    reached = 0
    for start in range(len(order)):
        within = mean_ranks[order] <= mean_ranks[order[start]] + difference
        end = int(np.flatnonzero(within)[-1]) + 1
        if end > reached and end - start > 1:
            cliques.append(tuple(int(model) for model in order[start:end]))
        reached = max(reached, end)
    return tuple(cliques)
