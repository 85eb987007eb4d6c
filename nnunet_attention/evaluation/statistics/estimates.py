"""Holds a mean with its standard error and degrees of freedom, and the inferences from them.

The t distribution is that of `scipy.special`, whose functions take a hundredth of the time of those
of `scipy.stats` for a single number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from scipy import special

from nnunet_attention.evaluation.statistics.comparisons import CONFIDENCE


@dataclass(frozen=True)
class Estimate:
    """A mean, or a mean difference, whose uncertainty follows a t distribution.

    Attributes:
        mean: the estimated mean.
        standard_error: of the mean.
        degrees_of_freedom: of its t distribution; need not be whole.
    """

    mean: float
    standard_error: float
    degrees_of_freedom: float

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return both ends of the confidence interval."""
        half = self.quantile((1 + confidence) / 2) * self.standard_error
        return self.mean - half, self.mean + half

    @property
    def p_value(self) -> float:
        """The two-sided p-value of the hypothesis that the mean is 0."""
        return min(1.0, 2 * min(self.below(0), self.above(0)))

    def above(self, bound: float) -> float:
        """Return the one-sided p-value, small if the data support a mean above the bound."""
        return float(special.stdtr(self.degrees_of_freedom, -self._distance(bound)))

    def below(self, bound: float) -> float:
        """Return the one-sided p-value, small if the data support a mean below the bound."""
        return float(special.stdtr(self.degrees_of_freedom, self._distance(bound)))

    def turned(self) -> Estimate:
        """Return the same difference with the other model first."""
        return Estimate(-self.mean, self.standard_error, self.degrees_of_freedom)

    def quantile(self, probability: float) -> float:
        """Return the quantile of the t distribution."""
        return float(special.stdtrit(self.degrees_of_freedom, probability))

    def _distance(self, bound: float) -> float:
        difference = self.mean - bound
        if self.standard_error > 0:
            return difference / self.standard_error
        # Without any spread the mean is certain; a mean on the bound itself supports neither side.
        return 0.0 if difference == 0 else inf * difference


@dataclass(frozen=True)
class Components:
    """The components of a mean's variance, `unit / G + training / R + rest / (G R)`.

    Attributes:
        unit: variance between cases, or groups, common to all trainings; 0 if its estimate is
            negative.
        training: variance between repeats, common to all cases; likewise.
        rest: variance of a case in a training.
        folds: independent trainings in each repeat, of both models if they are unpaired.
    """

    unit: float
    training: float = 0.0
    rest: float = 0.0
    folds: int = 1

    def planned(self, units: int, repeats: int = 1) -> Estimate | None:
        """Return the expected estimate, with mean 0, from that many units and repeats.

        Return None if it could not be tested: with one unit, or with a single training of each fold
        although trainings differ.
        """
        trains = self.training > 0 or self.rest > 0
        if units < 2 or (trains and repeats < 2):
            return None
        rest = self.rest / (units * repeats)
        terms = [(self.unit / units + rest, units - 1.0)]
        if trains:
            terms.append((self.training / repeats + rest, self.folds * (repeats - 1.0)))
            terms.append((-rest, (units - 1.0) * (repeats - 1.0)))
        square, freedom = satterthwaite(terms)
        return Estimate(0.0, sqrt(max(0.0, square)), freedom)


def satterthwaite(terms: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the sum of independent estimates of variance, and its degrees of freedom.

    The latter are `(sum s)^2 / sum(s^2 / d)`; if all estimates are 0, those of the first.

    Args:
        terms: estimates and their degrees of freedom; an estimate may be subtracted.

    References:
        Satterthwaite: An approximate distribution of estimates of variance components. 1946,
        https://doi.org/10.2307/3002019
    """
    total = sum(square for square, _ in terms)
    denominator = sum(square**2 / freedom for square, freedom in terms)
    return total, total**2 / denominator if denominator > 0 else terms[0][1]


def over_units(values: np.ndarray) -> Estimate | None:
    """Estimate a mean over randomly drawn cases, or groups; return None for fewer than two.

    Args:
        values: (units,), all defined; means for groups, differences for a comparison.
    """
    values = np.asarray(values, dtype=float)
    if values.size < 2:
        return None
    return Estimate(
        float(values.mean()), float(values.std(ddof=1) / sqrt(values.size)), values.size - 1
    )
