"""The tables of the leaderboard, as grids."""

from leaderboards import frame_of, small_leaderboard, small_settings

from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.tables import (
    confidence_interval,
    consensus_table,
    fold_mean_table,
    interval,
    main_table,
    metric_title,
    pair_table,
    ranks_table,
)


def two_models():
    dice = {("Dataset001_One", "x"): {"A": [0.5, 0.7, 0.6], "B": [0.4, 0.6, 0.6]}}
    return build_leaderboard(frame_of(dice), small_settings())


def test_a_data_set_begins_a_group_and_is_named_once():
    grid = main_table(small_leaderboard(), "dice")
    assert [row[:3] for row in grid.texts] == [
        ["One", "mean of labels", "12"],
        ["", "liver", "12"],
        ["", "tumour", "12"],
        ["Two", "spleen", "9"],
    ]
    assert grid.groups == {0, 3}


def test_a_model_without_results_on_a_data_set_has_a_dash_there():
    dice = {
        ("Dataset001_One", "x"): {"A": [0.5, 0.7], "B": [0.4, 0.6]},
        ("Dataset002_Two", "x"): {"A": [0.5, 0.7]},
    }
    grid = main_table(build_leaderboard(frame_of(dice), small_settings()), "dice")
    assert grid.texts[1][3:] == ["0.600", "\N{EN DASH}"]


def test_pairs_by_hand():
    grid = pair_table(two_models(), "dice")
    ((dataset, label, models, n, difference, _, outcomes, effect, *_),) = grid.texts
    assert (dataset, label, models, n) == ("One", "x", "A \N{EN DASH} B", "3")
    # Differences 0.1, 0.1 and 0.
    assert (difference, outcomes, effect) == ("+0.067", "2/1/0", "+1.00")


def test_the_ranks_apart_are_those_in_brackets():
    board = small_leaderboard()
    together, apart = consensus_table(board, "dice"), ranks_table(board, "dice")
    assert len(apart.heading) == 1 + 3 * 3
    for row, cells in zip(together.texts, apart.texts, strict=True):
        assert row[0] == cells[0]
        for place, text in enumerate(row[1:]):
            rank, first, low_high = cells[1 + 3 * place : 4 + 3 * place]
            assert text.startswith(f"{rank} (")
            assert text.endswith(f"; {first}; {low_high})")


def test_nnunets_means_are_means_of_folds():
    # Folds take the cases in turn: A has 0.55 and 0.7, B 0.5 and 0.6.
    assert fold_mean_table(two_models(), "dice").texts == [["One", "0.6250", "0.5500"]]


def test_words_of_numbers():
    assert interval(1, 1) == "1"
    assert interval(1, 3) == "1\N{EN DASH}3"
    assert confidence_interval(None, None, "dice") == "\N{EN DASH}"
    assert confidence_interval(0.5, 0.75, "hd95_mm") == "[0.50, 0.75]"
    assert metric_title("dice") == "Dice \N{UPWARDS ARROW}"
    assert metric_title("assd_mm") == "ASSD (mm) \N{DOWNWARDS ARROW}"


def test_an_end_that_rounds_to_zero_has_no_sign():
    assert confidence_interval(-0.0002, 0.0016, "dice") == "[0.000, 0.002]"
    assert confidence_interval(-0.004, -0.006, "assd_mm") == "[0.00, -0.01]"
