"""Equivalence, power and false claims, against scipy and statsmodels."""

from math import isnan

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from nnunet_attention.evaluation.statistics.equivalence import (
    CORRELATIONS,
    detectable_difference,
    equivalence,
    false_claim_probability,
    false_claim_probability_of,
    false_claims,
    non_inferiority,
    power,
    repeats_needed,
    units_needed,
    verdict,
)
from nnunet_attention.evaluation.statistics.estimates import Components, Estimate, over_units

GENERATOR = np.random.default_rng(0)
FIRST = GENERATOR.normal(0.8, 0.05, 30)
SECOND = FIRST + GENERATOR.normal(0.004, 0.01, 30)
DIFFERENCE = over_units(FIRST - SECOND)


@pytest.mark.parametrize("margin", [0.001, 0.005, 0.02])
def test_tost_is_that_of_statsmodels(margin):
    p_value, (_, p_lower, _), (_, p_upper, _) = ttost_paired(FIRST, SECOND, -margin, margin)
    found = equivalence(DIFFERENCE, margin)
    assert (found.p_lower, found.p_upper) == pytest.approx((p_lower, p_upper), rel=1e-9)
    assert found.p_value == pytest.approx(p_value, rel=1e-9)


def test_the_smallest_margin_is_where_the_test_turns():
    smallest = equivalence(DIFFERENCE, 0.01).smallest_margin
    assert equivalence(DIFFERENCE, smallest * 1.001).p_value < 0.05
    assert equivalence(DIFFERENCE, smallest * 0.999).p_value > 0.05
    # The interval of 90 %.
    expected = stats.ttest_rel(FIRST, SECOND).confidence_interval(0.9)
    found = equivalence(DIFFERENCE, 0.01)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_non_inferiority_is_the_one_sided_test_at_the_margin():
    expected = stats.ttest_1samp(FIRST - SECOND, -0.01, alternative="greater").pvalue
    assert non_inferiority(DIFFERENCE, 0.01) == pytest.approx(expected)
    # Of a distance the first is worse where it is higher.
    above = stats.ttest_1samp(FIRST - SECOND, 0.01, alternative="less").pvalue
    assert non_inferiority(DIFFERENCE, 0.01, higher_is_better=False) == pytest.approx(above)


@pytest.mark.parametrize("margin", [0, -0.01, float("nan")])
def test_a_margin_must_be_above_zero(margin):
    with pytest.raises(ValueError, match="margin"):
        equivalence(DIFFERENCE, margin)
    with pytest.raises(ValueError, match="margin"):
        non_inferiority(DIFFERENCE, margin)


@pytest.mark.parametrize(
    ("mean", "error", "margin", "expected"),
    [
        (0.02, 0.002, 0.01, "better"),
        (-0.02, 0.002, 0.01, "worse"),
        (0.001, 0.002, 0.01, "equivalent"),
        (0.005, 0.004, 0.01, "undecided"),
        # Certain, and too small to matter.
        (-0.005, 0.001, 0.01, "equivalent"),
        (-0.005, 0.001, None, "worse"),
        (0.001, 0.002, None, "undecided"),
    ],
)
def test_verdicts(mean, error, margin, expected):
    difference = Estimate(mean, error, 50)
    assert verdict(difference, margin) == expected
    turned = {"better": "worse", "worse": "better"}
    assert verdict(difference, margin, higher_is_better=False) == turned.get(expected, expected)
    assert verdict(difference.turned(), margin) == turned.get(expected, expected)


def test_an_adjusted_p_value_decides_instead_of_the_estimates_own():
    assert verdict(Estimate(0.02, 0.002, 50), p_value=0.2) == "undecided"
    assert verdict(Estimate(0.002, 0.002, 50), p_value=0.01) == "better"


def test_neither_is_better_where_the_test_favours_the_other_by_ranks():
    assert verdict(Estimate(0.02, 0.002, 50), p_value=0.01, ranks_disagree=True) == "undecided"
    small = Estimate(0.002, 0.002, 50)
    assert verdict(small, 0.01, p_value=0.01, ranks_disagree=True) == "equivalent"


