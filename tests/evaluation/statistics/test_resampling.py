"""Cases are drawn with replacement, and all rows see the same ones."""

import numpy as np
import pytest

from nnunet_attention.evaluation.statistics import resampling
from nnunet_attention.evaluation.statistics.resampling import draw_counts, resampled_means


def test_each_resample_draws_as_many_cases_as_there_are():
    counts = draw_counts(7, 200, np.random.default_rng(0))
    assert counts.shape == (200, 7)
    assert (counts.sum(axis=1) == 7).all()
    # With replacement: some cases are drawn twice, and others not at all.
    assert counts.min() == 0
    assert counts.max() > 1


def test_all_cases_are_drawn_alike():
    counts = draw_counts(5, 20_000, np.random.default_rng(1))
    # Standard deviation of a mean of 20000 binomial counts (5, 0.2): sqrt(0.8 / 20000) = 0.0063.
    assert counts.mean(axis=0) == pytest.approx(np.ones(5), abs=5 * 0.0063)


def test_rows_share_the_resamples_and_means_are_of_what_was_drawn():
    values = np.array([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0]])
    means = resampled_means(values, 50, seed=3)
    assert means[1] == pytest.approx(10 * means[0])
    counts = draw_counts(3, 50, np.random.default_rng(3))
    slow = [sum(row * values[0]) / 3 for row in counts]
    assert means[0] == pytest.approx(np.array(slow))


def test_the_seed_alone_decides_not_how_many_are_drawn_at_a_time(monkeypatch):
    values = np.random.default_rng(0).normal(size=(2, 4))
    once = resampled_means(values, 30, seed=(1, 2))
    assert (once == resampled_means(values, 30, seed=(1, 2))).all()
    assert not (once == resampled_means(values, 30, seed=(1, 3))).all()
    monkeypatch.setattr(resampling, "_DRAWS_AT_A_TIME", 8)
    assert resampled_means(values, 30, seed=(1, 2)).shape == once.shape
