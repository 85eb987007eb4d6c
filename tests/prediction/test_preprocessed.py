"""What nnU-Net cannot preprocess is named by its file."""

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.preprocessed import named_by_case


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


def test_all_cases_come_and_nnunets_end_is_waited_for():
    ended = []

    def preprocess():
        yield from ({"data": 1}, {"data": 2})
        ended.append(True)

    assert list(named_by_case(preprocess(), [["a.png"], ["b.png"]])) == [{"data": 1}, {"data": 2}]
    assert ended
