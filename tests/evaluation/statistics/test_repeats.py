"""Several trainings of each model, against statsmodels' analysis of variance."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from nnunet_attention.evaluation.statistics.repeats import (
    Layout,
    compare_repeats,
    mean_over_repeats,
    paired_repeats,
)

SEEDS = ((0, 1, 2), (0, 1, 2))
FOLDS = np.array([0, 0, 0, 1, 1, 1, 1, 0])


def drawn(seed=0, repeats=3, cases=8, of_training=0.5):
    generator = np.random.default_rng(seed)
    trainings = generator.normal(0, of_training, (repeats, 2))[:, FOLDS[:cases]]
    return trainings + generator.normal(0, 1, cases) + generator.normal(0, 0.3, (repeats, cases))


def mean_squares(values):
    """Of repeats, cases and what both leave, by statsmodels."""
    repeats, cases = np.indices(values.shape)
    frame = pd.DataFrame(
        {"value": values.ravel(), "repeat": repeats.ravel(), "case": cases.ravel()}
    )
    table = anova_lm(ols("value ~ C(repeat) + C(case)", frame).fit())
    return tuple(table["mean_sq"])


def test_crossed_mean_squares_by_hand():
    # Means of the repeats 2 and 4, of the cases 2, 3 and 4; nothing is left over.
    found = mean_over_repeats(np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]), resamples=0)
    # A = 3 * 2 = 6, B = 2 * 1 = 2, E = 0: variance (6 + 2) / 6 and 8^2 / (36 / 1 + 4 / 2).
    assert found.estimate.mean == 3
    assert found.estimate.standard_error == pytest.approx((8 / 6) ** 0.5)
    assert found.estimate.degrees_of_freedom == pytest.approx(64 / 38)
    assert found.training_means == (2, 4)
    assert (found.training_sd, found.unit_sd) == (pytest.approx(2**0.5), pytest.approx(1))
    assert (found.repeats, found.units, found.cases) == ((2,), 3, 3)


def test_variance_is_that_of_statsmodels_mean_squares():
    values = drawn(of_training=2)
    of_repeats, of_cases, of_rest = mean_squares(values)
    assert min(of_repeats, of_cases) > of_rest
    found = mean_over_repeats(values, resamples=0).estimate
    assert found.standard_error**2 == pytest.approx((of_repeats + of_cases - of_rest) / 24)


def test_each_folds_trainings_vary_on_their_own():
    values = drawn()
    _, of_cases, of_rest = mean_squares(values)
    of_trainings = sum(
        ((inside := fold == FOLDS).mean() * values[:, inside].mean(axis=1)).var(ddof=1) / 3
        for fold in (0, 1)
    )
    found = mean_over_repeats(values, Layout(FOLDS), resamples=0)
    assert found.estimate.standard_error**2 == pytest.approx(
        of_trainings + (of_cases - of_rest) / 24
    )
    assert found.components.folds == 2


def test_a_group_counts_once_in_mean_variance_and_number():
    # The first group has three cases, the second two, the others one.
    groups = np.array([0, 0, 0, 1, 1, 2, 3, 4])
    values = drawn()
    of_groups = np.stack([values[:, groups == group].mean(axis=1) for group in range(5)], axis=1)
    grouped = mean_over_repeats(values, Layout(groups=groups), resamples=0)
    alone = mean_over_repeats(of_groups, resamples=0)
    assert grouped.estimate.mean == pytest.approx(of_groups.mean())
    assert grouped.estimate.standard_error == pytest.approx(alone.estimate.standard_error)
    assert (grouped.units, grouped.cases) == (5, 8)


def test_trainings_of_the_same_seeds_are_paired_whatever_their_order():
    first, second = drawn(1), drawn(2)
    paired = compare_repeats(first, second, SEEDS, resamples=0)
    assert paired.paired
    expected = mean_over_repeats(first - second, resamples=0)
    assert paired.estimate == expected.estimate
    turned = compare_repeats(first, second[::-1], ((0, 1, 2), (2, 1, 0)), resamples=0)
    assert turned.estimate.standard_error == pytest.approx(expected.estimate.standard_error)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((1, 2), (2, 1), [(0, 1), (1, 0)]),
        ((1, 2), (1, 3), None),
        ((1, 2), (1, 2, 3), None),
        ((None, None), (None, None), None),
        ((1, 1), (1, 1), None),
        ((), (), None),
    ],
)
def test_seeds_pair_trainings_only_where_both_have_the_same(first, second, expected):
    assert paired_repeats(first, second) == expected


def test_unpaired_trainings_add_both_models_variances():
    first, second = drawn(1), drawn(2, repeats=4)
    of_trainings = rest = 0
    for values in (first, second):
        of_repeats, _, of_rest = mean_squares(values)
        of_trainings += of_repeats / values.size
        rest += of_rest / values.size
    of_cases = (first.mean(axis=0) - second.mean(axis=0)).var(ddof=1) / 8
    found = compare_repeats(first, second, resamples=0)
    assert found.paired is False
    assert found.repeats == (3, 4)
    assert found.training_means == ()
    assert found.estimate.mean == pytest.approx(first.mean() - second.mean())
    assert found.estimate.standard_error**2 == pytest.approx(of_trainings + of_cases - rest)


def test_the_error_is_never_smaller_than_cases_or_trainings_alone_would_make_it():
    # Each case's three values sum to 0, so trainings do not differ at all and E is large.
    values = np.array([[1.0, -1.0, 2.0, -2.0], [-1.0, 1.0, -2.0, 2.0]]) + np.arange(4)
    found = mean_over_repeats(values, resamples=0).estimate
    expected = stats.ttest_1samp(values.mean(axis=0), 0)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.degrees_of_freedom == 3


def test_components_explain_the_variance():
    found = mean_over_repeats(drawn(3), Layout(FOLDS), resamples=0)
    planned = found.components.planned(found.units, found.repeats[0])
    assert planned.standard_error == pytest.approx(found.estimate.standard_error)


def test_one_training_or_one_group_cannot_be_tested():
    assert mean_over_repeats(drawn(repeats=1)) is None
    assert compare_repeats(drawn(), drawn(repeats=1)) is None
    assert mean_over_repeats(drawn(), Layout(groups=np.zeros(8, dtype=int))) is None


@pytest.mark.parametrize("layout", [Layout(), Layout(np.arange(200) % 5)])
def test_the_bootstrap_interval_is_near_the_t_interval(layout):
    generator = np.random.default_rng(5)
    values = generator.normal(0, 1, (3, 200)) + generator.normal(0, 3, 200)
    values += generator.normal(0, 0.2, (3, 1))
    found = mean_over_repeats(values, layout, seed=7)
    low, high = found.estimate.interval()
    assert (found.low, found.high) == pytest.approx((low, high), abs=(high - low) / 8)


def test_the_bootstrap_interval_is_that_of_its_seed():
    first, again, other = (mean_over_repeats(drawn(), seed=seed) for seed in (7, (7,), 8))
    assert first == again
    assert first.low != other.low


def test_equal_models_have_an_interval_of_nothing():
    found = compare_repeats(drawn(), drawn(), SEEDS)
    assert (found.low, found.high, found.estimate.p_value) == (0, 0, 1)


def test_two_equal_methods_rarely_differ():
    """Trainings as far apart as cases' means: the test over cases alone is wrong in a third."""
    generator = np.random.default_rng(0)
    folds = np.arange(50) // 10
    wrong = over_cases = 0
    for _ in range(400):
        values = [
            generator.normal(0, 0.005, (3, 5))[:, folds] + generator.normal(0, 0.011, (3, 50))
            for _ in range(2)
        ]
        found = compare_repeats(*values, layout=Layout(folds), resamples=0)
        wrong += found.estimate.p_value < 0.05
        over_cases += stats.ttest_rel(values[0][0], values[1][0]).pvalue < 0.05
    assert wrong / 400 < 0.075
    assert over_cases / 400 > 0.15


@pytest.mark.parametrize(
    ("layout", "match"),
    [(Layout(folds=np.zeros(3, dtype=int)), "folds has 3"),
     (Layout(groups=np.arange(3)), "groups has 3")],
)  # fmt: skip
def test_a_layout_of_other_cases_is_refused(layout, match):
    with pytest.raises(ValueError, match=match):
        mean_over_repeats(drawn(), layout)


def test_undefined_values_and_other_cases_are_refused():
    values = drawn()
    with pytest.raises(ValueError, match="8 and 7 cases"):
        compare_repeats(values, values[:, 1:])
    values[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        mean_over_repeats(values)
