"""Means with a t distribution, against scipy's own tests."""

import numpy as np
import pytest
from scipy import stats

from nnunet_attention.evaluation.statistics.estimates import (
    Components,
    Estimate,
    over_units,
    satterthwaite,
)

VALUES = np.array([0.01, -0.02, 0.03, 0.005])


def test_over_units_interval_and_p_value_are_those_of_the_t_test():
    estimate = over_units(VALUES)
    expected = stats.ttest_1samp(VALUES, 0)
    interval = expected.confidence_interval(0.95)
    assert estimate.interval() == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert estimate.p_value == pytest.approx(expected.pvalue, rel=1e-12)
    assert estimate.degrees_of_freedom == 3


def test_one_sided_p_values_are_those_of_the_t_test():
    estimate = over_units(VALUES)
    above = stats.ttest_1samp(VALUES, -0.01, alternative="greater").pvalue
    below = stats.ttest_1samp(VALUES, -0.01, alternative="less").pvalue
    assert estimate.above(-0.01) == pytest.approx(above, rel=1e-12)
    assert estimate.below(-0.01) == pytest.approx(below, rel=1e-12)


def test_one_value_has_no_spread_to_estimate_from():
    assert over_units(np.array([0.3])) is None


def test_without_spread_the_mean_is_certain():
    assert over_units(np.array([0.1, 0.1])).p_value == 0
    nothing = over_units(np.zeros(3))
    assert (nothing.p_value, nothing.interval()) == (1, (0, 0))
    assert nothing.above(-0.01) == 0


def test_turned_is_the_other_model_first():
    estimate = Estimate(0.3, 0.1, 5)
    assert estimate.turned().above(0) == pytest.approx(estimate.below(0))


def test_satterthwaite_by_hand():
    # (6 + 2 - 1) and 7^2 / (36/1 + 4/2 + 1/4).
    total, freedom = satterthwaite([(6, 1), (2, 2), (-1, 4)])
    assert (total, freedom) == (7, pytest.approx(49 / 38.25))


def test_satterthwaite_is_welchs_for_two_means():
    first, second = np.array([1.0, 2.0, 4.0]), np.array([1.0, 8.0, 3.0, 5.0])
    _, freedom = satterthwaite(
        [(one.var(ddof=1) / len(one), len(one) - 1) for one in (first, second)]
    )
    expected = stats.ttest_ind(first, second, equal_var=False).df
    assert freedom == pytest.approx(expected, rel=1e-12)


def test_planned_variance_by_hand():
    # 6/3 + 4/2 + 12/6 = 6; terms 2 + 2, 2 + 2 and -2 with 2, 5 and 2 degrees of freedom.
    planned = Components(unit=6, training=4, rest=12, folds=5).planned(units=3, repeats=2)
    assert planned.standard_error == pytest.approx(6**0.5)
    assert planned.degrees_of_freedom == pytest.approx(36 / (16 / 2 + 16 / 5 + 4 / 2))


def test_planned_over_cases_alone_is_the_paired_t_test():
    planned = Components(unit=6).planned(units=3)
    assert (planned.standard_error, planned.degrees_of_freedom) == (pytest.approx(2**0.5), 2)


def test_one_training_of_each_fold_cannot_be_planned_for():
    assert Components(unit=6, training=1).planned(units=3, repeats=1) is None
    assert Components(unit=6).planned(units=1) is None
