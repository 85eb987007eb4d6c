"""What was done is said in words."""

import pytest
from leaderboards import small_leaderboard

from nnunet_attention.evaluation.leaderboard.methods import (
    REFERENCES,
    methods_paragraphs,
    tolerance_in_words,
)


@pytest.mark.parametrize(
    ("tolerances", "words"),
    [
        ({}, None),
        ({"D": {"x": None}}, None),
        ({"D": {"x": 2.0, "y": 2.0}, "E": {"x": 2.0}}, "2 mm"),
        ({"D": {"x": 2.0}, "E": {"y": 1.5}}, "2 mm for x of D, 1.5 mm for y of E"),
        ({"D": {"x": 2.0, "y": None}}, "2 mm for x of D, unknown for y of D"),
    ],
)
def test_tolerances_in_words(tolerances, words):
    assert tolerance_in_words(tolerances) == words


def test_every_reference_is_cited_and_nothing_else():
    text = " ".join(methods_paragraphs(small_leaderboard()))
    cited = {number for number in range(20) if f"[{number}]" in text}
    # The last is nnU-Net's split, which is not known here.
    assert cited == set(range(1, len(REFERENCES)))


def test_folds_that_are_missing_are_counted():
    from dataclasses import replace

    board = replace(small_leaderboard(), missing=("a/fold_1", "b/fold_2"))
    assert "Results of 2 folds were missing" in methods_paragraphs(board)[0]
