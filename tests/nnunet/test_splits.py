"""Reading splits_final.json, and what it tells of a fold."""

import json

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.splits import default_folds, read_splits, trained_on

SPLITS = [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a", "c"], "val": ["b"]}]


def test_splits_are_read_and_an_absent_file_is_none(tmp_path):
    path = tmp_path / "splits_final.json"
    assert read_splits(path) is None
    path.write_text(json.dumps(SPLITS))
    assert read_splits(path) == SPLITS


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "[1]", '[{"train": ["a"]}]', '[{"train": [1], "val": ["b"]}]']
)
def test_what_is_no_splits_is_one_error_with_the_remedy(tmp_path, content):
    path = tmp_path / "splits_final.json"
    path.write_text(content)
    with pytest.raises(CommandError, match=r"splits_final.json .*put the file back, or remove it"):
        read_splits(path)


def test_the_default_folds_are_those_of_the_splits_and_without_any_nnunets_five():
    assert default_folds(SPLITS) == ("0", "1")
    assert default_folds(None) == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize(
    ("fold", "cases"),
    [("0", {"b", "c"}), (1, {"a", "c"}), ("2", set()), ("all", set()), (-1, set())],
)
def test_a_fold_is_trained_on_what_the_splits_say(fold, cases):
    assert trained_on(SPLITS, fold) == cases


def test_without_splits_nothing_is_known_of_a_fold():
    assert trained_on(None, 0) == frozenset()
