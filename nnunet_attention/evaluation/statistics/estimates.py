"""A mean with its standard error and degrees of freedom, and what follows from the three.

The t distribution is that of `scipy.special`, whose functions take a hundredth of the time that
those of `scipy.stats` take for a single number.
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
    """A mean, or a mean difference, whose chance is that of a t distribution.

    Attributes:
        mean: what was estimated.
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
        """Two-sided, that the mean is 0."""
        return min(1.0, 2 * min(self.below(0), self.above(0)))

    def above(self, bound: float) -> float:
        """Return the one-sided p-value that supports a mean above the bound when it is small."""
        return float(special.stdtr(self.degrees_of_freedom, -self._distance(bound)))

    def below(self, bound: float) -> float:
        """Return the one-sided p-value that supports a mean below the bound when it is small."""
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
        # Without any spread the mean is certain; on the bound itself nothing is shown.
        return 0.0 if difference == 0 else inf * difference


@dataclass(frozen=True)
class Components:
    """The variances of which that of a mean consists: `unit / G + training / R + rest / (G R)`.

    Attributes:
        unit: between cases, or groups, whatever the training; 0 where its estimate is below.
        training: between repeats, whatever the cases; likewise.
        rest: of a case in a training.
        folds: independent trainings in each repeat, of both models where they are unpaired.
    """

    unit: float
    training: float = 0.0
    rest: float = 0.0
    folds: int = 1

    def planned(self, units: int, repeats: int = 1) -> Estimate | None:
        """Return what an estimate from so many units and repeats would rest on, with mean 0.

        None where it could not be tested: one unit, or a single training of each fold although
        trainings differ.
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

    `(sum s)^2 / sum(s^2 / d)`; where all estimates are 0, those of the first.

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
    """Estimate a mean over cases, or groups, drawn at random; None for fewer than two.

    Args:
        values: (units,), all defined; for groups their means, for a comparison the differences.
    """
    values = np.asarray(values, dtype=float)
    if values.size < 2:
        return None
    return Estimate(
        float(values.mean()), float(values.std(ddof=1) / sqrt(values.size)), values.size - 1
    )
