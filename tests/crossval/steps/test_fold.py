"""What is special about a fold; how one is watched and stopped is tested with the jobs."""

import gzip
import json
import os
import pickle

import pytest
from fake_nnunet import DATASET, FakeNnunet

from nnunet_attention.crossval import FoldRun, FoldState, FoldStep, state_of
from nnunet_attention.crossval.steps.fold import kept_predictions, predictions_of_training_cases

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")

RUN = FoldRun(DATASET, "3d_fullres", "TrainerA", "nnUNetPlans", "0", ("-device", "cpu"))


@pytest.fixture
def nnunet(tmp_path):
    fake = FakeNnunet(tmp_path)
    fake.prepare()
    RUN.folder(fake.folders).mkdir(parents=True)
    return fake


def step_of(nnunet, state=FoldState.ABSENT, **changes) -> FoldStep:
    return FoldStep(nnunet.folders, DATASET, (), RUN, state, **changes)


def write_checkpoint(path) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("checkpoint/data.pkl", "{}")


def test_a_fold_writes_in_the_results_alone(nnunet):
    assert step_of(nnunet).written_folders == (nnunet.folders.results / DATASET,)


def test_a_fold_that_unpacks_data_writes_beside_them_too(nnunet):
    data = nnunet.folders.data(DATASET, "nnUNetPlans_3d_fullres")
    results, dataset = nnunet.folders.results / DATASET, nnunet.folders.dataset(DATASET)
    (data / "case_00.npz").write_bytes(b"packed")
    assert step_of(nnunet).written_folders == (results, dataset)
    # A validation reads packed data as they are.
    assert step_of(nnunet, FoldState.TRAINED).written_folders == (results,)
    (data / "case_00.npy").write_bytes(b"image")
    assert step_of(nnunet).written_folders == (results, dataset)
    (data / "case_00_seg.npy").write_bytes(b"labels")
    assert step_of(nnunet).written_folders == (results,)


def trained(nnunet):
    """The fold's folder with a final checkpoint, and the cases it validates."""
    fold = RUN.folder(nnunet.folders)
    write_checkpoint(fold / "checkpoint_final.pth")
    (fold / "validation").mkdir()
    split = json.loads(nnunet.folders.splits(DATASET).read_text())[0]
    return fold, split


def test_place_mark_lock_and_name_are_those_of_older_versions(nnunet):
    step = step_of(nnunet)
    model = nnunet.folders.results / DATASET / "TrainerA__nnUNetPlans__3d_fullres"
    assert step.place() == model / "fold_0"
    assert step.mark == str(model / "fold_0")
    assert step.name == f"{DATASET} TrainerA__nnUNetPlans__3d_fullres fold 0"
    assert step.kind == "fold"
    with step.lock().held():
        assert (model / ".fold_0.lock").is_file()


@pytest.mark.parametrize(
    ("state", "manner", "option"),
    [
        (FoldState.ABSENT, "new", "cpu"),
        (FoldState.INTERRUPTED, "continues", "--c"),
        (FoldState.TRAINED, "validation only", "--val"),
    ],
)
def test_a_fold_begins_as_its_state_says(nnunet, state, manner, option):
    step = step_of(nnunet, state)
    assert step.manner == manner
    assert step.command[-1] == option
    assert step.state_before == step.remark == state.value


def test_a_fold_is_looked_at_again_before_it_begins(nnunet):
    fold, _ = trained(nnunet)
    notes = []
    assert step_of(nnunet).cleared(notes.append) == step_of(nnunet, FoldState.TRAINED)
    (fold / "checkpoint_final.pth").write_bytes(b"half")
    assert step_of(nnunet, FoldState.TRAINED).cleared(notes.append) == step_of(nnunet)
    (note,) = notes
    assert "checkpoint_final.pth is damaged" in note


def test_a_fold_that_is_finished_has_nothing_left(nnunet):
    fold, split = trained(nnunet)
    entries = []
    for case in split["val"]:
        path = fold / "validation" / f"{case}.nii.gz"
        path.write_bytes(b"x")
        files = {"reference_file": str(path), "prediction_file": str(path)}
        entries.append({**files, "metrics": {"1": {"Dice": 1.0}}})
    step = step_of(nnunet)
    assert not step.is_done()
    (fold / "validation" / "summary.json").write_text(json.dumps({"metric_per_case": entries}))
    assert step.is_done()
    assert state_of(RUN, nnunet.folders) is FoldState.FINISHED
    assert step.cleared(lambda note: None) is None


def test_a_checkpoint_that_is_half_written_must_not_be_interrupted(nnunet):
    step = step_of(nnunet)
    assert step.is_safe_to_stop()
    latest = step.place() / "checkpoint_latest.pth"
    latest.write_bytes(b"half")
    assert not step.is_safe_to_stop()
    write_checkpoint(latest)
    assert step.is_safe_to_stop()


def test_predictions_of_cases_that_were_trained_on_are_strays(nnunet):
    fold, split = trained(nnunet)
    for case in (split["val"][0], split["train"][2], split["train"][1]):
        (fold / "validation" / f"{case}.nii.gz").write_bytes(b"x")
    strays = predictions_of_training_cases(RUN, nnunet.folders)
    assert [path.name for path in strays] == [
        f"{split['train'][1]}.nii.gz",
        f"{split['train'][2]}.nii.gz",
    ]


def test_a_validation_is_told_which_predictions_are_whole(nnunet):
    fold, split = trained(nnunet)
    whole, half = split["val"]
    content = gzip.compress(b"a prediction")
    (fold / "validation" / f"{whole}.nii.gz").write_bytes(content)
    (fold / "validation" / f"{half}.nii.gz").write_bytes(content[:-1])
    assert kept_predictions(RUN, nnunet.folders) == [whole]
    environment = step_of(nnunet, FoldState.TRAINED, variables=(("A", "1"),)).environment()
    assert environment == {
        "A": "1",
        "NNUNET_ATTENTION_KEPT_CASES": json.dumps([whole]),
        "nnUNet_raw": str(nnunet.folders.raw),
        "nnUNet_preprocessed": str(nnunet.folders.preprocessed),
        "nnUNet_results": str(nnunet.folders.results),
    }
    interrupted = step_of(nnunet, FoldState.INTERRUPTED).environment()
    assert "NNUNET_ATTENTION_KEPT_CASES" not in interrupted


def test_logs_checkpoints_and_predictions_are_movements(nnunet):
    step = step_of(nnunet)
    seen = {step.signature()}
    for name in ("training_log_1.txt", "checkpoint_latest.pth", "validation/case.nii.gz"):
        path = step.place() / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        assert step.signature() not in seen
        seen.add(step.signature())


def test_a_table_names_plans_only_where_they_are_not_the_usual_ones(nnunet):
    assert step_of(nnunet).cells == ("901 Tiny", "TrainerA 3d_fullres", "0")
    other = FoldRun(DATASET, "2d", "TrainerA", "AttentionUNetPlans", "all")
    step = FoldStep(nnunet.folders, DATASET, (), other, FoldState.ABSENT)
    assert step.cells == ("901 Tiny", "TrainerA AttentionUNetPlans 2d", "all")


def test_a_fold_travels_to_other_machines(nnunet):
    step = step_of(nnunet, FoldState.TRAINED, variables=(("A", "1"),))
    assert pickle.loads(pickle.dumps(step)) == step
