"""Draws cases with replacement, for all bootstraps."""

from collections.abc import Sequence

import numpy as np

# Number of resamples times cases held in memory: small enough for the cache, and large enough to
# keep the number of calls low.
_DRAWS_AT_A_TIME = 500_000


def draw_counts(cases: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Draw how often each case counts, (resamples, cases); a row sums to the number of cases."""
    drawn = generator.integers(0, cases, (resamples, cases), dtype=np.int32)
    places = drawn + (np.arange(resamples, dtype=np.int64) * cases)[:, None]
    return np.bincount(places.ravel(), minlength=resamples * cases).reshape(resamples, cases)


def resampled_means(values: np.ndarray, resamples: int, seed: int | Sequence[int]) -> np.ndarray:
    """Return means over the same resamples of cases for all rows, (rows, resamples).

    Args:
        values: (rows, cases).
        resamples: how often the cases are drawn.
        seed: of the drawing.
    """
    cases = values.shape[1]
    generator = np.random.default_rng(seed)
    means = np.empty((len(values), resamples))
    step = max(1, _DRAWS_AT_A_TIME // cases)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        counts = draw_counts(cases, stop - start, generator).astype(float)
        means[:, start:stop] = values @ counts.T / cases
    return means
