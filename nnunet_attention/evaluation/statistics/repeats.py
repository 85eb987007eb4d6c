"""Computes means, spreads, tests and intervals over several trainings of each model, and cases.

A cross-validation trains once for each fold, and each repeat trains every fold once more. The value
of case i in repeat r is `mu + c_i + t_rf + e_ri`: c_i belongs to the case (or group), t_rf to the
training of the case's fold f in that repeat, e_ri to both. The variance of the mean is estimated
without bias by

    sum_f w_f^2 A_f / R  +  B / G  -  E / (G R)

with A_f the variance of fold f's means between its R trainings, w_f the fold's share in the mean, B
the variance of the G groups' means over the repeats, and E the residual mean square after the means
of repeats and groups. Degrees of freedom are Satterthwaite's. If by chance the sum is smaller than
the first or the second term alone, the largest of the three is taken.

The random choice of the split is not included: all repeats have the same split.

References:
    Searle, Casella, McCulloch: Variance components. 1992,
    https://doi.org/10.1002/9780470316856
    Satterthwaite: An approximate distribution of estimates of variance components. 1946,
    https://doi.org/10.2307/3002019
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from scipy import special

from nnunet_attention.evaluation.statistics.comparisons import CONFIDENCE, INTERVAL_RESAMPLES
from nnunet_attention.evaluation.statistics.estimates import Components, Estimate, satterthwaite
from nnunet_attention.evaluation.statistics.groups import group_means
from nnunet_attention.evaluation.statistics.resampling import resampled_means


@dataclass(frozen=True)
class Repeated:
    """A model's mean over repeats, or the difference of two models' means.

    Attributes:
        estimate: mean with its standard error over trainings and groups; its p-value is the test's.
        repeats: trainings of each fold; of both models for a difference of unpaired trainings.
        units: groups, or cases where there are no groups.
        cases: cases.
        training_means: mean, or difference, of each repeat; empty if trainings are unpaired.
        training_sd: standard deviation between the repeats' means; for unpaired trainings the root
            of the sum of both models' variances.
        unit_sd: standard deviation between the units' means over repeats.
        paired: whether trainings were paired; None for a single model.
        low: lower end of the two-level bootstrap interval; None if it was not requested.
        high: upper end.
        components: of the variance, for planning.
    """

    estimate: Estimate
    repeats: tuple[int, ...]
    units: int
    cases: int
    training_means: tuple[float, ...]
    training_sd: float
    unit_sd: float
    paired: bool | None
    low: float | None
    high: float | None
    components: Components

    def turned(self) -> Repeated:
        """Return the same difference with the other model first."""
        return replace(
            self,
            estimate=self.estimate.turned(),
            training_means=tuple(-mean for mean in self.training_means),
            low=None if self.high is None else -self.high,
            high=None if self.low is None else -self.low,
        )


@dataclass(frozen=True)
class Layout:
    """The folds and groups that the cases of a comparison belong to.

    Attributes:
        folds: (cases,), number of the training that predicted each case, from 0, none skipped; None
            if one training predicted all of them.
        groups: (cases,), numbers from 0, none skipped; None if each case is its own group.
    """

    folds: np.ndarray | None = None
    groups: np.ndarray | None = None


def mean_over_repeats(
    values: np.ndarray,
    layout: Layout = Layout(),
    seed: int | Sequence[int] = 0,
    resamples: int = INTERVAL_RESAMPLES,
) -> Repeated | None:
    """Describe several trainings of one model; None for fewer than two trainings or units.

    A group counts as one, by the mean of its cases.

    Args:
        values: (repeats, cases), all defined.
        layout: of the cases.
        seed: of the bootstrap.
        resamples: of the bootstrap; with 0 there is no interval.
    """
    return _repeated([_Trainings(values, layout)], None, seed, resamples)


def compare_repeats(
    first: np.ndarray,
    second: np.ndarray,
    seeds: tuple[Sequence[int | None], Sequence[int | None]] | None = None,
    layout: Layout = Layout(),
    seed: int | Sequence[int] = 0,
    resamples: int = INTERVAL_RESAMPLES,
) -> Repeated | None:
    """Compare two models, first minus second, over trainings and cases.

    Cases are always paired; trainings are paired if both models were trained with the same seeds.
    Return None if a model has fewer than two trainings, or there are fewer than two units.

    Args:
        first: (repeats, cases), all defined.
        second: (repeats, cases), the same cases; the number of repeats may differ.
        seeds: of the repeats of both, None for unknown ones.
        layout: of the cases.
        seed: of the bootstrap.
        resamples: of the bootstrap; with 0 there is no interval.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    pairs = None if seeds is None else paired_repeats(*seeds)
    if pairs is not None:
        mine, theirs = (list(places) for places in zip(*pairs, strict=True))
        sides = [_Trainings(first[mine] - second[theirs], layout)]
    else:
        sides = [_Trainings(first, layout), _Trainings(-second, layout)]
    return _repeated(sides, pairs is not None, seed, resamples)


