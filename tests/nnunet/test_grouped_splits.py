"""Folds that keep groups together, as nnU-Net would make them of the groups."""

import pytest
from nnunetv2.utilities.crossval_split import generate_crossval_split

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.grouped_splits import grouped_splits, torn_groups

# Two images of each of seven patients, and one more of the last.
GROUPS = {f"patient{n}_frame{frame:02}": f"p{n}" for n in range(7) for frame in (1, 12)}
GROUPS["patient6_frame20"] = "p6"


def test_no_group_is_torn_and_every_case_is_validated_once():
    splits = grouped_splits(GROUPS)
    assert len(splits) == 5
    assert torn_groups(splits, GROUPS) == []
    assert sorted(case for split in splits for case in split["val"]) == sorted(GROUPS)
    for split in splits:
        assert sorted(split["train"] + split["val"]) == sorted(GROUPS)
        assert split["val"] == sorted(split["val"])
        assert split["train"] == sorted(split["train"])


def test_folds_have_equally_many_groups():
    counts = [len({GROUPS[case] for case in split["val"]}) for split in grouped_splits(GROUPS)]
    assert sorted(counts) == [1, 1, 1, 2, 2]


def test_cases_that_are_their_own_groups_are_split_as_by_nnunet():
    cases = [f"case_{n:02}" for n in range(13)]
    # The groups' names sort the other way round.
    groups = {case: f"g{99 - n}" for n, case in enumerate(cases)}
    assert grouped_splits(groups) == generate_crossval_split(cases, seed=12345, n_splits=5)


def test_neither_the_order_of_cases_nor_the_names_of_groups_matter():
    renamed = {case: GROUPS[case][::-1] for case in reversed(GROUPS)}
    assert grouped_splits(renamed) == grouped_splits(GROUPS)


def test_the_splits_are_plain_strings_for_json():
    assert {type(case) for split in grouped_splits(GROUPS) for case in split["val"]} == {str}


def test_nnunets_own_split_tears_patients_apart():
    splits = generate_crossval_split(sorted(GROUPS), seed=12345, n_splits=5)
    by_hand = {
        group
        for split in splits
        for group in set(GROUPS.values())
        if {group} <= {GROUPS[case] for case in split["val"]} & {GROUPS[c] for c in split["train"]}
    }
    assert torn_groups(splits, GROUPS) == sorted(by_hand)
    assert len(by_hand) > 3


def test_fewer_groups_than_folds_are_an_error():
    few = {case: group for case, group in GROUPS.items() if group < "p4"}
    with pytest.raises(CommandError, match=r"8 cases are in only 4 groups, but 5 folds"):
        grouped_splits(few)
    assert len(grouped_splits(few, folds=4)) == 4


def test_a_case_without_a_group_is_an_error():
    splits = [{"train": ["patient0_frame01"], "val": ["other_1"]}]
    with pytest.raises(CommandError, match="other_1"):
        torn_groups(splits, GROUPS)
