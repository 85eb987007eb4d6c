"""Files are written whole or not at all."""

import json
from contextlib import suppress

import pytest

from nnunet_attention.files import write_json, write_text, written_beside


def test_json_is_sorted_and_ends_with_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": 2})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    write_text(tmp_path / "a.txt", "old")

    with suppress(RuntimeError), written_beside(tmp_path / "a.txt") as beside:
        beside.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "numbers.json"
    write_json(path, {"b": 1, "a": 2})
    assert list(json.loads(path.read_text())) == ["a", "b"]
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 2, "b": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["numbers.json"]