def paired_repeats(
    first: Sequence[int | None], second: Sequence[int | None]
) -> list[tuple[int, int]] | None:
    """Return the indices of equal seeds in both; None unless both have the same, known seeds."""
    if None in first or set(first) != set(second) or not first:
        return None
    if len(set(first)) < len(first) or len(set(second)) < len(second):
        return None
    return [(place, list(second).index(seed)) for place, seed in enumerate(first)]


class _Trainings:
    """The sums of squares of one model, or of the differences of two."""

    def __init__(self, values: np.ndarray, layout: Layout):
        self.values = np.asarray(values, dtype=float)
        self.repeats, self.cases = self.values.shape
        if not np.isfinite(self.values).all():
            raise ValueError("values must be finite; apply a policy for undefined ones first")
        folds = np.zeros(self.cases, dtype=int) if layout.folds is None else layout.folds
        alone = layout.groups is None
        groups = np.arange(self.cases) if layout.groups is None else layout.groups
        for name, numbers in (("folds", folds), ("groups", groups)):
            if len(numbers) != self.cases:
                raise ValueError(
                    f"{name} has {len(numbers)} entries, but there are {self.cases} cases"
                )
        sizes = np.bincount(groups)
        self.units = len(sizes)
        self.of_units = self.values if alone else group_means(self.values, groups)
        self.means = self.of_units.mean(axis=1)
        shares = 1 / (self.units * sizes[groups])
        self.fold_shares = np.bincount(folds, weights=shares)
        in_fold = np.zeros((self.cases, len(self.fold_shares)))
        in_fold[np.arange(self.cases), folds] = shares
        # The contribution of each training to the mean, (repeats, folds).
        self.parts = self.values @ in_fold

    def training_terms(self) -> list[tuple[float, float]]:
        variances = self.parts.var(axis=0, ddof=1) / self.repeats
        return [(float(variance), self.repeats - 1) for variance in variances]

    def rest_term(self) -> tuple[float, float]:
        rest = self.of_units - self.means[:, None] - self.of_units.mean(axis=0) + self.means.mean()
        freedom = (self.repeats - 1) * (self.units - 1)
        return float((rest**2).sum() / freedom / (self.units * self.repeats)), freedom


