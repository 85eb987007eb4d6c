"""Cases that a fold was trained on are named, where the splits tell."""

import json

import pytest

from nnunet_attention.maps.ablation.training_cases import training_cases_note

NAME = "Dataset900_Minimal"
SPLITS = [{"train": ["b", "c"], "val": ["a"]}, {"train": ["a", "c"], "val": ["b"]}]


@pytest.fixture
def splits(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    path = tmp_path / NAME / "splits_final.json"
    path.parent.mkdir()
    path.write_text(json.dumps(SPLITS))
    return path


@pytest.mark.parametrize(
    ("folds", "cases", "wanted"),
    [
        (["0"], ["a", "new"], None),
        (
            ["0"],
            ["a", "b", "new"],
            "1 of 3 cases were used in training, such as b by fold 0 (train",
        ),
        (["0", "1"], ["a", "b"], "2 of 2 cases were used in training, such as a by fold 1 (train"),
        (["all"], ["a", "new"], "1 of 2 cases were used in training, such as a by fold all"),
        # nnU-Net divides the cases of such a fold itself.
        (["2"], ["a"], None),
    ],
)
def test_cases_that_a_fold_was_trained_on_are_named(splits, folds, cases, wanted):
    note = training_cases_note(NAME, folds, cases)
    assert note is None if wanted is None else note.startswith(wanted)


def test_without_splits_nothing_is_said(splits, monkeypatch):
    splits.write_text("{")
    assert training_cases_note(NAME, ["0"], ["b"]) is None
    splits.unlink()
    assert training_cases_note(NAME, ["0"], ["b"]) is None
    monkeypatch.delenv("nnUNet_preprocessed")
    assert training_cases_note(NAME, ["0"], ["b"]) is None
