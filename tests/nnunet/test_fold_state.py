"""How far a fold is, from files written by hand."""

import json
import zipfile

import pytest

from nnunet_attention.nnunet.fold_state import (
    FoldRun,
    FoldState,
    fold_state,
    is_validated,
    predictions_of,
    validation_cases,
)
from nnunet_attention.nnunet.folders import Folders

RUN = FoldRun("Dataset007_Seven", "3d_lowres", "Trainer", "nnUNetPlans", "0", ("-device", "cpu"))
CASES = ("a", "b")


@pytest.fixture
def folders(tmp_path):
    found = Folders(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")
    (RUN.folder(found) / "validation").mkdir(parents=True)
    return found


def write_checkpoint(folders, name):
    with zipfile.ZipFile(RUN.folder(folders) / name, "w") as archive:
        archive.writestr("archive/data.pkl", b"")


def validate(folders, cases=CASES, run=RUN):
    folder = run.folder(folders) / "validation"
    entries = [
        {
            "reference_file": f"/labels/{case}.nii.gz",
            "prediction_file": f"/elsewhere/{case}.nii.gz",
            "metrics": {"1": {"Dice": 1.0}},
        }
        for case in cases
    ]
    (folder / "summary.json").write_text(json.dumps({"metric_per_case": entries}))
    for case in cases:
        (folder / f"{case}.nii.gz").write_bytes(b"labels")


def state(folders, **options):
    return fold_state(RUN, folders, CASES, ".nii.gz", **options)


def test_a_fold_goes_from_absent_to_finished(folders):
    assert state(folders) is FoldState.ABSENT
    write_checkpoint(folders, "checkpoint_latest.pth")
    assert state(folders) is FoldState.INTERRUPTED
    write_checkpoint(folders, "checkpoint_final.pth")
    assert state(folders) is FoldState.TRAINED
    validate(folders)
    assert state(folders) is FoldState.FINISHED


def test_a_damaged_checkpoint_does_not_count(folders):
    (RUN.folder(folders) / "checkpoint_final.pth").write_bytes(b"half")
    assert state(folders) is FoldState.ABSENT


def test_a_validation_lacks_nothing_and_holds_no_training_case(folders):
    validate(folders, ["a"])
    assert not is_validated(RUN, folders, CASES, ".nii.gz")
    validate(folders, ["a", "b", "c"])
    assert is_validated(RUN, folders, CASES, ".nii.gz")
    assert not is_validated(RUN, folders, CASES, ".nii.gz", trained_on=["c"])
    (RUN.folder(folders) / "validation" / "b.nii.gz").write_bytes(b"")
    assert not is_validated(RUN, folders, CASES, ".nii.gz")


def test_probabilities_and_the_cascades_input_are_part_of_a_validation(folders):
    validate(folders)
    validation = RUN.folder(folders) / "validation"
    with_npz = FoldRun(**{**vars(RUN), "npz": True})
    assert not is_validated(with_npz, folders, CASES, ".nii.gz")
    for case in CASES:
        (validation / f"{case}.npz").write_bytes(b"probabilities")
    assert is_validated(with_npz, folders, CASES, ".nii.gz")
    first_stage = FoldRun(**{**vars(RUN), "next_stages": ("3d_cascade_fullres",)})
    assert not is_validated(first_stage, folders, CASES, ".nii.gz")
    predicted = validation.parents[1] / "predicted_next_stage" / "3d_cascade_fullres"
    predicted.mkdir(parents=True)
    for case in CASES:
        (predicted / f"{case}.b2nd").touch()
    assert is_validated(first_stage, folders, CASES, ".nii.gz")


@pytest.mark.parametrize("ending", [".b2nd", ".npz"])
def test_a_cascades_input_is_of_whole_names_of_cases(folders, ending):
    cases = ("1.2.840.1001", "1.2.840.1002")
    first_stage = FoldRun(**{**vars(RUN), "next_stages": ("3d_cascade_fullres",)})
    validate(folders, cases)
    predicted = RUN.folder(folders).parent / "predicted_next_stage" / "3d_cascade_fullres"
    predicted.mkdir(parents=True)
    (predicted / f"{cases[0]}{ending}").touch()
    (predicted / "1.2.840.1002.old").touch()
    assert not is_validated(first_stage, folders, cases, ".nii.gz")
    (predicted / f"{cases[1]}{ending}").touch()
    assert is_validated(first_stage, folders, cases, ".nii.gz")


def test_predictions_are_those_that_are_there_sorted(folders):
    validate(folders, ["b", "a"])
    names = [path.name for path in predictions_of(RUN, folders, ["c", "b", "a"], ".nii.gz")]
    assert names == ["a.nii.gz", "b.nii.gz"]


@pytest.mark.parametrize(
    ("current", "end"),
    [
        (FoldState.ABSENT, ["-pretrained_weights", "w.pth"]),
        (FoldState.INTERRUPTED, ["--c"]),
        (FoldState.TRAINED, ["--val"]),
    ],
)
def test_the_command_is_for_what_is_left(current, end):
    run = FoldRun(**{**vars(RUN), "first_options": ("-pretrained_weights", "w.pth")})
    start = "nnUNetv2_train Dataset007_Seven 3d_lowres 0 -tr Trainer -p nnUNetPlans -device cpu"
    assert list(run.command(current)) == [*start.split(), *end]


def test_a_fold_validates_what_the_splits_say_and_all_validates_all():
    splits = [{"train": ["b"], "val": ["a"]}]
    assert validation_cases(splits, "0", None) == ("a",)
    assert validation_cases(splits, "1", None) is None
    assert validation_cases(None, "0", ["a"]) is None
    assert validation_cases(splits, "all", ["b", "a"]) == ("a", "b")
    assert validation_cases(splits, "all", None) is None
