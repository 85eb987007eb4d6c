"""Means, intervals and paired tests, against hand-worked values and independent computations."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from nnunet_attention.evaluation.statistics.comparisons import (
    bootstrap_interval,
    holm,
    summarise_and_compare,
)
from nnunet_attention.evaluation.statistics.resampling import draw_counts, resampled_means


def compared(first, second, higher_is_better=True):
    _, comparisons = summarise_and_compare(
        np.array([first, second]), higher_is_better, seed=1, resamples=99
    )
    return comparisons[0, 1]


def exact_p_value(differences):
    """Of all ways to give the differences signs: the share at least as extreme."""
    differences = [difference for difference in differences if difference]
    ranks = stats.rankdata(np.abs(differences))
    observed = abs(sum(np.sign(differences) * ranks))
    sums = [
        abs(sum(np.multiply(signs, ranks))) for signs in product((-1, 1), repeat=len(differences))
    ]
    return np.mean([one >= observed - 1e-9 for one in sums])


def test_mean_sd_and_median_by_hand():
    # Deviations from 4: -3, -1, 0, 4; squares 26; over 3.
    (summary,), _ = summarise_and_compare(np.array([[1.0, 3.0, 4.0, 8.0]]), True, 0, 99)
    assert (summary.n, summary.mean, summary.median) == (4, 4.0, 3.5)
    assert summary.sd == pytest.approx((26 / 3) ** 0.5)
    assert summary.low < 4 < summary.high


def test_signed_ranks_by_hand():
    # Differences 1, -2, 3, 4, 5 (ranks alike): gains 13, losses 2, of 15. Sums of signed ranks as
    # far from 0 as 11 come from 3 sets of losses ({}, {1}, {2}) of 32, and as many of gains.
    comparison = compared([1, 0, 3, 4, 5], [0, 2, 0, 0, 0])
    assert comparison.p_value == pytest.approx(6 / 32)
    assert comparison.effect_size == pytest.approx(11 / 15)
    assert (comparison.wins, comparison.zeros, comparison.losses) == (4, 0, 1)
    assert comparison.mean_difference == pytest.approx(11 / 5)


def test_zero_differences_are_left_out_of_the_test_and_counted():
    with_zeros = compared([1, 0, 3, 4, 5, 7, 7], [0, 2, 0, 0, 0, 7, 7])
    without = compared([1, 0, 3, 4, 5], [0, 2, 0, 0, 0])
    assert (with_zeros.n, with_zeros.zeros) == (7, 2)
    assert with_zeros.p_value == without.p_value
    assert with_zeros.effect_size == without.effect_size
    assert with_zeros.mean_difference == pytest.approx(11 / 7)


def test_lower_is_better_turns_wins_and_effect_and_nothing_else():
    higher = compared([1, 0, 3, 4, 5], [0, 2, 0, 0, 0])
    lower = compared([1, 0, 3, 4, 5], [0, 2, 0, 0, 0], higher_is_better=False)
    assert (lower.wins, lower.losses) == (higher.losses, higher.wins)
    assert lower.effect_size == -higher.effect_size
    assert (lower.p_value, lower.mean_difference) == (higher.p_value, higher.mean_difference)


def test_mean_and_ranks_agree_or_favour_different_models():
    # Gains 1, 2, 3 have ranks 1 to 3 of the first model; the loss of 9 has rank 4.
    few_large_losses = compared([1, 2, 3, 0], [0, 0, 0, 9])
    assert few_large_losses.mean_difference == -3 / 4
    assert few_large_losses.effect_size == pytest.approx(2 / 10)
    assert not few_large_losses.ranks_agree(higher_is_better=True)
    assert compared([1, 2, 3, 0], [0, 0, 0, 1]).ranks_agree(higher_is_better=True)
    for higher in (True, False):
        assert compared([0, 2, 3], [1, 0, 0], higher).ranks_agree(higher)
        assert not compared([1, 2, 3, 0], [0, 0, 0, 9], higher).ranks_agree(higher)
        # Equal means favour neither.
        assert not compared([1, 2, 3, 0], [0, 0, 0, 6], higher).ranks_agree(higher)


@pytest.mark.parametrize("seed", range(5))
def test_p_values_of_few_cases_with_ties_are_exact(seed):
    differences = np.random.default_rng(seed).integers(-4, 6, 9)
    comparison = compared(differences, np.zeros(9))
    assert comparison.p_value == pytest.approx(exact_p_value(differences))


@pytest.mark.parametrize("cases", [1, 2, 3, 7, 8, 14])
def test_p_values_of_ties_are_those_of_scipys_wilcoxon(cases):
    values = np.random.default_rng(cases).integers(0, 3, (2, cases)).astype(float)
    values[:, -1] = 0, 2
    comparison = summarise_and_compare(values, True, 0, resamples=9)[1][0, 1]
    differing = np.diff(values, axis=0)[0]
    differing = differing[differing != 0]
    assert comparison.p_value == pytest.approx(stats.wilcoxon(differing).pvalue, rel=1e-12)


def test_models_that_never_differ_are_not_tested():
    comparison = compared([0.5, 0.7], [0.5, 0.7])
    assert (comparison.p_value, comparison.effect_size, comparison.zeros) == (1.0, 0.0, 2)
    assert (comparison.low, comparison.high) == (0.0, 0.0)


def test_one_case_has_a_mean_and_no_interval():
    (summary,), _ = summarise_and_compare(np.array([[0.5]]), True, 0, 99)
    assert (summary.mean, summary.sd, summary.low, summary.high) == (0.5, None, None, None)
    assert compared([0.5], [0.4]).p_value == 1.0


def test_holm_by_hand():
    # Sorted .01, .03, .04: times 3, 2, 1 is .03, .06, .04, never falling: .03, .06, .06.
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1, 1])
    assert holm([]).size == 0


def test_holm_equals_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p_values = np.random.default_rng(0).random(50) ** 4
    np.testing.assert_allclose(holm(p_values), multitest.multipletests(p_values, method="holm")[1])


def test_drawn_counts_sum_to_the_number_of_cases_and_are_even():
    counts = draw_counts(5, 20_000, np.random.default_rng(0))
    assert (counts.sum(axis=1) == 5).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.02)
    # Binomial with n 5 and p 1/5: variance 0.8.
    np.testing.assert_allclose(counts.var(axis=0), 0.8, atol=0.03)


def test_resamples_are_the_same_for_all_rows_and_for_the_same_seed():
    values = np.random.default_rng(0).random((2, 7))
    means = resampled_means(np.array([*values, values[0] - values[1]]), 50, seed=3)
    np.testing.assert_allclose(means[2], means[0] - means[1])
    np.testing.assert_array_equal(means[:2], resampled_means(values, 50, seed=3))
    assert (means[:2] != resampled_means(values, 50, seed=4)).any()


def test_intervals_equal_those_of_scipy():
    values = np.random.default_rng(0).beta(5, 1, (2, 30))
    low, high = bootstrap_interval(values, seed=1, resamples=100_000)
    expected = stats.bootstrap(
        (values,), np.mean, axis=1, n_resamples=100_000, rng=2, batch=10_000
    ).confidence_interval
    np.testing.assert_allclose(low, expected.low, atol=0.001)
    np.testing.assert_allclose(high, expected.high, atol=0.001)


@pytest.mark.parametrize("values", [[1, 2, 3, 6], [0, 3, 1, 7, 9], [2, 9, 4, 8, 1, 6], [5, 5, 8]])
def test_intervals_do_not_depend_on_rounding(values):
    # Sums of whole numbers are exact, those of tenths are not.
    exact = np.array(bootstrap_interval(np.array([values]), seed=0))
    for unit in (0.1, 0.7, 1e-5, -0.1, 1e6 / 3):
        rounded = np.array(bootstrap_interval(np.array([values]) * unit, seed=0)) / unit
        np.testing.assert_allclose(np.sort(rounded, axis=0), exact, rtol=1e-9)


def test_resamples_with_the_mean_of_all_count_half():
    # Of 27 resamples of (0, 1, 2) / 10, 7 have the mean 0.1 and 10 a lower one: half are below, so
    # nothing is corrected, and the interval is symmetric.
    low, high = bootstrap_interval(np.array([[0.0, 0.1, 0.2]]), seed=0, resamples=99_999)
    assert low[0] + high[0] == pytest.approx(0.2, abs=0.001)


def test_an_interval_of_equal_values_is_that_value():
    low, high = bootstrap_interval(np.full((1, 6), 0.1), seed=0)
    assert (low[0], high[0]) == (0.1, 0.1)


def test_intervals_hold_the_true_mean_about_as_often_as_they_say():
    """Dice-like values, 50 cases, mean 5/6; 95 % of 600 is 570 with a standard error of 5.3."""
    generator = np.random.default_rng(0)
    held = 0
    for seed in range(600):
        values = generator.beta(5, 1, (1, 50))
        low, high = bootstrap_interval(values, seed, resamples=999)
        held += low[0] <= 5 / 6 <= high[0]
    # Skewed values cost the bootstrap some coverage at 50 cases.
    assert 0.92 <= held / 600 <= 0.97


def test_two_shuffled_copies_of_one_model_differ_significantly_in_5_percent_of_seeds():
    """In each case the two models' values are swapped at random; 0.05 +- 3 x 0.0049."""
    first, second = np.random.default_rng(0).beta(5, 1, (2, 40))
    significant = 0
    for seed in range(2000):
        swap = np.random.default_rng(seed).random(40) < 0.5
        differences = np.where(swap, second - first, first - second)
        values = np.array([differences, np.zeros(40)])
        _, comparisons = summarise_and_compare(values, True, seed, resamples=1)
        significant += comparisons[0, 1].p_value < 0.05
    assert 0.035 <= significant / 2000 <= 0.065
