import pytest

from nnunet_attention.demo.division import divide, names_of_folds
from nnunet_attention.errors import CommandError

NAMES = tuple(f"case_{number:03d}" for number in range(100))


@pytest.mark.parametrize(
    ("cases", "held_out"), [(6, 1), (8, 2), (10, 2), (20, 4), (23, 5), (50, 10), (100, 10)]
)
def test_a_fifth_is_held_out_within_bounds(cases, held_out):
    first = divide(NAMES, cases, ("0",), seed=0)[0]
    assert len(first["val"]) == held_out
    assert len(first["train"]) == cases - held_out
    assert not set(first["val"]) & set(first["train"])


@pytest.mark.parametrize("cases", [5, 6, 7, 8, 9, 13, 20, 99])
def test_no_case_is_held_out_by_two_folds_and_each_fold_trains_on_all_others(cases):
    folds = divide(NAMES, cases, ("0", "4"), seed=0)
    assert len(folds) == 5
    drawn = set(folds[0]["train"]) | set(folds[0]["val"])
    assert len(drawn) == cases
    held_out = [case for fold in folds for case in fold["val"]]
    assert len(held_out) == len(set(held_out))
    for fold in folds:
        assert 1 <= len(fold["val"]) <= 10
        assert set(fold["train"]) == drawn - set(fold["val"])


def test_of_few_cases_each_is_tested_once():
    folds = divide(NAMES, 23, ("0",), seed=3)
    drawn = sorted(folds[0]["train"] + folds[0]["val"])
    assert sorted(case for fold in folds for case in fold["val"]) == drawn


def test_the_draw_depends_on_the_seed_and_not_on_the_order():
    assert divide(NAMES, 10, ("0",), 1) == divide(NAMES[::-1], 10, ("0",), 1)
    assert divide(NAMES, 10, ("0",), 1) != divide(NAMES, 10, ("0",), 2)


def test_by_default_twenty_or_all_are_used():
    assert len(divide(NAMES, None, ("0",), 0)[0]["train"]) == 16
    assert len(divide(NAMES[:10], None, ("0",), 0)[0]["train"]) == 8


def test_more_cases_than_there_are_is_refused():
    with pytest.raises(CommandError, match="--cases 101: the data set has only 100"):
        divide(NAMES, 101, ("0",), 0)


def test_five_folds_need_five_cases():
    with pytest.raises(CommandError, match=r"at least 5 cases or --folds all"):
        divide(NAMES, 4, ("0", "1"), 0)
    assert len(divide(NAMES, 5, ("0", "1"), 0)) == 5


def test_all_is_a_single_fold_of_as_few_as_two_cases():
    (fold,) = divide(NAMES, 2, ("all",), 0)
    assert (len(fold["train"]), len(fold["val"])) == (1, 1)
    assert names_of_folds(("all",)) == ("0",)
    assert names_of_folds(("0", "3")) == ("0", "3")


def test_all_holds_out_what_fold_0_does():
    assert divide(NAMES, 20, ("all",), 5) == divide(NAMES, 20, ("0",), 5)[:1]


def test_a_single_case_is_refused_even_for_fold_all():
    with pytest.raises(CommandError, match="at least 2 cases"):
        divide(NAMES, 1, ("all",), 0)
