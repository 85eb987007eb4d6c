import json
from pathlib import Path

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.known_splits import Splits, find_splits

FOLDS = [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a", "c"], "val": ["b"]}]
SPLITS = Splits(Path("splits_final.json"), FOLDS)
SUMMARY = Path("model/fold_0/validation/summary.json")


def test_a_summary_with_training_cases_is_refused():
    SPLITS.refuse_training_cases(SUMMARY, 0, ["a"])
    with pytest.raises(CommandError, match=r"^model.* holds 1 case\(s\) that fold 0 .* such as b"):
        SPLITS.refuse_training_cases(SUMMARY, 0, ["a", "b"])


def test_fold_all_may_be_tested_on_every_case():
    SPLITS.refuse_training_cases(SUMMARY, "all", ["a", "b", "c"])


@pytest.mark.parametrize(
    ("fold", "cases", "answer"),
    [
        (0, {"a"}, True),
        ("1", {"b"}, True),
        (0, {"a", "b"}, False),
        (2, {"a"}, False),
        ("all", {"a"}, False),
        (-1, {"b"}, False),
    ],
)
def test_a_fold_validates_what_the_splits_say(fold, cases, answer):
    assert SPLITS.validates(fold, cases) is answer


def test_the_first_file_counts(tmp_path):
    (tmp_path / "second").mkdir()
    folders = [tmp_path / "first", tmp_path / "second"]
    assert find_splits(folders) is None
    path = folders[1] / "splits_final.json"
    path.write_text(json.dumps(FOLDS))
    assert find_splits(folders) == Splits(path, FOLDS)
