"""The supervision of gates is read from a variable, and recorded beside the checkpoints."""

import json

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.supervision import (
    VARIABLE,
    Supervision,
    SupervisionRecord,
    check_same_supervision,
    read_supervision,
    supervision_file,
    supervision_from,
    write_supervision,
)


@pytest.mark.parametrize(
    ("text", "read"),
    [("2", (2.0, 1)), ("0.5,1", (0.5, 1)), ("0,0", (0.0, 0)), ("1e-1,3", (0.1, 3))],
)
def test_weight_and_border_are_read(text, read):
    assert supervision_from(text) == Supervision(*read)


@pytest.mark.parametrize("text", [None, ""])
def test_no_text_asks_for_nothing(text):
    assert supervision_from(text) is None
    assert str(Supervision()) == "0.5,1"


@pytest.mark.parametrize("text", ["high", "-1", "nan", "inf", "1,", "1,2.5", "1,2,3", "1,-1"])
def test_a_malformed_weight_is_refused(text):
    with pytest.raises(CommandError, match=f"{VARIABLE}='{text}' must be WEIGHT"):
        supervision_from(text)


def test_the_record_stands_beside_the_checkpoints(tmp_path):
    assert read_supervision(tmp_path) is None
    record = SupervisionRecord(Supervision(2.0, 3), 4)
    write_supervision(tmp_path, record)
    found = json.loads((tmp_path / "supervision.json").read_text())
    assert found == {"weight": 2.0, "border": 3, "first_epoch": 4}
    assert read_supervision(tmp_path) == record


@pytest.mark.parametrize(
    "damage",
    [{"weight": None}, {"weight": -1}, {"weight": True}, {"border": 1.5}, {"first_epoch": -1},
     {"border": 99}, {"first_epoch": None}],
)  # fmt: skip
def test_a_damaged_record_is_told_of(tmp_path, damage):
    content = {"weight": 0.5, "border": 1, "first_epoch": 0, **damage}
    supervision_file(tmp_path).write_text(json.dumps(content))
    with pytest.raises(CommandError, match=r"supervision\.json must hold a weight"):
        read_supervision(tmp_path)


def test_a_record_that_is_no_object_is_told_of_as_well(tmp_path):
    supervision_file(tmp_path).write_text("[0.5, 1, 0]")
    with pytest.raises(CommandError, match=r"supervision\.json"):
        read_supervision(tmp_path)


@pytest.mark.parametrize("text", ["0.12345678,2", "2,1", "0.1,0", "1e-05,3"])
def test_a_supervision_is_told_in_the_words_that_ask_for_it(tmp_path, text):
    asked_for = supervision_from(text)
    assert str(asked_for) == text
    write_supervision(tmp_path, SupervisionRecord(asked_for))
    check_same_supervision(tmp_path, read_supervision(tmp_path), supervision_from(str(asked_for)))


def test_another_supervision_is_refused_with_what_to_do(tmp_path):
    record = SupervisionRecord(Supervision(0.25, 2))
    for harmless in ((None, Supervision()), (record, None), (record, Supervision(0.25, 2))):
        check_same_supervision(tmp_path, *harmless)
    with pytest.raises(CommandError, match=r"give 0\.25,2 or none to go on, or move the folder"):
        check_same_supervision(tmp_path, record, Supervision())
