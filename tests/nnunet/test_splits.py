"""Splits are read, checked, and made as nnU-Net makes them."""

import json
from pathlib import Path

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.splits import (
    check_splits,
    default_folds,
    is_nnunet_split,
    read_splits,
    trained_on,
    write_splits,
)

PATH = Path("splits_final.json")
CASES = [f"case_{number}" for number in range(7)]
# What scikit-learn's KFold(5, shuffle=True, random_state=12345) leaves for testing.
VALIDATED = (
    ["case_3", "case_6"],
    ["case_0", "case_4"],
    ["case_1"],
    ["case_5"],
    ["case_2"],
)
SPLITS = [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a", "c"], "val": ["b"]}]


def test_splits_are_read_and_an_absent_file_is_none(tmp_path):
    path = tmp_path / "splits_final.json"
    assert read_splits(path) is None
    path.write_text(json.dumps(SPLITS))
    assert read_splits(path) == SPLITS


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "[1]", '[{"train": ["a"]}]', '[{"train": [1], "val": ["b"]}]']
)
def test_what_is_no_splits_is_one_error_with_the_remedy(tmp_path, content):
    path = tmp_path / "splits_final.json"
    path.write_text(content)
    with pytest.raises(CommandError, match=r"splits_final.json .*put the file back, or, if no "):
        read_splits(path)


def test_the_default_folds_are_those_of_the_splits_and_without_any_nnunets_five():
    assert default_folds(SPLITS) == ("0", "1")
    assert default_folds(None) == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize(
    ("fold", "cases"),
    [("0", {"b", "c"}), (1, {"a", "c"}), ("2", set()), ("all", set()), (-1, set())],
)
def test_a_fold_is_trained_on_what_the_splits_say(fold, cases):
    assert trained_on(SPLITS, fold) == cases


def test_without_splits_nothing_is_known_of_a_fold():
    assert trained_on(None, 0) == frozenset()


def nnunets() -> list[dict]:
    return [
        {"train": [case for case in CASES if case not in val], "val": list(val)}
        for val in VALIDATED
    ]


@pytest.mark.parametrize("part", ["train", "val"])
def test_an_empty_list_is_refused(part):
    splits = [{"train": ["a"], "val": ["b"]}, {"train": ["a"], "val": ["b"], part: []}]
    check_splits(splits, PATH, ["a", "b"], "0")
    with pytest.raises(CommandError, match=rf"splits_final.json, fold 1: {part} is empty"):
        check_splits(splits, PATH, ["a", "b"], "1")


def test_a_case_in_both_lists_is_refused():
    splits = [{"train": ["a", "b"], "val": ["b", "c"]}]
    with pytest.raises(CommandError, match=r"1 of its cases are both in .* such as b"):
        check_splits(splits, PATH, None, "0")


def test_a_case_that_is_not_there_is_refused_where_the_cases_are_known():
    splits = [{"train": ["a"], "val": ["b"]}]
    check_splits(splits, PATH, None, "0")
    with pytest.raises(CommandError) as refusal:
        check_splits(splits, PATH, ["a"], "0")
    assert str(refusal.value) == (
        "splits_final.json, fold 0: 1 of its cases are not in the data set, such as b; put the "
        "cases or the file back, or, if no fold has been trained with it, remove it so that "
        "nnU-Net makes its own split again"
    )


def test_fold_all_needs_no_splits():
    check_splits([{"train": [], "val": []}], PATH, None, "all")


def test_nnunets_own_split_is_recognised_whatever_the_order_of_cases():
    splits = nnunets()
    splits[0]["train"].reverse()
    assert is_nnunet_split(splits)


def test_other_splits_are_not_nnunets():
    exchanged = nnunets()
    exchanged[0], exchanged[1] = exchanged[1], exchanged[0]
    assert not is_nnunet_split(exchanged)
    assert not is_nnunet_split(nnunets()[:4])
    assert not is_nnunet_split([{"train": ["a"], "val": ["b"]}] * 5)
    smaller = nnunets()
    smaller[2]["train"].pop()
    assert not is_nnunet_split(smaller)


def test_the_split_that_is_written_is_nnunets(tmp_path):
    path = tmp_path / "Dataset007_Seven" / "splits_final.json"
    path.parent.mkdir()
    write_splits(path, list(reversed(CASES)))
    assert json.loads(path.read_text()) == nnunets()


def test_fewer_cases_than_folds_are_named_with_the_remedy(tmp_path):
    path = tmp_path / "Dataset007_Seven" / "splits_final.json"
    with pytest.raises(CommandError, match=r"^Dataset007_Seven has only 4 cases, .*-f all"):
        write_splits(path, CASES[:4])
