"""Assesses a difference of two models beyond its p-value: equivalence, power, false claims.

References:
    Schuirmann: A comparison of the two one-sided tests procedure and the power approach. 1987,
    https://doi.org/10.1007/BF01068419
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, isnan, nan, sqrt
from typing import Literal

from scipy import optimize, special

from nnunet_attention.evaluation.statistics.estimates import Components, Estimate

LEVEL = 0.05
POWER = 0.8
# From models that have nothing in common to models that err on the same cases; correlations of two
# nnU-Nets on the ten data sets of the Decathlon lie between 0.79 and 0.99.
CORRELATIONS = (0.0, 0.8, 0.95)
Verdict = Literal["better", "worse", "equivalent", "undecided"]
# If more units or trainings than this are needed, no number counts as enough.
_MOST = 10_000_000


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests (TOST) that a difference lies within a margin.

    Attributes:
        margin: differences smaller than this do not matter.
        p_lower: one-sided, small if the difference lies above -margin.
        p_upper: one-sided, small if it lies below the margin.
        low: lower end of the interval whose inclusion in the margin is the test (90 % at 5 %).
        high: upper end.
    """

    margin: float
    p_lower: float
    p_upper: float
    low: float
    high: float

    @property
    def p_value(self) -> float:
        """The larger of the two p-values; the models are equivalent if it is small."""
        return max(self.p_lower, self.p_upper)

    @property
    def smallest_margin(self) -> float:
        """The smallest margin with which the models would be called equivalent."""
        return max(abs(self.low), abs(self.high))


def equivalence(difference: Estimate, margin: float, level: float = LEVEL) -> Equivalence:
    """Test whether a difference lies within plus or minus a margin.

    Raises:
        ValueError: if the margin is not above 0.
    """
    _check_margin(margin)
    low, high = difference.interval(1 - 2 * level)
    return Equivalence(margin, difference.above(-margin), difference.below(margin), low, high)


def non_inferiority(difference: Estimate, margin: float, higher_is_better: bool = True) -> float:
    """Return the one-sided p-value, small if the first model is not worse by the margin.

    Args:
        difference: first minus second model.
        margin: above 0.
        higher_is_better: of the metric.

    Raises:
        ValueError: if the margin is not above 0.
    """
    _check_margin(margin)
    return difference.above(-margin) if higher_is_better else difference.below(margin)


def verdict(
    difference: Estimate,
    margin: float | None = None,
    higher_is_better: bool = True,
    level: float = LEVEL,
    p_value: float | None = None,
    ranks_disagree: bool = False,
) -> Verdict:
    """Return whether the first model is better, worse, equivalent, or undecided.

    Equivalence takes precedence: a significant difference that is too small to matter is
    equivalent.

    Args:
        difference: first minus second model.
        margin: differences smaller than this do not matter; without it no models are equivalent.
        higher_is_better: of the metric.
        level: of both tests.
        p_value: of the difference, if it is not the estimate's own (adjusted, or of another test).
        ranks_disagree: whether the p-value is of a test of ranks that favours the model with the
            worse mean; then neither is better.
    """
    if margin is not None and equivalence(difference, margin, level).p_value < level:
        return "equivalent"
    if (difference.p_value if p_value is None else p_value) >= level or difference.mean == 0:
        return "undecided"
    if ranks_disagree:
        return "undecided"
    return "better" if (difference.mean > 0) == higher_is_better else "worse"


def power(difference: float, planned: Estimate, level: float = LEVEL) -> float:
    """Return the probability that a two-sided t test finds a true difference.

    `P(|T| > t)` with T of the non-central t distribution whose non-centrality is the difference
    over its standard error.

    Args:
        difference: the true difference.
        planned: its standard error and degrees of freedom.
        level: of the test.
    """
    if planned.standard_error == 0:
        return 1.0 if difference else level
    freedom, away = planned.degrees_of_freedom, abs(difference) / planned.standard_error
    critical = planned.quantile(1 - level / 2)
    wrong_side = float(special.nctdtr(freedom, away, -critical))
    # scipy returns NaN for some probabilities that are practically 0.
    return float(1 - special.nctdtr(freedom, away, critical)) + (
        0 if isnan(wrong_side) else wrong_side
    )


def detectable_difference(
    planned: Estimate, level: float = LEVEL, wanted_power: float = POWER
) -> float:
    """Return the smallest true difference that the comparison detects with the wanted power."""
    if planned.standard_error == 0:
        return 0.0
    unit = Estimate(0.0, 1.0, planned.degrees_of_freedom)
    highest = 1.0
    while power(highest, unit, level) < wanted_power:
        highest *= 2
    away = optimize.brentq(lambda ratio: power(ratio, unit, level) - wanted_power, 0, highest)
    return float(away * planned.standard_error)


def units_needed(
    components: Components,
    difference: float,
    repeats: int = 1,
    level: float = LEVEL,
    wanted_power: float = POWER,
) -> int | None:
    """Return how many groups (or cases) a difference needs; None where no number is enough.

    Args:
        components: of the difference's variance.
        difference: the difference to be detected.
        repeats: trainings of each fold.
        level: of the test.
        wanted_power: of the test.
    """
    return _fewest(
        lambda units: components.planned(units, repeats), difference, level, wanted_power
    )