def test_equal_models_are_equivalent_or_undecided():
    same = over_units(np.zeros(5))
    assert (verdict(same, 0.01), verdict(same)) == ("equivalent", "undecided")


@pytest.mark.parametrize(("effect", "n"), [(0.2, 10), (0.5, 30), (1.0, 5)])
def test_power_is_that_of_statsmodels(effect, n):
    planned = Components(unit=1).planned(n)
    assert power(effect, planned) == pytest.approx(TTestPower().power(effect, n, 0.05), rel=1e-6)


def test_power_of_nothing_is_the_level_and_of_much_is_certainty():
    planned = Components(unit=1).planned(20)
    assert power(0, planned) == pytest.approx(0.05)
    assert power(1000, planned) == 1
    assert power(-0.5, planned) == pytest.approx(power(0.5, planned))


def test_detectable_difference_is_that_of_statsmodels():
    expected = TTestPower().solve_power(nobs=40, alpha=0.05, power=0.8)
    assert detectable_difference(Components(unit=9).planned(40)) == pytest.approx(3 * expected)
    assert detectable_difference(Estimate(0.0, 0.0, 3)) == 0


@pytest.mark.parametrize("freedom", [1, 1.7, 400.5])
def test_the_detectable_difference_has_the_wanted_power(freedom):
    planned = Estimate(0.0, 0.003, freedom)
    assert power(detectable_difference(planned), planned) == pytest.approx(0.8, abs=1e-6)


def test_units_needed_are_those_of_statsmodels():
    expected = TTestPower().solve_power(effect_size=0.2, alpha=0.05, power=0.8)
    assert units_needed(Components(unit=25), 1.0) == int(np.ceil(expected))


def test_no_number_of_patients_makes_up_for_too_few_trainings():
    components = Components(unit=1e-4, training=1e-4, rest=0.0, folds=10)
    assert units_needed(components, 0.005, repeats=3) is None
    needed = repeats_needed(components, 0.005, units=1000)
    assert power(0.005, components.planned(1000, needed)) >= 0.8
    assert power(0.005, components.planned(1000, needed - 1)) < 0.8
    # Nor do trainings for too few patients.
    assert repeats_needed(Components(unit=1.0, training=1e-4), 0.005, units=10) is None


def test_false_claims_from_means_and_deviations_are_the_paired_t_test():
    expected = stats.ttest_rel(SECOND, FIRST, alternative="greater").pvalue
    found = false_claim_probability(
        SECOND.mean(), FIRST.mean(), SECOND.std(ddof=1), FIRST.std(ddof=1), 30,
        np.corrcoef(FIRST, SECOND)[0, 1],
    )  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-9)
    assert false_claim_probability_of(DIFFERENCE) == pytest.approx(expected, rel=1e-9)
    assert false_claim_probability_of(DIFFERENCE.turned()) == pytest.approx(expected, rel=1e-9)


def test_false_claims_by_drawing_from_the_posterior():
    """Given the data the mean is normal, and its variance scaled inverse chi-square."""
    n, sd = 20, (0.1**2 + 0.12**2 - 2 * 0.1 * 0.12 * 0.6) ** 0.5
    generator = np.random.default_rng(0)
    variance = (n - 1) * sd**2 / generator.chisquare(n - 1, 400_000)
    drawn = generator.normal(0.02, np.sqrt(variance / n))
    found = false_claim_probability(0.82, 0.80, 0.1, 0.12, n, 0.6)
    assert found == pytest.approx((drawn <= 0).mean(), abs=0.003)


def test_false_claims_shrink_with_agreement_and_cases():
    def claimed(n=50, correlation=0.5):
        return false_claim_probability(0.81, 0.80, 0.1, 0.1, n, correlation)

    assert claimed(correlation=0.9) < claimed() < claimed(correlation=0.0) < 0.5
    assert claimed(n=500) < claimed()


