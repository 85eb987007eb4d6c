"""A cross-validation that version 0.1.0 has begun goes on; its files are written here by hand."""

import io
import json
import os
import socket
import subprocess
import zipfile
from pathlib import Path

import psutil
import pytest
from fake_nnunet import DATASET, FakeNnunet

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")

MODEL = "TrainerA__nnUNetPlans__3d_fullres"
FOLD = f"{DATASET} {MODEL} fold 0"
COMMAND = (
    *("nnUNetv2_train", DATASET, "3d_fullres", "0", "-tr", "TrainerA", "-p", "nnUNetPlans"),
    *("-device", "cpu"),
)
STARTED = "2026-01-02T03:04:05+00:00"
RECORD = f"{DATASET}_{MODEL}_fold_0.20260102T030405.123.json"
PLANS_RECORD = f"{DATASET}_plans_nnUNetPlans.20260102T030401.123.json"
LOG = f"{DATASET}_{MODEL}_fold_0.log"


class Begun:
    """Data set 901, prepared, with a fold killed after three of five epochs."""

    def __init__(self, root: Path):
        self.nnunet = FakeNnunet(root)
        self.nnunet.prepare()
        self.results = self.nnunet.folders.results
        self.model = self.results / DATASET / MODEL
        self.fold = self.model / "fold_0"
        self.out = self.results / "crossval" / DATASET
        self.splits = json.loads(self.nnunet.folders.splits(DATASET).read_text())
        self.depends_on = {
            DATASET: {
                "nnUNetPlans 3d_fullres": {
                    "channel_names": {"0": "MRI"},
                    "data_identifier": "nnUNetPlans_3d_fullres",
                    "file_ending": ".nii.gz",
                    "foreground_intensity_properties_per_channel": None,
                    "image_reader_writer": None,
                    "label_manager": None,
                    "labels": {"background": 0, "organ": 1},
                    "patch_size": [4, 8, 16],
                    "regions_class_order": None,
                    "transpose_backward": None,
                    "transpose_forward": None,
                },
                "splits": {"folds": self.splits},
            }
        }
        self.records = {
            PLANS_RECORD: self.record(
                f"{DATASET} plans nnUNetPlans", "plans", ("nnUNetv2_plan_experiment", "-d", "901")
            )
            | {"ended": STARTED, "exit_code": 0, "ok": True, "seconds": 0.5, "message": ""},
            RECORD: self.record(FOLD, "fold", COMMAND) | {"state_before": "absent"},
        }
        self.launch = {
            "command": "nnunet-attention crossval -d 901 -tr TrainerA -device cpu -f 0",
            "git_revision": "c980fdcaac9f7ba9fdca4e0bcd39ad7c79729915",
            "hardware": {"cores": 2},
            "host": socket.gethostname(),
            "pid": 123,
            "started": STARTED,
            "variables": {},
            "versions": {"nnunet-attention": "0.1.0"},
        }
        self.write()

    def record(self, step: str, kind: str, command: tuple[str, ...]) -> dict:
        return {
            "command": list(command),
            "device": "cpu",
            "ended": None,
            "exit_code": None,
            "host": socket.gethostname(),
            "kind": kind,
            "log": str(self.out / "logs" / LOG),
            "notes": [],
            "ok": None,
            "pid": 123,
            "seconds": None,
            "slurm_job": None,
            "started": STARTED,
            "state_before": None,
            "step": step,
        }

    def write(self) -> None:
        self.fold.mkdir(parents=True)
        prepared = self.nnunet.folders.dataset(DATASET)
        for name, source in (("plans.json", "nnUNetPlans.json"), ("dataset.json", "dataset.json")):
            (self.model / name).write_bytes((prepared / source).read_bytes())
        (self.fold / "debug.json").write_text('{"num_epochs": "5"}')
        journal = [f"begin {' '.join(COMMAND[1:])} on none", "epoch 0", "epoch 1", "epoch 2"]
        (self.fold / "journal.txt").write_text("".join(f"77 {line}\n" for line in journal))
        (self.fold / "training_log_2026_1_2_03_04_05.txt").write_text("x: Epoch 2 \n")
        write_checkpoint(self.fold / "checkpoint_best.pth", 1)
        write_checkpoint(self.fold / "checkpoint_latest.pth", 3)
        for folder in ("attempts", "logs"):
            (self.out / folder).mkdir(parents=True)
        (self.out / "logs" / LOG).write_text("$ the first attempt\n")
        for name, record in self.records.items():
            (self.out / "attempts" / name).write_text(json.dumps(record))
        self.write_manifest()
        ended = subprocess.Popen(["true"])
        ended.wait()
        owner = {"host": socket.gethostname(), "job": None, "pid": ended.pid, "started": 1.7e9}
        self.locks = [
            self.out / ".lock",
            self.model / ".fold_0.lock",
            self.model / ".accumulation.lock",
            prepared / ".crossval.lock",
        ]
        for path in self.locks:
            path.write_text(json.dumps(owner, sort_keys=True) + "\n")

    def write_manifest(self) -> None:
        content = {
            # The launcher was killed before it gathered the fold's record.
            "attempts": [self.records[PLANS_RECORD]],
            "depends_on": self.depends_on,
            "launches": [self.launch],
            "made_by": "nnunet-attention crossval",
            "seeds": {
                "splits_final.json": "12345, where nnU-Net's own split is used",
                "training": "not seeded by nnU-Net",
            },
        }
        (self.out / "manifest.json").write_text(json.dumps(content))

    def go_on(self) -> tuple[int, str]:
        return self.nnunet.run("-tr", "TrainerA", "-f", "0", FAKE_EPOCHS=5)

    def new_records(self) -> list[dict]:
        paths = sorted((self.out / "attempts").iterdir())
        return [json.loads(path.read_text()) for path in paths if path.name not in self.records]


