"""Results of cases survive interruptions; what is damaged is computed again."""

import json
import logging
import math
import os

import pytest

from nnunet_attention.evaluation.metrics.cache import ResultCache, file_identity

ONE, TWO = ["case_1", [10, 20], {"1": 2.0}], ["case_2", [10, 20], {"1": 2.0}]


@pytest.fixture
def path(tmp_path):
    cache = ResultCache(tmp_path / "summary.json.cache")
    cache.put(ONE, {"1": {"Dice": 0.5}})
    cache.put(TWO, {"1": {"Dice": math.nan}})
    return cache.path


def test_results_are_found_by_what_they_were_computed_from(path):
    cache = ResultCache(path)
    assert cache.get(ONE) == {"1": {"Dice": 0.5}}
    assert math.isnan(cache.get(TWO)["1"]["Dice"])
    assert cache.get(["case_1", [10, 21], {"1": 2.0}]) is None
    assert cache.get(["case_1", [10, 20], {"1": 2.5}]) is None


def test_a_half_written_line_costs_its_own_case_only(path):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1][:30]]))
    cache = ResultCache(path)
    assert cache.get(ONE) is not None
    assert cache.get(TWO) is None
    cache.put(TWO, {"1": {"Dice": 1.0}})
    assert ResultCache(path).get(TWO) == {"1": {"Dice": 1.0}}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("0.5", "0.6"),
        lambda text: text.replace('"check"', '"other"'),
        lambda text: "[]\n3\nnull\n" + text.replace("{", "[", 1),
    ],
)
def test_changed_entries_are_not_believed(path, damage):
    path.write_text(damage(path.read_text()))
    assert ResultCache(path).get(ONE) is None


def test_binary_garbage_is_no_cache(path):
    path.write_bytes(os.urandom(300))
    assert ResultCache(path).get(ONE) is None


def test_a_place_that_cannot_be_written_only_costs_the_resuming(tmp_path, caplog):
    cache = ResultCache(tmp_path / "absent" / "summary.json.cache")
    with caplog.at_level(logging.WARNING):
        cache.put(ONE, {"1": {}})
        cache.put(TWO, {"1": {}})
    assert cache.get(ONE) == {"1": {}}
    assert len(caplog.records) == 1
    assert "cannot be written" in caplog.text


def test_entries_are_json_lines(path):
    for line in filter(None, path.read_text().splitlines()):
        assert set(json.loads(line)) == {"key", "result", "check"}


def test_a_changed_file_is_another(tmp_path):
    path = tmp_path / "a.nii.gz"
    assert file_identity(path) is None
    path.write_bytes(b"12")
    before = file_identity(path)
    path.write_bytes(b"123")
    assert file_identity(path)[1] == 3
    os.utime(path, ns=(0, before[2] + 1))
    assert file_identity(path)[2] == before[2] + 1


def test_a_file_of_another_folder_is_another(tmp_path, monkeypatch):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "case.nii").write_bytes(b"12")
        os.utime(tmp_path / folder / "case.nii", ns=(0, 5))
    one, other = (file_identity(tmp_path / folder / "case.nii") for folder in ("a", "b"))
    assert one[1:] == other[1:] == [2, 5]
    assert one != other
    # However it is named.
    monkeypatch.chdir(tmp_path / "b")
    assert file_identity(tmp_path / "b" / ".." / "a" / "case.nii") == one
    assert file_identity(type(tmp_path)("case.nii")) == other
