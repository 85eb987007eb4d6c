"""The difference of two methods over several trainings of each, paired by seed and by case."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PairedDifference:
    """A mean difference with its standard error, and what follows from both.

    Attributes:
        mean: over seeds and cases.
        standard_error: of the mean.
        degrees_of_freedom: of its t distribution.
    """

    mean: float
    standard_error: float
    degrees_of_freedom: float

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the 95 % interval."""
        half = self._t((1 + CONFIDENCE) / 2) * self.standard_error
        return self.mean - half, self.mean + half

    def equivalence_p_value(self, margin: float) -> float:
        """Return the larger of the two one-sided p-values of TOST for |difference| < margin."""
        if not self.standard_error > 0:
            return nan
        lower = stats.t.sf((self.mean + margin) / self.standard_error, self.degrees_of_freedom)
        upper = stats.t.cdf((self.mean - margin) / self.standard_error, self.degrees_of_freedom)
        return float(max(lower, upper))

    def _t(self, probability: float) -> float:
        return float(stats.t.ppf(probability, self.degrees_of_freedom))


def over_cases(differences: np.ndarray) -> PairedDifference:
    """Take the trainings as they are, so that chance lies in the cases alone.

    Args:
        differences: (seeds, cases), a method minus another, of the same seed and case.
    """
    of_cases = np.asarray(differences, dtype=float).mean(axis=0)
    return PairedDifference(
        float(of_cases.mean()),
        float(of_cases.std(ddof=1) / sqrt(of_cases.size)),
        of_cases.size - 1,
    )


def over_seeds_and_cases(differences: np.ndarray) -> PairedDifference | None:
    """Take both trainings and cases as drawn at random; None with one training.

    A crossed model with two random effects and one value in each cell (Searle, Casella, McCulloch,
    Variance Components, 1992, section 4.4). With mean squares A of the seeds, B of the cases and E
    of the rest, (A + B - E) / (seeds * cases) estimates the variance of the mean without bias;
    where chance makes that smaller than either effect alone would, the largest of the three is
    taken. Degrees of freedom are Satterthwaite's. In simulations with 3 seeds and 40 cases the 95 %
    interval held the truth in 92 to 96 %, with 2 seeds in 87 to 96 %.

    Args:
        differences: (seeds, cases), a method minus another, of the same seed and case.
    """
    values = np.asarray(differences, dtype=float)
    seeds, cases = values.shape
    if seeds < 2:
        return None
    mean = values.mean()
    of_seeds, of_cases = values.mean(axis=1), values.mean(axis=0)
    rest = values - of_seeds[:, None] - of_cases[None, :] + mean
    a = cases * of_seeds.var(ddof=1)
    b = seeds * of_cases.var(ddof=1)
    e = (rest**2).sum() / ((seeds - 1) * (cases - 1))
    candidates = [
        (a + b - e, _satterthwaite((a, seeds - 1), (b, cases - 1), (e, (seeds - 1) * (cases - 1)))),
        (a, seeds - 1),
        (b, cases - 1),
    ]
    square, freedom = max(candidates, key=lambda candidate: candidate[0])
    return PairedDifference(float(mean), float(sqrt(square / (seeds * cases))), float(freedom))


def _satterthwaite(*terms: tuple[float, int]) -> float:
    """Return the degrees of freedom of a + b - e, each term a mean square with its own."""
    (a, _), (b, _), (e, _) = terms
    denominator = sum(square**2 / freedom for square, freedom in terms)
    return (a + b - e) ** 2 / denominator if denominator > 0 else nan
