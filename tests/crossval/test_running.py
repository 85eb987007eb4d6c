"""Python's way to cross-validate; what the launches do is tested with the jobs."""

import json
import os
from dataclasses import replace

import pytest
from fake_nnunet import DATASET, nnunet, plan

from nnunet_attention.crossval import Folders, SlurmSettings, default_output, missing_steps, run
from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.lock import LockedError

__all__ = ["nnunet"]  # the fixture

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")

ONE_FOLD = plan(folds=("0",), models=(("TrainerA", "nnUNetPlans"),))


def test_a_plan_is_all_it_takes(nnunet, capfd):
    outcome = run(ONE_FOLD)
    assert outcome.ok
    assert outcome.done[-2:] == [
        f"{DATASET} TrainerA__nnUNetPlans__3d_fullres fold 0",
        f"{DATASET} TrainerA__nnUNetPlans__3d_fullres accumulation",
    ]
    assert missing_steps(ONE_FOLD, nnunet.folders) == []
    assert (nnunet.folders.results / "crossval" / DATASET / "manifest.json").is_file()
    # Without a view it is silent.
    assert capfd.readouterr() == ("", "")
    assert run(ONE_FOLD).done == []


def test_folders_and_output_may_be_given(nnunet, monkeypatch, tmp_path):
    nnunet.prepare()
    # What the variables say counts for nothing then.
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / "elsewhere"))
    outcome = run(ONE_FOLD, folders=nnunet.folders, output=tmp_path / "out", at_once=2)
    assert outcome.ok
    (record,) = [
        record
        for record in json.loads((tmp_path / "out" / "manifest.json").read_text())["attempts"]
        if record["kind"] == "fold"
    ]
    assert record["device"] == "cpu"
    assert not (nnunet.folders.results / "crossval").exists()
    assert not (tmp_path / "elsewhere").exists()


def test_a_step_that_fails_is_in_the_outcome(nnunet, monkeypatch):
    nnunet.prepare()
    monkeypatch.setenv("FAKE_FAILURE", "nnUNetv2_train")
    outcome = run(ONE_FOLD)
    assert not outcome.ok
    (message,) = outcome.failed.values()
    assert "made to fail" in message
    assert outcome.left == [f"{DATASET} TrainerA__nnUNetPlans__3d_fullres accumulation"]


@pytest.mark.filterwarnings("ignore")  # nnU-Net's search for a trainer imports all of its own
def test_a_trainer_that_is_not_there_is_refused_before_anything_is_written(nnunet):
    wanted = replace(ONE_FOLD, models=(("AttentionUnetTrainer", "nnUNetPlans"),))
    with pytest.raises(CommandError, match="did you mean AttentionUNetTrainer"):
        run(wanted)
    assert list(nnunet.folders.results.iterdir()) == []


def test_a_folder_that_another_process_is_at_is_refused(nnunet, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    owner = {"host": "elsewhere", "pid": 7, "started": 1.0, "job": None}
    (tmp_path / "out" / ".lock").write_text(json.dumps(owner))
    with pytest.raises(LockedError, match="in use by process 7 on elsewhere"):
        run(ONE_FOLD, output=tmp_path / "out")


def test_slurm_is_refused_where_it_is_not(nnunet, monkeypatch):
    monkeypatch.setenv("PATH", str(nnunet.bin))
    with pytest.raises(CommandError, match="the command srun was not found"):
        run(ONE_FOLD, slurm=SlurmSettings())


@pytest.mark.parametrize(
    ("datasets", "name"),
    [
        (("Dataset004_A",), "Dataset004_A"),
        (("Dataset004_A", "Dataset1234_B"), "Datasets_004_1234"),
    ],
)
def test_the_output_folder_is_named_by_data_sets(tmp_path, datasets, name):
    folders = Folders(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")
    assert default_output(plan(datasets=datasets), folders) == folders.results / "crossval" / name