def repeats_needed(
    components: Components,
    difference: float,
    units: int,
    level: float = LEVEL,
    wanted_power: float = POWER,
) -> int | None:
    """Return how many trainings of each fold a difference needs; None if no number is enough.

    Args:
        components: of the difference's variance.
        difference: the difference to be detected.
        units: groups, or cases.
        level: of the test.
        wanted_power: of the test.
    """
    return _fewest(
        lambda repeats: components.planned(units, repeats), difference, level, wanted_power
    )


def false_claim_probability(
    mean: float,
    other_mean: float,
    sd: float,
    other_sd: float,
    n: int,
    correlation: float,
) -> float:
    """Return the probability that the model with the better mean is in truth not better.

    For means of a segmentation metric over the same n cases:

        P(mu_A <= mu_B) = t_{n-1}(sqrt(n) (m_B - m_A) / sqrt(s_A^2 + s_B^2 - 2 s_A s_B r_AB))

    where t_{n-1} is the cumulative t distribution, A the model with the better mean, and r_AB the
    correlation of the models over cases ("model congruence"). It is the posterior probability of
    a normal difference whose mean and log standard deviation have flat priors; computed from the
    values themselves, it is the one-sided p-value of the paired t test. It accounts for a single
    training of each model only.

    Args:
        mean: m, over cases.
        other_mean: of the other model.
        sd: s, over cases.
        other_sd: of the other model.
        n: cases, the same for both.
        correlation: r_AB; rarely published, see `false_claims`.

    Returns:
        At most 0.5; NaN for fewer than two cases.

    Raises:
        ValueError: if a number is impossible.

    References:
        Christodoulou et al.: False promises in medical imaging AI? Assessing validity of
        outperformance claims. 2025, https://arxiv.org/abs/2505.04720
    """
    _check_finite(mean=mean, other_mean=other_mean)
    _check_spreads(sd, other_sd)
    if not -1 <= correlation <= 1:
        raise ValueError(f"correlation is {correlation}; it lies between -1 and 1")
    if n < 2:
        return nan
    # Rounding can make the variance of two equal models slightly negative.
    variance = max(0.0, sd**2 + other_sd**2 - 2 * sd * other_sd * correlation)
    difference = Estimate(mean - other_mean, sqrt(variance / n), n - 1)
    return false_claim_probability_of(difference)


@dataclass(frozen=True)
class FalseClaims:
    """The probability of a false claim if the models' correlation over cases is not known.

    Attributes:
        by_correlation: probability, see `false_claim_probability`, at each of `CORRELATIONS`.
        needed_correlation: the correlation above which the probability is below the level; -1 if it
            is below the level at any correlation, None if it is at none.
    """

    by_correlation: tuple[float, ...]
    needed_correlation: float | None


def false_claims(
    mean: float, other_mean: float, sd: float, other_sd: float, n: int, level: float = LEVEL
) -> FalseClaims:
    """Return how likely a claim is false if only mean, SD and n are known, as in published tables.

    The correlation that a claim needs follows from the equation of `false_claim_probability`:

        r = (s_A^2 + s_B^2 - n (m_A - m_B)^2 / q^2) / (2 s_A s_B)

    with q the quantile of t_{n-1} at 1 - level.

    Args:
        mean: over cases.
        other_mean: of the other model.
        sd: over cases.
        other_sd: of the other model.
        n: cases, the same for both, at least two.
        level: level that the probability must stay below.

    Raises:
        ValueError: if a number is impossible.
    """
    if n < 2:
        raise ValueError(f"n is {n}; at least two cases are needed")
    probabilities = tuple(
        false_claim_probability(mean, other_mean, sd, other_sd, n, correlation)
        for correlation in CORRELATIONS
    )
    return FalseClaims(probabilities, _needed(mean - other_mean, sd, other_sd, n, level))


def false_claim_probability_of(difference: Estimate) -> float:
    """Return the probability of a false claim for a difference with a known standard error.

    The standard error may account for several trainings. The model with the better mean is the one
    that is claimed to be better.
    """
    return min(difference.below(0), difference.above(0))


def _fewest(
    plan: Callable[[int], Estimate | None], difference: float, level: float, wanted_power: float
) -> int | None:
    def enough(number: int) -> bool:
        planned = plan(number)
        return planned is not None and power(difference, planned, level) >= wanted_power

    high = 2
    while not enough(high):
        high *= 2
        if high > _MOST:
            return None
    low = 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _needed(difference: float, sd: float, other_sd: float, n: int, level: float) -> float | None:
    # The highest variance of the differences over cases at which the claim still holds.
    highest_variance = n * (difference / float(special.stdtrit(n - 1, 1 - level))) ** 2
    if sd == 0 or other_sd == 0:
        return -1.0 if sd**2 + other_sd**2 < highest_variance else None
    needed = (sd**2 + other_sd**2 - highest_variance) / (2 * sd * other_sd)
    return max(-1.0, float(needed)) if needed < 1 else None


def _check_finite(**numbers: float) -> None:
    for name, number in numbers.items():
        if not isfinite(number):
            raise ValueError(f"{name} is {number}; it must be a number")


def _check_spreads(sd: float, other_sd: float) -> None:
    for name, spread in (("sd", sd), ("other_sd", other_sd)):
        if not 0 <= spread < inf:
            raise ValueError(f"{name} is {spread}; it must be a number of 0 or more")


def _check_margin(margin: float) -> None:
    if not margin > 0:
        raise ValueError(f"margin is {margin}; it must be above 0")
