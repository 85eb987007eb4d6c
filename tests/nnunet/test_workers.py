import os

import pytest

from nnunet_attention.nnunet.workers import (
    WORKERS_VARIABLE,
    asks_for_no_workers,
    planning_environment,
    planning_in_this_process,
)


@pytest.mark.parametrize(("value", "answer"), [("0", True), (" 0 ", True), ("1", False)])
def test_zero_asks_for_no_workers(value, answer):
    assert asks_for_no_workers({WORKERS_VARIABLE: value}) is answer
    assert not asks_for_no_workers({})


def test_commands_that_plan_get_all_but_a_zero():
    assert planning_environment({WORKERS_VARIABLE: "0", "A": "b"}) == {"A": "b"}
    assert planning_environment({WORKERS_VARIABLE: "3"}) == {WORKERS_VARIABLE: "3"}


def test_the_variable_comes_back_whatever_happens(monkeypatch):
    monkeypatch.setenv(WORKERS_VARIABLE, "0")

    def plan():
        with planning_in_this_process():
            assert WORKERS_VARIABLE not in os.environ
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        plan()
    assert os.environ[WORKERS_VARIABLE] == "0"
