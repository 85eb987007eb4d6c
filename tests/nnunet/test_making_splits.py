"""Splits that a training is refused with, and which are nnU-Net's own."""

from pathlib import Path

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.making_splits import check_splits, is_nnunet_split

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
    with pytest.raises(CommandError, match=r"1 of its cases are not in the data set, such as b"):
        check_splits(splits, PATH, ["a"], "0")


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
