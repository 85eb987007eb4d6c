"""The record holds everything in plain objects."""

import json

from leaderboards import small_leaderboard

from nnunet_attention.evaluation.leaderboard.records import FORMAT, leaderboard_record


def test_everything_can_be_written_as_json():
    record = leaderboard_record(small_leaderboard())
    text = json.dumps(record, allow_nan=False)
    assert json.dumps(json.loads(text)) == text
    assert record["format"] == FORMAT


def test_rows_pairs_and_ranks_are_named_by_their_models():
    board = small_leaderboard(("A", "B", "C"))
    record = leaderboard_record(board)
    row = record["rows"][0]
    assert list(row["models"]) == ["A", "B", "C"]
    assert [(pair["first"], pair["second"]) for pair in row["comparisons"]] == [
        ("A", "B"),
        ("A", "C"),
        ("B", "C"),
    ]
    assert list(row["critical_difference"]["mean_ranks"]) == ["A", "B", "C"]
    # A is best everywhere, see `small_leaderboard`.
    assert row["critical_difference"]["mean_ranks"]["A"] == 1
    assert {one["metric"] for one in record["consensus"]} == {"dice"}
    assert record["consensus"][0]["standings"]["mean"]["A"]["rank"] == 1


def test_costs_that_are_not_known_are_left_out():
    assert leaderboard_record(small_leaderboard())["costs"] == []
