"""The precision of a training is read from the variable and kept beside a fold's checkpoints."""

import json

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.precision import (
    VARIABLE,
    bfloat16_from,
    precision_file,
    read_bfloat16_since,
    write_bfloat16_since,
)


def test_only_1_asks_for_bfloat16():
    assert [bfloat16_from(text) for text in (None, "", "0", "1")] == [False, False, False, True]


@pytest.mark.parametrize("text", ["yes", "2", "true", " 1"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=f"{VARIABLE}='{text}' must be 1, for bfloat16 on a CPU"):
        bfloat16_from(text)


def test_what_was_written_is_read(tmp_path):
    assert read_bfloat16_since(tmp_path) is None
    write_bfloat16_since(tmp_path, 3)
    assert json.loads((tmp_path / "precision.json").read_text()) == {"cpu_bfloat16_since_epoch": 3}
    assert read_bfloat16_since(tmp_path) == 3
    write_bfloat16_since(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", ["{}", "{", "[]", '{"cpu_bfloat16_since_epoch": true}',
                '{"cpu_bfloat16_since_epoch": -1}', '{"cpu_bfloat16_since_epoch": "0"}']
)  # fmt: skip
def test_a_damaged_record_is_refused_by_name(tmp_path, content):
    precision_file(tmp_path).write_text(content)
    with pytest.raises(CommandError, match=r"precision\.json"):
        read_bfloat16_since(tmp_path)