def write_checkpoint(path: Path, epoch: int) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("checkpoint/data.pkl", json.dumps({"current_epoch": epoch}))
    path.write_bytes(content.getvalue())


@pytest.fixture
def begun(tmp_path):
    begun = Begun(tmp_path)
    yield begun
    begun.nnunet.end()


def test_an_interrupted_fold_goes_on_and_nothing_else_is_done(begun):
    code, output = begun.go_on()
    assert code == 0, output
    assert "0 of 1 folds are finished; 2 steps to do" in output
    assert f"start {FOLD} (continues) on cpu" in output
    (lines,) = begun.nnunet.journals().values()
    assert lines[4] == f"begin {' '.join(COMMAND[1:])} --c on none"
    assert lines[5:7] == ["epoch 3", "epoch 4"]
    assert lines[7:] == ["trained", "validated"]
    assert sorted(record["kind"] for record in begun.new_records()) == ["accumulation", "fold"]


def test_records_launches_and_what_models_depend_on_are_kept(begun):
    code, output = begun.go_on()
    assert code == 0, output
    for name, record in begun.records.items():
        assert json.loads((begun.out / "attempts" / name).read_text()) == record
    manifest = json.loads((begun.out / "manifest.json").read_text())
    assert sorted(manifest) == ["attempts", "depends_on", "launches", "made_by", "seeds"]
    assert manifest["made_by"] == "nnunet-attention crossval"
    assert manifest["depends_on"] == begun.depends_on
    assert manifest["launches"][0] == begun.launch
    assert len(manifest["launches"]) == 2
    assert sorted(manifest["launches"][1]) == sorted(begun.launch)
    assert all(record in manifest["attempts"] for record in begun.records.values())
    assert len(manifest["attempts"]) == 4
    fold = next(record for record in begun.new_records() if record["kind"] == "fold")
    assert sorted(fold) == sorted([*begun.records[RECORD], "message"])
    assert fold["state_before"] == "interrupted"
    assert fold["command"] == [*COMMAND, "--c"]
    log = (begun.out / "logs" / LOG).read_text()
    assert log.startswith("$ the first attempt\n$ nnUNetv2_train ")


def test_locks_of_a_process_that_is_gone_are_taken_over_and_given_back(begun):
    code, output = begun.go_on()
    assert code == 0, output
    # Nothing was to be prepared: that lock was not needed.
    assert [path.name for path in begun.locks if path.exists()] == [".crossval.lock"]


def test_a_lock_of_a_process_that_runs_is_respected(begun):
    owner = {
        "host": socket.gethostname(),
        "job": None,
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
    }
    (begun.model / ".fold_0.lock").write_text(json.dumps(owner))
    code, output = begun.go_on()
    assert code == 1
    assert f"in use by process {os.getpid()} on {socket.gethostname()}" in output
    assert begun.new_records() == []


@pytest.mark.parametrize("prefix", ["", "accumulation"])
def test_left_processes_are_known_by_their_variable(begun, prefix):
    mark = f"{prefix}{begun.model if prefix else begun.fold}"
    environment = {**os.environ, "NNUNET_ATTENTION_CROSSVAL_STEP": mark}
    left = subprocess.Popen(["sleep", "300"], env=environment)
    try:
        code, output = begun.go_on()
        assert code == 0, output
        assert f"ended 1 process(es) left behind by a killed launcher: {left.pid}" in output
        assert left.wait(10) < 0
    finally:
        left.kill()
        left.wait()


def test_plans_that_changed_since_then_are_refused(begun):
    dependence = begun.depends_on[DATASET]["nnUNetPlans 3d_fullres"]
    dependence["patch_size"] = [4, 8, 32]
    begun.write_manifest()
    code, output = begun.go_on()
    assert code == 1
    assert "patch_size was [4, 8, 32], is [4, 8, 16]" in output
    assert begun.new_records() == []
