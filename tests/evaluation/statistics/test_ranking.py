"""Rankings and their stability, against hand-worked values and independent computations."""

import numpy as np
import pytest
from scipy import stats

from nnunet_attention.evaluation.statistics.ranking import (
    Ranking,
    consensus,
    critical_difference,
    rank_cases,
    smallest_ranks,
)

# Three models, four cases. Means 0.7, 0.6, 0.6.
VALUES = np.array(
    [
        [0.9, 0.9, 0.9, 0.1],
        [0.6, 0.6, 0.6, 0.6],
        [0.5, 0.5, 0.6, 0.8],
    ]
)


def test_equals_share_the_smallest_rank():
    np.testing.assert_array_equal(smallest_ranks(np.array([0.5, 0.7, 0.5, 0.1])), [2, 1, 2, 4])


def test_scores_that_differ_by_rounding_share_a_rank():
    np.testing.assert_array_equal(smallest_ranks(np.array([0.1 + 0.2, 0.3])), [1, 1])


def test_rank_by_mean_by_hand():
    ranking = rank_cases(VALUES, True, seed=0)["mean"]
    np.testing.assert_allclose(ranking.scores, [0.7, 0.6, 0.6])
    np.testing.assert_array_equal(ranking.ranks, [1, 2, 2])


def test_rank_by_mean_rank_by_hand():
    # Ranks by case: 1 2 3, 1 2 3, 1 2 2, 3 2 1; means 6/4, 8/4, 9/4.
    ranking = rank_cases(VALUES, True, seed=0)["mean_rank"]
    np.testing.assert_allclose(ranking.scores, [1.5, 2.0, 2.25])
    np.testing.assert_array_equal(ranking.ranks, [1, 2, 3])


def test_where_lower_is_better_the_order_turns():
    rankings = rank_cases(VALUES, False, seed=0)
    np.testing.assert_allclose(rankings["mean"].scores, [0.7, 0.6, 0.6])
    np.testing.assert_array_equal(rankings["mean"].ranks, [3, 1, 1])
    # Ranks by case: 3 2 1, 3 2 1, 3 1 1, 1 2 3; means 10/4, 7/4, 6/4.
    np.testing.assert_allclose(rankings["mean_rank"].scores, [2.5, 1.75, 1.5])


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_test_then_rank_counts_the_models_that_scipy_finds_worse(higher_is_better):
    generator = np.random.default_rng(1)
    # Rounded, so that there are ties and zeros; the models lie a little apart.
    values = (generator.beta(5, 2, (4, 60)) + np.array([[0.0], [0.02], [0.1], [0.1]])).round(2)
    ranking = rank_cases(values, higher_is_better, seed=0)["test"]
    beaten = [
        sum(
            stats.wilcoxon(
                one,
                other,
                alternative="greater" if higher_is_better else "less",
                correction=True,
                method="asymptotic",
            ).pvalue
            <= 0.05
            for other in np.delete(values, number, axis=0)
        )
        for number, one in enumerate(values)
    ]
    assert len(set(beaten)) > 1
    np.testing.assert_allclose(ranking.scores, np.array(beaten) / 3)
    np.testing.assert_array_equal(ranking.ranks, [1 + sum(b > a for b in beaten) for a in beaten])


def test_bootstrapped_ranks_equal_those_of_drawing_the_cases_anew():
    """The same draws, the cases repeated instead of counted."""
    values = np.random.default_rng(3).beta(5, 2, (3, 12)).round(1)
    rankings = rank_cases(values, True, seed=5, resamples=40)
    drawn = np.random.default_rng(5).integers(0, 12, (40, 12), dtype=np.int32)
    for number, cases in enumerate(drawn):
        once = rank_cases(values[:, cases], True, seed=0, resamples=1)
        for method, ranking in rankings.items():
            np.testing.assert_array_equal(
                ranking.bootstrap_ranks[number], once[method].ranks, err_msg=method
            )


def test_a_model_better_in_every_case_is_first_in_every_resample():
    values = np.array([np.full(20, 0.9), np.full(20, 0.8)]) + np.linspace(0, 0.05, 20)
    for ranking in rank_cases(values, True, seed=0).values():
        np.testing.assert_array_equal(ranking.distribution, [[1, 0], [0, 1]])
        np.testing.assert_array_equal(ranking.interval(), [[1, 2], [1, 2]])