def _repeated(
    sides: list[_Trainings], paired: bool | None, seed: int | Sequence[int], resamples: int
) -> Repeated | None:
    if {side.cases for side in sides} != {sides[0].cases}:
        raise ValueError(
            f"models have {' and '.join(str(side.cases) for side in sides)} cases; "
            "keep those that both have"
        )
    units = sides[0].units
    if units < 2 or min(side.repeats for side in sides) < 2:
        return None
    of_units = np.sum([side.of_units.mean(axis=0) for side in sides], axis=0)
    mean = float(of_units.mean())
    trainings = [term for side in sides for term in side.training_terms()]
    unit = (float(of_units.var(ddof=1) / units), units - 1.0)
    rests = [side.rest_term() for side in sides]
    square, freedom = _variance(trainings, unit, rests)
    estimate = Estimate(mean, sqrt(square), freedom)
    of_trainings, rest = sum(term[0] for term in trainings), sum(term[0] for term in rests)
    low = high = None
    if resamples:
        low, high = _bootstrap(
            sides, of_units, of_trainings, unit[0], rest, estimate, seed, resamples
        )
    repeats = 2 / sum(1 / side.repeats for side in sides) if len(sides) > 1 else sides[0].repeats
    return Repeated(
        estimate=estimate,
        repeats=tuple(side.repeats for side in sides),
        units=units,
        cases=sides[0].cases,
        training_means=tuple(map(float, sides[0].means)) if len(sides) == 1 else (),
        training_sd=sqrt(sum(float(side.means.var(ddof=1)) for side in sides)),
        unit_sd=float(of_units.std(ddof=1)),
        paired=paired,
        low=low,
        high=high,
        components=Components(
            unit=max(0.0, unit[0] - rest) * units,
            training=max(0.0, of_trainings - rest) * repeats,
            rest=rest * units * repeats,
            folds=len(sides[0].fold_shares) * len(sides),
        ),
    )


def _variance(
    trainings: list[tuple[float, float]],
    unit: tuple[float, float],
    rests: list[tuple[float, float]],
) -> tuple[float, float]:
    """Return the variance of a mean and its degrees of freedom, see the module's docstring."""
    negative = [(-square, freedom) for square, freedom in rests]
    candidates = [satterthwaite([*trainings, unit, *negative]), satterthwaite(trainings), unit]
    return max(candidates, key=lambda candidate: candidate[0])


def _bootstrap(
    sides: list[_Trainings],
    of_units: np.ndarray,
    of_trainings: float,
    of_unit: float,
    rest: float,
    estimate: Estimate,
    seed: int | Sequence[int],
    resamples: int,
) -> tuple[float, float]:
    """Draw trainings within folds, and groups, independently; return the interval's ends.

    Of R trainings R - 1 are drawn, which makes the variance correct for few trainings (Rao and Wu
    1988, https://doi.org/10.1080/01621459.1988.10478591). The deviations of groups are shrunk by
    the part that trainings contribute, as in Davison and Hinkley, Bootstrap methods, 1997, section
    3.8. Percentiles are stretched by the ratio of the t distribution's quantile to the normal one,
    without which intervals over few trainings are too short (Hesterberg 2015,
    https://doi.org/10.1080/00031305.2015.1089789).
    """
    if estimate.standard_error == 0:
        return estimate.mean, estimate.mean
    entropy = [seed] if isinstance(seed, int) else list(seed)
    generator = np.random.default_rng([*entropy, 1])
    kept = max(0.0, of_unit - rest)
    shrinkage = sqrt(kept / of_unit) if of_unit > 0 else 0.0
    units = resampled_means(of_units[None] - of_units.mean(), resamples, [*entropy, 0])[0]
    deviations = shrinkage * units
    for side in sides:
        folds = side.parts.shape[1]
        drawn = generator.integers(0, side.repeats, (resamples, side.repeats - 1, folds))
        parts = side.parts - side.parts.mean(axis=0)
        deviations += parts[drawn, np.arange(folds)].mean(axis=1).sum(axis=1)
    # The sum of both draws may be smaller than the variance that the test allows for.
    spread = sqrt(of_trainings + kept)
    deviations *= estimate.standard_error / spread if spread > 0 else 0.0
    tail = (1 - CONFIDENCE) / 2
    deviations *= estimate.quantile(1 - tail) / special.ndtri(1 - tail)
    low, high = np.quantile(deviations, [tail, 1 - tail])
    return estimate.mean + float(low), estimate.mean + float(high)
