"""What nnU-Net cannot preprocess is named by its file."""

import threading

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.preprocessed import named_by_case, one_ahead


def died(error):
    yield {"data": 1}
    raise error


def test_a_process_that_died_while_preprocessing_is_no_matter_of_memory():
    error = RuntimeError("Background workers died. [...] your RAM was full")
    cases = named_by_case(died(error), [["a_0000.png"], ["b_0000.png"]], "its reason is above")
    assert next(cases) == {"data": 1}
    with pytest.raises(CommandError, match=r"^b_0000.png: cannot be .*: its reason is above$"):
        next(cases)


def test_without_a_remedy_the_errors_last_line_is_told():
    cases = named_by_case(died(ValueError("at first\nonly 3d images")), [["a.png"], ["b.png"]])
    next(cases)
    with pytest.raises(CommandError, match=r"^b.png: cannot be .*: only 3d images$"):
        next(cases)


@pytest.mark.parametrize("kind", [IndexError, KeyError, MemoryError, TypeError])
def test_no_kind_of_error_is_a_traceback(kind):
    cases = named_by_case(died(kind("of 9 GB")), [["a.png"], ["b.png"]])
    next(cases)
    with pytest.raises(CommandError, match=r"^b.png: cannot be read or preprocessed: .*of 9 GB"):
        next(cases)


def test_all_cases_come_and_nnunets_end_is_waited_for():
    ended = []

    def preprocess():
        yield from ({"data": 1}, {"data": 2})
        ended.append(True)

    assert list(named_by_case(preprocess(), [["a.png"], ["b.png"]])) == [{"data": 1}, {"data": 2}]
    assert ended


def test_one_case_ahead_is_prepared_by_another_thread():
    prepared = []

    def prepare():
        for number in range(3):
            prepared.append((number, threading.get_ident()))
            yield {"data": number}

    cases = one_ahead(prepare())
    assert next(cases) == {"data": 0}
    assert [case["data"] for case in cases] == [1, 2]
    assert [number for number, _ in prepared] == [0, 1, 2]
    assert threading.get_ident() not in {thread for _, thread in prepared}


def test_the_error_of_a_case_comes_when_it_is_its_turn():
    cases = one_ahead(died(CommandError("b cannot be read")))
    assert next(cases) == {"data": 1}
    with pytest.raises(CommandError, match="b cannot be read"):
        next(cases)