def test_equal_models_share_rank_1_in_every_resample():
    values = np.tile(np.random.default_rng(0).random(9), (3, 1))
    for ranking in rank_cases(values, True, seed=0).values():
        np.testing.assert_array_equal(ranking.ranks, [1, 1, 1])
        np.testing.assert_array_equal(ranking.distribution[:, 0], [1, 1, 1])


def test_the_probability_of_rank_1_by_enumeration():
    """Two cases: both drawn once (a half), or one of them twice (a quarter each)."""
    values = np.array([[0.9, 0.1], [0.5, 0.4]])
    ranking = rank_cases(values, True, seed=0, resamples=20_000)["mean"]
    # Means 0.5 and 0.45, or 0.9 and 0.5, or 0.1 and 0.4.
    np.testing.assert_allclose(ranking.distribution[:, 0], [0.75, 0.25], atol=0.01)


def test_the_rank_interval_leaves_a_fortieth_at_either_end():
    ranks = np.array([[1, 2]] * 97 + [[2, 1]] * 3)
    np.testing.assert_array_equal(
        Ranking(np.zeros(2), np.array([1, 2]), ranks).interval(), [[1, 1], [2, 2]]
    )
    ranks = np.array([[1, 2]] * 98 + [[2, 1]] * 2)
    np.testing.assert_array_equal(
        Ranking(np.zeros(2), np.array([1, 2]), ranks).interval(), [[1, 2], [1, 2]]
    )


def test_the_consensus_ranks_mean_ranks_of_data_sets():
    one = Ranking(np.zeros(3), np.array([1, 2, 3]), np.array([[1, 2, 3], [3, 2, 1]]))
    other = Ranking(np.zeros(3), np.array([2, 1, 3]), np.array([[1, 2, 3], [1, 2, 3]]))
    joined = consensus([one, one, other])
    np.testing.assert_allclose(joined.scores, [4 / 3, 5 / 3, 3])
    np.testing.assert_array_equal(joined.ranks, [1, 2, 3])
    # Second resample: (3 + 3 + 1) / 3, 2, (1 + 1 + 3) / 3.
    np.testing.assert_array_equal(joined.bootstrap_ranks, [[1, 2, 3], [3, 2, 1]])


def test_the_critical_difference_is_demsars():
    # Table 5 and section 3.2.2 there: 4 classifiers, 14 data sets, q 2.569, CD 1.25.
    critical = critical_difference(np.random.default_rng(0).random((4, 14)))
    assert critical.difference == pytest.approx(2.569 * (4 * 5 / (6 * 14)) ** 0.5, abs=5e-4)
    assert critical.blocks == 14


def test_friedman_and_nemenyi_equal_scikit_posthocs():
    posthocs = pytest.importorskip("scikit_posthocs")
    generator = np.random.default_rng(0)
    goodness = generator.random((5, 30)) + np.array([[0.0], [0.1], [0.2], [0.5], [0.5]])
    critical = critical_difference(goodness)
    assert critical.friedman_p_value == pytest.approx(stats.friedmanchisquare(*goodness).pvalue)
    p_values = posthocs.posthoc_nemenyi_friedman(goodness.T).to_numpy()
    apart = np.abs(critical.mean_ranks[:, None] - critical.mean_ranks) > critical.difference
    np.testing.assert_array_equal(p_values < 0.05, apart)
    assert apart.any()
    assert not apart[np.triu_indices(5, 1)].all()


def test_cliques_are_the_largest_groups_within_the_critical_difference():
    # Five blocks, difference 1.48 for three models; mean ranks 1, 2.2, 2.8.
    goodness = np.array([[3, 3, 3, 3, 3], [1, 1, 1, 1, 2], [2, 2, 2, 2, 1]])
    critical = critical_difference(goodness)
    np.testing.assert_allclose(critical.mean_ranks, [1, 2.8, 2.2])
    assert critical.difference == pytest.approx(1.482, abs=1e-3)
    assert critical.cliques == ((0, 2), (2, 1))


def test_models_that_are_alike_everywhere_are_one_clique():
    critical = critical_difference(np.ones((3, 4)))
    assert critical.friedman_p_value == 1.0
    assert critical.cliques == ((0, 1, 2),)


def test_two_models_have_no_friedman_test():
    assert critical_difference(np.array([[1.0, 2.0], [0.0, 3.0]])).friedman_p_value is None
