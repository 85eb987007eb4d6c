import pytest

from nnunet_attention.cli.shared_arguments import (
    check_folds,
    default_processes,
    parse_tolerances,
    refuse_ignored,
    trained_models,
)
from nnunet_attention.errors import CommandError


def test_options_that_would_change_nothing_are_named():
    refuse_ignored({"-a": None, "-b": False, "-c": []}, "here")
    with pytest.raises(CommandError, match=r"^-a, -b would be ignored here$"):
        refuse_ignored({"-a": 0, "-b": True, "-c": None}, "here")


@pytest.mark.parametrize(
    ("trainers", "plans", "models"),
    [
        (["A"], None, [("A", "nnUNetPlans")]),
        (["A", "B"], ["P", "Q"], [("A", "P"), ("A", "Q"), ("B", "P"), ("B", "Q")]),
        (["A__P"], None, [("A", "P")]),
        (["A__P", "B"], ["Q"], [("A", "P"), ("B", "Q")]),
        ([], None, []),
    ],
)
def test_a_trainer_has_its_own_plans_or_each_of_those_given(trainers, plans, models):
    assert trained_models(trainers, plans) == tuple(models)


@pytest.mark.parametrize("trainers", [["A__P"], []])
def test_plans_that_no_trainer_would_use_are_refused(trainers):
    with pytest.raises(CommandError, match=r"^-p would be ignored as every trainer names its own"):
        trained_models(trainers, ["Q"])


@pytest.mark.parametrize("folds", [None, ("all",), ("0", "4")])
def test_folds_are_numbers_or_all(folds):
    check_folds(folds)


@pytest.mark.parametrize("folds", [("all", "0"), ("-1",), ("0.5",)])
def test_other_folds_are_named(folds):
    with pytest.raises(CommandError, match="give fold numbers, or all by itself"):
        check_folds(folds)


@pytest.mark.parametrize(("text", "processes"), [("3", 3), ("0", 8), ("many", 8), (None, 8)])
def test_processes_are_nnunets(monkeypatch, text, processes):
    monkeypatch.delenv("nnUNet_def_n_proc", raising=False)
    if text is not None:
        monkeypatch.setenv("nnUNet_def_n_proc", text)
    assert default_processes() == processes


def test_tolerances_are_for_all_labels_or_for_one():
    assert parse_tolerances(["1.5", "liver=3", "a=b=0"], 2.0) == (1.5, {"liver": 3.0, "a=b": 0.0})
    assert parse_tolerances([], 2.0) == (2.0, {})


@pytest.mark.parametrize("text", ["-1", "liver=", "=2", "inf", "nan", "liver"])
def test_other_tolerances_are_named(text):
    with pytest.raises(CommandError, match=f"^--tolerance {text}: give MM or LABEL=MM"):
        parse_tolerances([text], 2.0)