def test_of_claims_with_a_probability_as_many_are_false():
    """Truths drawn from the priors themselves: the probability is that among claims alike."""
    generator = np.random.default_rng(1)
    trials, n, correlation = 200_000, 8, 0.6
    # Wide beside the standard error, so that the ends of the prior play no part.
    spreads = np.exp(generator.uniform(np.log(0.02), np.log(0.08), trials))
    truths = generator.uniform(-0.5, 0.5, trials)
    first = generator.normal(0, 1, (trials, n))
    second = correlation * first + (1 - correlation**2) ** 0.5 * generator.normal(0, 1, (trials, n))
    first = first * spreads[:, None] + truths[:, None]
    second = second * spreads[:, None]
    differences = first - second
    means, sds = differences.mean(axis=1), differences.std(axis=1, ddof=1)
    probabilities = stats.t.cdf(-np.abs(means) / (sds / n**0.5), n - 1)
    example = 3
    assert probabilities[example] == pytest.approx(
        false_claim_probability(
            first[example].mean(), second[example].mean(), first[example].std(ddof=1),
            second[example].std(ddof=1), n, np.corrcoef(first[example], second[example])[0, 1],
        )
    )  # fmt: skip
    false = np.sign(means) != np.sign(truths)
    for low, high in ((0.01, 0.05), (0.05, 0.2), (0.2, 0.35), (0.35, 0.5)):
        alike = (probabilities >= low) & (probabilities < high)
        # Three standard errors of some thousand claims.
        tolerance = 3 * 0.5 / alike.sum() ** 0.5
        assert false[alike].mean() == pytest.approx(probabilities[alike].mean(), abs=tolerance)


@pytest.mark.parametrize(
    ("sd", "other_sd", "n"), [(0.1, 0.12, 20), (0.3, 0.05, 200), (0.1, 0.1, 2)]
)
def test_the_correlation_that_a_claim_needs_is_where_its_probability_is_five_percent(
    sd, other_sd, n
):
    def at(correlation):
        return false_claim_probability(0.82, 0.80, sd, other_sd, n, correlation)

    found = false_claims(0.82, 0.80, sd, other_sd, n)
    assert found.by_correlation == tuple(at(correlation) for correlation in CORRELATIONS)
    needed = found.needed_correlation
    # By halving.
    low, high = -1.0, 1.0
    if at(low) < 0.05:
        assert needed == -1
    elif at(high) >= 0.05:
        assert needed is None
    else:
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if at(middle) < 0.05 else (middle, high)
        assert needed == pytest.approx(high, abs=1e-9)


def test_no_or_any_correlation_may_do():
    assert false_claims(0.8, 0.8, 0.1, 0.1, 50).needed_correlation is None
    assert false_claims(0.8, 0.8, 0.1, 0.1, 50).by_correlation == (0.5, 0.5, 0.5)
    assert false_claims(0.9, 0.4, 0.1, 0.1, 50).needed_correlation == -1
    # Without any spread of one of them no correlation plays a part.
    assert false_claims(0.9, 0.8, 0.0, 0.1, 50).needed_correlation == -1
    assert false_claims(0.81, 0.8, 0.0, 0.1, 50).needed_correlation is None


def test_what_is_impossible_is_refused_or_undefined():
    assert isnan(false_claim_probability(0.8, 0.7, 0.1, 0.1, 1, 0.5))
    with pytest.raises(ValueError, match="correlation"):
        false_claim_probability(0.8, 0.7, 0.1, 0.1, 9, 1.5)
    with pytest.raises(ValueError, match="other_sd"):
        false_claim_probability(0.8, 0.7, 0.1, -0.1, 9, 0.5)
    with pytest.raises(ValueError, match="sd is inf"):
        false_claim_probability(0.8, 0.7, float("inf"), 0.1, 9, 0.5)
    with pytest.raises(ValueError, match="other_mean is nan"):
        false_claim_probability(0.8, float("nan"), 0.1, 0.1, 9, 0.5)
    with pytest.raises(ValueError, match="two cases are needed"):
        false_claims(0.8, 0.7, 0.1, 0.1, 1)
