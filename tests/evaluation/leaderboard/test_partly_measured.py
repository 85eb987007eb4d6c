"""Metrics that only some folds or trainings of a model have."""

import numpy as np
import pandas as pd
import pytest
from leaderboards import frame_of, small_settings

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.tables import undefined_table

NAN = float("nan")
ONE = ("Dataset001_One", "x")
# Cases 0, 2 and 4 are in fold 0, cases 1, 3 and 5 in fold 1.
DICE = {"A": [0.5, 0.6, 0.7, 0.8, NAN, 0.9], "B": [0.4, 0.5, 0.6, 0.7, NAN, 0.8]}


def measured(dice: dict = DICE) -> pd.DataFrame:
    """Dice of two models, and NSD that is 0.1 less."""
    frame = frame_of({ONE: dice}).assign(tolerance_mm=NAN)
    surface = frame.assign(metric="nsd", value=frame["value"] - 0.1, tolerance_mm=2.0)
    return pd.concat([frame, surface], ignore_index=True)


def board_of(frame, **changes):
    return build_leaderboard(frame, small_settings(metrics=("dice", "nsd"), **changes))


def without_surface(frame, **where):
    matches = frame["metric"] == "nsd"
    for column, value in where.items():
        matches &= frame[column] == value
    return frame[~matches].reset_index(drop=True)


def test_folds_that_were_not_measured_are_named():
    frame = without_surface(measured(), model="B", fold=1)
    with pytest.raises(CommandError) as caught:
        board_of(frame)
    assert str(caught.value) == (
        "no nsd in part of the results: B, Dataset001_One: fold 1 (3 of 6 cases); measure all with "
        "--surface, or write these summaries again with nnunet-attention evaluate, or give "
        "--allow-incomplete to leave these cases out"
    )
    # A metric that is not compared may be missing.
    build_leaderboard(frame, small_settings())


def test_so_are_trainings_and_single_cases():
    frames = [measured().assign(repeat=number) for number in range(2)]
    repeated = pd.concat(frames, ignore_index=True)
    with pytest.raises(CommandError, match=r": A, training 2, Dataset001_One: fold 0, 1 \(6 of 6"):
        board_of(without_surface(repeated, model="A", repeat=1))
    with pytest.raises(CommandError, match=r": A, Dataset001_One: fold 1 \(1 of 6 cases\)"):
        board_of(without_surface(measured(), model="A", case="One_003"))


def test_only_the_first_places_are_named():
    frame = pd.concat([measured({model: DICE["A"]}) for model in "ABCDE"], ignore_index=True)
    frame = without_surface(frame, fold=0)
    with pytest.raises(CommandError, match=r"A, .*; B, .*; C, Dataset001_One: .* and 2 more;"):
        board_of(frame)


@pytest.mark.parametrize(
    ("policy", "compared", "of_b"),
    [
        # Fold 0 of A and B: cases 0 and 2, and 4 without reference and prediction.
        ("nnunet", ("One_000", "One_002"), "1/0/0, 4 left out"),
        # What is right about case 4 needs no measurement.
        ("empty-correct-is-one", ("One_000", "One_002", "One_004"), "1/0/0, 1 set, 3 left out"),
    ],
)
def test_where_incomplete_results_are_allowed_they_count_as_left_out(policy, compared, of_b):
    frame = without_surface(measured(), model="B", fold=1)
    board = board_of(frame, policy=policy, allow_incomplete=True)
    dice, surface = board.rows
    assert len(dice.cases) == (5 if policy == "nnunet" else 6)
    assert surface.cases == compared
    (row,) = undefined_table(board, "nsd").texts
    assert row[2] == f"{len(compared)} of 6"
    assert row[4] == of_b
    # By the mean of 0.4 - 0.1 and 0.6 - 0.1, and 1.
    values = [0.3, 0.5, *([1.0] if len(compared) == 3 else [])]
    assert surface.entries["B"].summary.mean == pytest.approx(np.mean(values))


def test_cases_that_no_model_measured_are_counted_too():
    board = board_of(without_surface(measured(), fold=1), allow_incomplete=True)
    (row,) = undefined_table(board, "nsd").texts
    assert row[2:] == ["2 of 6", "1/0/0, 4 left out", "1/0/0, 4 left out"]


def test_a_complete_table_stays_as_it_is():
    frame = measured()
    assert list(board_of(frame).cases["value"].dropna()) == list(frame["value"].dropna())
    assert len(board_of(frame).cases) == len(frame)
