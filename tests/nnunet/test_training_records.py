"""Records beside checkpoints are read whole, or refused with the remedy."""

import re

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.training_records import is_whole, read_record, write_record


@pytest.mark.parametrize(
    ("value", "is_one"),
    [(0, True), (7, True), (-1, False), (True, False), (1.0, False), ("1", False), (None, False)],
)
def test_whole_numbers_are_told_from_what_equals_them(value, is_one):
    assert is_whole(value) is is_one


def test_the_lowest_whole_number_may_be_another():
    assert [is_whole(value, 1) for value in (0, 1)] == [False, True]


def test_a_record_is_read_as_it_was_written_and_none_removes_it(tmp_path):
    path = tmp_path / "record.json"
    assert read_record(path, bool, "something", "then nothing is known") is None
    write_record(path, {"epoch": 3})
    assert read_record(path, bool, "something", "then nothing is known") == {"epoch": 3}
    for _ in range(2):
        write_record(path, None)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_record_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "record.json"
    write_record(path, {"epoch": -1})
    message = (
        f"{path} must hold a whole number, but has {{'epoch': -1}}; put the file back, or remove "
        "it (then nothing is known)"
    )
    with pytest.raises(CommandError, match=f"^{re.escape(message)}$"):
        read_record(path, lambda content: False, "a whole number", "then nothing is known")
