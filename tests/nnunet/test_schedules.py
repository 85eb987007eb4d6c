"""Schedules of short trainings are kept beside a fold's checkpoints."""

import json

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.schedules import (
    Schedule,
    read_schedule,
    schedule_file,
    write_schedule,
)


def test_what_was_written_is_read(tmp_path):
    assert read_schedule(tmp_path) is None
    write_schedule(tmp_path, Schedule(3, 7, 2))
    assert json.loads((tmp_path / "schedule.json").read_text()) == {
        "epochs": 3,
        "iterations": 7,
        "validation_iterations": 2,
    }
    assert read_schedule(tmp_path) == (3, 7, 2)
    assert str(Schedule(3, 7, 2)) == "3,7,2"


@pytest.mark.parametrize(
    "content",
    [
        *("{}", "{", '{"epochs": 3, "iterations": 7}'),
        '{"epochs": 0, "iterations": 7, "validation_iterations": 2}',
        '{"epochs": true, "iterations": 7, "validation_iterations": 2}',
    ],
)
def test_a_damaged_record_is_refused_by_name(tmp_path, content):
    schedule_file(tmp_path).write_text(content)
    with pytest.raises(CommandError, match=r"schedule\.json"):
        read_schedule(tmp_path)
