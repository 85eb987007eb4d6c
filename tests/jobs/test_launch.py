"""Launches with nnU-Net's commands replaced by fast ones that write the same files."""

import glob
import gzip
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest
from crossval_kills import assert_nothing_lost, run_with_kills
from fake_nnunet import DATASET, FakeNnunet, kill, nnunet, plan, wait_for
from made_up_steps import DeviceStep, MadeUpStep, MadeUpWork

from nnunet_attention.crossval import FoldState, FoldStep, all_runs, missing_steps, state_of
from nnunet_attention.crossval.steps import fold as fold_module
from nnunet_attention.crossval.work import CrossvalWork
from nnunet_attention.errors import CommandError
from nnunet_attention.jobs import adoption, process
from nnunet_attention.jobs import attempt as attempt_module
from nnunet_attention.jobs.launch import Outcome, launch
from nnunet_attention.jobs.launch import Silent as NoView
from nnunet_attention.jobs.leftovers import STEP_VARIABLE
from nnunet_attention.jobs.local import Device, LocalRunner, devices
from nnunet_attention.jobs.output import Output
from nnunet_attention.nnunet.checkpoints import damaged_checkpoints, is_whole

__all__ = ["nnunet"]  # the fixture

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")


class Silent:
    """A view that remembers what was said."""

    def __init__(self):
        self.notes = []
        self.started_on = {}
        self.ended_ok = {}

    def begin(self, work, steps, notes):
        self.notes += notes
        self.steps = [step.name for step in steps]

    def started(self, running):
        self.notes += running.notes
        self.started_on[running.step.name] = running.device

    def ended(self, step, result):
        self.ended_ok[step.name] = result.ok

    def update(self, waiting, running):
        pass


def run(nnunet: FakeNnunet, wanted=None, places=None):
    """Launches in this process; the outcome and the view."""
    wanted = wanted or plan()
    output, view = Output(nnunet.root / "out"), Silent()
    runner = LocalRunner(output, places or devices(wanted.device, wanted.num_gpus, 2))
    return launch(CrossvalWork(wanted, nnunet.folders), output, runner, view), view


def fold_folder(nnunet, number=0):
    return all_runs(plan(), nnunet.folders)[number].folder(nnunet.folders)


@pytest.fixture
def prepared(nnunet):
    """All but the folds is done."""
    nnunet.prepare()
    assert {step.kind for step in missing_steps(plan(), nnunet.folders)} == {"fold", "accumulation"}
    return nnunet


def test_a_raw_data_set_is_taken_to_the_end(nnunet):
    outcome, view = run(nnunet)
    assert outcome.ok
    assert set(view.steps) == set(outcome.done)
    assert missing_steps(plan(), nnunet.folders) == []
    assert nnunet.left_processes() == []


def test_splits_are_those_that_nnunet_writes(nnunet):
    import numpy as np
    from batchgenerators.utilities.file_and_folder_operations import save_json
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    run(nnunet)
    cases = list(np.sort(np.array([f"case_{number:02d}" for number in range(10)])))
    save_json(generate_crossval_split(cases, seed=12345, n_splits=5), nnunet.root / "theirs.json")
    ours = nnunet.folders.splits(DATASET).read_bytes()
    assert ours == (nnunet.root / "theirs.json").read_bytes()


def test_each_gpu_gets_one_fold_at_a_time(nnunet):
    gpus = [Device(f"GPU {n}", (("CUDA_VISIBLE_DEVICES", str(n)),)) for n in (3, 5)]
    outcome, view = run(nnunet, places=gpus)
    assert outcome.ok
    folds = [name for name in view.started_on if " fold " in name]
    assert {view.started_on[name] for name in folds} == {"GPU 3", "GPU 5"}
    used = {line.rpartition(" ")[2] for lines in nnunet.journals().values() for line in lines[:1]}
    assert used == {"3", "5"}


def test_a_cascade_trains_all_folds_of_its_first_stage_before_itself(nnunet):
    wanted = plan(configurations=("3d_cascade_fullres",), models=(("TrainerA", "nnUNetPlans"),))
    outcome, _ = run(nnunet, wanted)
    # The stand-in refuses a second stage without the first one's predictions.
    assert outcome.ok, outcome.failed
    stages = [name.split("__")[2].split("/")[0] for name in nnunet.journals()]
    assert stages.count("3d_lowres") == 5
    assert stages.count("3d_cascade_fullres") == 2


def test_a_model_of_all_cases_needs_no_splits_and_no_accumulation(nnunet):
    wanted = plan(folds=("all",), models=(("TrainerA", "nnUNetPlans"),))
    outcome, view = run(nnunet, wanted)
    assert outcome.ok, outcome.failed
    assert not any(name.endswith(("splits", "accumulation")) for name in view.steps)
    assert missing_steps(wanted, nnunet.folders) == []
    assert not nnunet.folders.splits(DATASET).exists()


def test_without_the_raw_data_prepared_data_are_enough(prepared):
    shutil.rmtree(prepared.folders.raw)
    outcome, _ = run(prepared, plan(folds=("0",)))
    assert outcome.ok, outcome.failed


def test_images_may_be_moved_away_while_folds_train(prepared, monkeypatch):
    images = prepared.folders.raw_dataset(DATASET) / "imagesTr"

    def move(self, running):
        if images.is_dir():
            images.rename(prepared.root / "archive")

    monkeypatch.setattr(Silent, "started", move)
    outcome, _ = run(prepared)
    assert outcome.ok, outcome.failed
    assert len(outcome.done) == 6
    assert missing_steps(plan(), prepared.folders) == []


def test_raw_data_that_are_needed_and_absent_are_named(prepared):
    shutil.rmtree(prepared.folders.data(DATASET, "nnUNetPlans_3d_fullres"))
    shutil.rmtree(prepared.folders.raw)
    with pytest.raises(CommandError, match=r"preprocessing .* is missing.*check nnUNet_raw"):
        run(prepared)


def test_a_failing_fold_is_reported_with_its_log_while_the_others_finish(prepared, monkeypatch):
    monkeypatch.setenv("FAKE_FAILURE", "3d_fullres 1 -tr TrainerA")
    outcome, _ = run(prepared)
    (name,) = outcome.failed
    assert name == f"{DATASET} TrainerA__nnUNetPlans__3d_fullres fold 1"
    message = outcome.failed[name]
    assert "failed with exit code 1" in message
    assert "line before the last" in message
    assert "made to fail" in message
    assert str(prepared.root / "out" / "logs") in message
    states = [state_of(one, prepared.folders) for one in all_runs(plan(), prepared.folders)]
    assert states.count(FoldState.FINISHED) == 3
    assert outcome.left == [f"{DATASET} TrainerA__nnUNetPlans__3d_fullres accumulation"]
    assert f"{DATASET} TrainerB__nnUNetPlans__3d_fullres accumulation" in outcome.done


def test_a_failing_preparation_leaves_other_data_sets_alone(nnunet, monkeypatch):
    nnunet.add_dataset("Dataset902_Other")
    monkeypatch.setenv("FAKE_FAILURE", "nnUNetv2_preprocess -d 901")
    wanted = plan(datasets=(DATASET, "Dataset902_Other"), folds=("0",))
    outcome, _ = run(nnunet, wanted)
    assert list(outcome.failed) == [f"{DATASET} preprocessing nnUNetPlans 3d_fullres"]
    assert missing_steps(wanted, nnunet.folders, ["Dataset902_Other"]) == []
    assert all(name.startswith(DATASET) for name in outcome.left)


def test_the_next_launch_does_only_what_failed(prepared, monkeypatch):
    monkeypatch.setenv("FAKE_FAILURE", "3d_fullres 1 -tr TrainerA")
    run(prepared)
    monkeypatch.setenv("FAKE_FAILURE", "")
    outcome, view = run(prepared)
    assert outcome.ok
    assert [name for name in view.started_on if " fold " in name] == [
        f"{DATASET} TrainerA__nnUNetPlans__3d_fullres fold 1"
    ]


def test_a_command_that_ends_well_and_makes_nothing_has_failed(prepared):
    (prepared.bin / "nnUNetv2_train").write_text("#!/bin/sh\necho I did nothing\n")
    outcome, view = run(prepared, plan(folds=("0",), models=(("TrainerA", "nnUNetPlans"),)))
    (message,) = outcome.failed.values()
    assert "ended without an error, but what it should have made is missing" in message
    assert "I did nothing" in message
    assert not any(ok for name, ok in view.ended_ok.items() if " fold " in name)


def test_a_missing_command_fails_its_step_with_the_remedy(prepared, monkeypatch):
    (prepared.bin / "nnUNetv2_train").rename(prepared.bin / "gone")
    monkeypatch.setenv("PATH", str(prepared.bin))
    monkeypatch.setattr(process, "script_folders", lambda: [prepared.bin])
    outcome, _ = run(prepared, plan(folds=("0",)))
    assert all("nnUNetv2_train is not installed" in text for text in outcome.failed.values())


def one_fold(prepared):
    wanted = plan(folds=("0",), models=(("TrainerA", "nnUNetPlans"),))
    outcome, _ = run(prepared, wanted)
    assert outcome.ok
    return wanted, fold_folder(prepared)


def begins(prepared) -> list[str]:
    (lines,) = prepared.journals().values()
    return [line for line in lines if line.startswith("begin")]


def test_a_trained_fold_without_its_summary_is_only_validated_again(prepared):
    wanted, fold = one_fold(prepared)
    summary = fold / "validation" / "summary.json"
    summary.write_text(summary.read_text()[:-20])
    assert run(prepared, wanted)[0].ok
    assert "--val" in begins(prepared)[1]
    json.loads(summary.read_text())


def test_a_summary_with_a_training_case_is_no_validation_and_made_again_without(prepared):
    wanted, fold = one_fold(prepared)
    splits = json.loads(prepared.folders.splits(DATASET).read_text())
    trained_on, validated = splits[0]["train"][0], splits[0]["val"]
    stray = fold / "validation" / f"{trained_on}.nii.gz"
    stray.write_bytes(b"whole")
    summary = fold / "validation" / "summary.json"
    content = json.loads(summary.read_text())
    entry = content["metric_per_case"][0] | {"prediction_file": str(stray)}
    content["metric_per_case"].append(entry)
    summary.write_text(json.dumps(content))
    assert missing_steps(wanted, prepared.folders)[0].state is FoldState.TRAINED
    outcome, view = run(prepared, wanted)
    assert outcome.ok, outcome.failed
    assert "--val" in begins(prepared)[1]
    files = [one["prediction_file"] for one in json.loads(summary.read_text())["metric_per_case"]]
    assert files == [str(fold / "validation" / f"{case}.nii.gz") for case in validated]
    (note,) = view.notes
    assert "had 1 segmentation(s) of cases that the fold is trained on" in note
    assert f"{stray.name}.trained-on-1" in note
    assert stray.with_name(f"{stray.name}.trained-on-1").read_bytes() == b"whole"


def test_fold_all_is_validated_on_what_it_was_trained_on(prepared):
    wanted = plan(folds=("all",), models=(("TrainerA", "nnUNetPlans"),))
    assert run(prepared, wanted)[0].ok
    assert missing_steps(wanted, prepared.folders) == []


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_split_with_an_empty_list_is_refused(prepared, part):
    path = prepared.folders.splits(DATASET)
    splits = json.loads(path.read_text())
    splits[1][part] = []
    path.write_text(json.dumps(splits))
    missing_steps(plan(folds=("0",)), prepared.folders)
    with pytest.raises(CommandError, match=rf"fold 1: {part} is empty"):
        run(prepared)


def test_an_interrupted_validation_is_told_which_predictions_are_whole(prepared):
    wanted, fold = one_fold(prepared)
    (fold / "validation" / "summary.json").unlink()
    whole, half = sorted((fold / "validation").glob("*.nii.gz"))
    content = gzip.compress(b"a prediction")
    whole.write_bytes(content)
    half.write_bytes(content[:-1])
    outcome, _ = run(prepared, wanted)
    # The stand-in's accumulation knows this content for none of its own.
    assert [name.rpartition(" ")[2] for name in outcome.failed] == ["accumulation"]
    assert "--val" in begins(prepared)[1]
    assert whole.read_bytes() == content
    assert half.read_bytes() == b"whole"


def test_npz_wanted_later_asks_for_another_validation(prepared):
    wanted, _ = one_fold(prepared)
    steps = missing_steps(plan(folds=("0",), models=wanted.models, npz=True), prepared.folders)
    assert steps[0].command[-2:] == ("--npz", "--val")


def test_an_interrupted_fold_goes_on(prepared):
    wanted, fold = one_fold(prepared)
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    assert run(prepared, wanted)[0].ok
    assert "--c" in begins(prepared)[1]


@pytest.mark.parametrize("content", [b"", b"half"])
def test_a_damaged_latest_checkpoint_is_set_aside_and_the_best_taken(prepared, content):
    wanted, fold = one_fold(prepared)
    (fold / "checkpoint_final.pth").unlink()
    (fold / "checkpoint_latest.pth").write_bytes(content)
    outcome, view = run(prepared, wanted)
    assert outcome.ok
    assert "--c" in begins(prepared)[1]
    (note,) = view.notes
    assert "checkpoint_latest.pth is damaged" in note
    assert (fold / "checkpoint_latest.pth.damaged-1").read_bytes() == content


def test_a_damaged_final_checkpoint_is_set_aside_and_the_latest_taken(prepared):
    wanted, fold = one_fold(prepared)
    whole = (fold / "checkpoint_final.pth").read_bytes()
    (fold / "checkpoint_latest.pth").write_bytes(whole)
    (fold / "checkpoint_final.pth").write_bytes(whole[:-100])
    assert run(prepared, wanted)[0].ok
    assert "--c" in begins(prepared)[1]


def test_with_all_checkpoints_damaged_the_fold_starts_anew(prepared):
    wanted, fold = one_fold(prepared)
    for name in ("checkpoint_final.pth", "checkpoint_best.pth"):
        (fold / name).write_bytes(b"half")
    assert run(prepared, wanted)[0].ok
    assert not {"--c", "--val"} & set(begins(prepared)[1].split())
    assert len(list(fold.glob("*.damaged-1"))) == 2


def test_a_flipped_bit_in_a_checkpoint_is_found_before_it_is_loaded(prepared):
    wanted, fold = one_fold(prepared)
    (fold / "validation" / "summary.json").unlink()
    content = bytearray((fold / "checkpoint_final.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (fold / "checkpoint_final.pth").write_bytes(content)
    outcome, view = run(prepared, wanted)
    assert outcome.ok
    assert "checkpoint_final.pth is damaged" in view.notes[0]


def test_a_half_written_plans_file_is_made_again(prepared):
    path = prepared.folders.plans(DATASET, "nnUNetPlans")
    path.write_text(path.read_text()[:50])
    outcome, _ = run(prepared, plan(folds=("0",)))
    assert outcome.ok, outcome.failed
    json.loads(path.read_text())


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_a_finished_models_damaged_plans_are_refused_with_the_remedy(prepared, name):
    wanted, fold = one_fold(prepared)
    path = fold.parent / name
    whole = path.read_text()
    path.write_text("")
    with pytest.raises(CommandError, match=rf"{name} cannot be read as JSON.* Copy .* there"):
        missing_steps(wanted, prepared.folders)
    # The next fold's training writes them again.
    assert missing_steps(plan(models=wanted.models), prepared.folders)
    path.write_text(whole)
    assert missing_steps(wanted, prepared.folders) == []


def test_changed_plans_are_refused_and_the_difference_named(prepared):
    wanted, fold = one_fold(prepared)
    path = prepared.folders.plans(DATASET, "nnUNetPlans")
    content = json.loads(path.read_text())
    content["configurations"]["3d_fullres"]["patch_size"] = [4, 8, 32]
    path.write_text(json.dumps(content))
    before = (fold / "checkpoint_final.pth").read_bytes()
    with pytest.raises(CommandError) as refusal:
        run(prepared, wanted)
    assert "patch_size was [4, 8, 16], is [4, 8, 32]" in str(refusal.value)
    assert DATASET in str(refusal.value)
    assert (fold / "checkpoint_final.pth").read_bytes() == before


def test_changed_splits_are_refused(prepared):
    wanted, _ = one_fold(prepared)
    path = prepared.folders.splits(DATASET)
    splits = json.loads(path.read_text())
    splits[0], splits[1] = splits[1], splits[0]
    path.write_text(json.dumps(splits))
    with pytest.raises(CommandError, match=r"splits of Dataset901_Tiny have changed"):
        run(prepared, wanted)


def test_a_missing_data_set_is_named(nnunet):
    with pytest.raises(CommandError, match=r"-d Dataset999_None: found neither .*Dataset999_None"):
        run(nnunet, plan(datasets=("Dataset999_None",)))


def test_a_configuration_without_plans_is_refused_with_those_there_are(prepared):
    with pytest.raises(CommandError, match=r"-c 2d: .* only 3d_cascade_fullres, 3d_fullres"):
        run(prepared, plan(configurations=("2d",)))


def test_a_fold_beyond_the_splits_is_refused(prepared):
    with pytest.raises(CommandError, match=r"-f 5: .* has 5 folds, 0 to 4"):
        run(prepared, plan(folds=("5",)))


def test_too_few_cases_for_a_split_fail_with_the_remedy(nnunet):
    nnunet.add_dataset("Dataset903_Few", cases=3)
    outcome, _ = run(nnunet, plan(datasets=("Dataset903_Few",)))
    (message,) = outcome.failed.values()
    assert "has only 3 cases, but nnU-Net splits into 5 folds; train with -f all" in message


def test_a_results_folder_that_cannot_be_written_is_one_clear_error(nnunet):
    shutil.rmtree(nnunet.folders.results)
    nnunet.folders.results.write_text("a file")
    with pytest.raises(CommandError, match=r"cannot write in .*results: there is a file"):
        run(nnunet)


@pytest.mark.parametrize(
    ("number", "words"), [(28, "the disk is full"), (30, "the file system is read-only")]
)
def test_a_disk_that_takes_nothing_is_one_clear_error(nnunet, monkeypatch, number, words):
    def refuse(path, content):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("pathlib.Path.write_bytes", refuse)
    with pytest.raises(CommandError, match=words):
        run(nnunet)


def test_a_disk_that_fills_up_meanwhile_ends_no_fold(prepared, monkeypatch):
    written = attempt_module.write_json

    def refuse(path, content):
        if path.parent.name == "attempts":
            raise OSError(28, "No space left on device")
        written(path, content)

    monkeypatch.setattr(attempt_module, "write_json", refuse)
    outcome, _ = run(prepared)
    assert outcome.ok


def test_the_manifest_has_commands_versions_hardware_and_timings(prepared):
    one_fold(prepared)
    manifest = json.loads((prepared.root / "out" / "manifest.json").read_text())
    fold = next(one for one in manifest["attempts"] if one["kind"] == "fold")
    assert fold["command"][:4] == ["nnUNetv2_train", DATASET, "3d_fullres", "0"]
    assert fold["ok"] is True
    assert fold["seconds"] > 0
    launched = manifest["launches"][0]
    assert launched["versions"]["nnunetv2"]
    assert launched["hardware"]["cores"] == os.cpu_count()
    assert manifest["seeds"]["training"] == "not seeded by nnU-Net"
    assert "3d_fullres" in json.dumps(manifest["depends_on"][DATASET])


def test_a_second_launcher_is_refused_with_the_firsts_machine_and_process(nnunet):
    first = nnunet.start("-f", "0", FAKE_SECONDS=0.3, FAKE_EPOCHS=40)
    try:
        # Not Path.glob, which fails if a folder goes while it looks.
        wait_for(lambda: glob.glob(str(nnunet.folders.results / "crossval/*/.lock")))
        code, output = nnunet.run("-f", "0")
        assert code == 1
        assert f"in use by process {first.pid} on {os.uname().nodename}" in output
        code, output = nnunet.run("-f", "0", "-o", "elsewhere")
        assert code == 1
        assert f"in use by process {first.pid} on" in output
    finally:
        kill(first)


def test_a_file_that_is_half_written_at_the_first_look_is_read_again(prepared, monkeypatch):
    looks = []

    def half_written_at_first(*arguments):
        looks.append(arguments)
        if len(looks) == 1:
            raise CommandError("dataset.json cannot be read as JSON")
        return missing_steps(*arguments)

    monkeypatch.setattr("nnunet_attention.crossval.work.missing_steps", half_written_at_first)
    assert run(prepared)[0].ok
    assert len(looks) > 1


def test_a_file_that_stays_damaged_is_an_error(prepared, monkeypatch):
    def damaged(*arguments):
        raise CommandError("dataset.json cannot be read as JSON")

    monkeypatch.setattr("nnunet_attention.crossval.work.missing_steps", damaged)
    with pytest.raises(CommandError, match="cannot be read as JSON"):
        run(prepared)


def test_ctrl_c_stops_all_processes_and_says_how_to_go_on(prepared):
    process = prepared.start("-f", "0", "--at-once", "2", FAKE_EPOCHS=1000)
    wait_for(lambda: sum(map(len, prepared.journals().values())) > 4)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "continue with: nnunet-attention crossval -d 901" in output
    assert prepared.left_processes() == []
    # Stopped between the writing of checkpoints, not within.
    assert run(prepared)[1].notes == []


def test_no_checkpoint_is_begun_between_the_last_look_and_the_stop(prepared, monkeypatch):
    monkeypatch.setattr(fold_module, "damaged_checkpoints", look := SlowLook())
    environment = prepared.environment(FAKE_EPOCHS=100_000)
    step = first_fold(prepared)
    attempt = attempt_module.Attempt(step, Output(prepared.root / "out"), environment)
    attempt.start()
    checkpoint = fold_folder(prepared) / "checkpoint_latest.pth"
    wait_for(checkpoint.is_file)
    attempt.stop()
    assert attempt.poll().exit_code == -signal.SIGTERM
    assert prepared.left_processes() == []
    assert is_whole(checkpoint)
    assert checkpoint.read_bytes() == look.seen[-1]


def first_fold(prepared) -> FoldStep:
    steps = missing_steps(plan(), prepared.folders)
    return next(step for step in steps if isinstance(step, FoldStep))


class SlowLook:
    """Looks at checkpoints, and comes back when a running training would have written others."""

    def __init__(self):
        self.seen = []

    def __call__(self, fold, every_byte=False):
        damaged = damaged_checkpoints(fold, every_byte)
        latest = fold / "checkpoint_latest.pth"
        self.seen.append(latest.read_bytes() if latest.is_file() else None)
        time.sleep(0.3)
        return damaged


def killed_launcher(prepared, *arguments, **variables):
    """Both trainings of fold 0 run on, in their third epoch."""
    process = prepared.start("-f", "0", "--at-once", "2", *arguments, **variables)
    wait_for(
        lambda: (
            [("epoch 2" in lines) for lines in prepared.journals().values()] == [True, True]
            or process.poll() is not None
        )
    )
    kill(process)
    assert len(trainings(prepared)) == 2


def trainings(prepared) -> list[psutil.Process]:
    found = [psutil.Process(pid) for pid in prepared.left_processes()]
    return [one for one in found if "nnUNetv2_train" in " ".join(one.cmdline())]


def test_trainings_that_a_killed_launcher_left_running_are_watched_to_their_end(prepared):
    killed_launcher(prepared, FAKE_EPOCHS=25, FAKE_SECONDS=0.1)
    left = {one.pid for one in trainings(prepared)}
    outcome, view = run(prepared, plan(folds=("0",)))
    assert outcome.ok
    assert {pid for pid in left if f"process {pid}, whose launcher" in " ".join(view.notes)} == left
    for lines in prepared.journals().values():
        assert [line for line in lines if line.startswith(("begin", "overlap"))] == lines[:1]
        assert lines.count("trained") == 1
    assert prepared.left_processes() == []
    manifest = json.loads((prepared.root / "out" / "manifest.json").read_text())
    folds = [one for one in manifest["attempts"] if one["kind"] == "fold"]
    assert [one["ok"] for one in folds] == [True, True]
    assert "whose launcher is gone" in folds[0]["notes"][0]


def test_a_left_training_that_does_not_move_is_ended_and_resumed(prepared, monkeypatch):
    monkeypatch.setattr(adoption, "_STILL_SECONDS", 1.0)
    monkeypatch.setattr(adoption, "_LOOK_SECONDS", 0.1)
    killed_launcher(prepared, FAKE_EPOCHS=5, FAKE_SECONDS=0.1, FAKE_HANG=3)
    (stuck, other) = trainings(prepared)
    outcome, _ = run(prepared, plan(folds=("0",)))
    assert outcome.ok
    assert not process.is_alive(stuck)
    assert not process.is_alive(other)
    for lines in prepared.journals().values():
        begun = [line for line in lines if line.startswith("begin")]
        assert len(begun) == 2
        assert "--c" in begun[1]
        assert lines.count("epoch 2") == 1
        assert "overlap" not in lines
    manifest = json.loads((prepared.root / "out" / "manifest.json").read_text())
    messages = [one["message"] for one in manifest["attempts"] if one["kind"] == "fold"]
    assert len([text for text in messages if "stopped making progress and was ended" in text]) == 2


def test_a_left_training_that_dies_is_resumed(prepared):
    killed_launcher(prepared, FAKE_EPOCHS=5, FAKE_SECONDS=0.1, FAKE_HANG=3)
    doomed = trainings(prepared)
    threading.Timer(2.0, lambda: [one.kill() for one in doomed]).start()
    outcome, _ = run(prepared, plan(folds=("0",)))
    assert outcome.ok
    assert all("--c" in lines[-1] or "validated" in lines for lines in prepared.journals().values())
    assert prepared.left_processes() == []


def test_a_left_training_with_other_options_is_ended_first(prepared):
    killed_launcher(prepared, FAKE_EPOCHS=30, FAKE_SECONDS=0.1)
    outcome, view = run(prepared, plan(folds=("0",), npz=True))
    assert outcome.failed  # The stand-in writes no probabilities.
    assert "left behind by a killed launcher" in " ".join(view.notes)
    assert not any("overlap" in lines for lines in prepared.journals().values())


def test_a_training_that_was_left_paused_goes_on(prepared):
    killed_launcher(prepared, FAKE_EPOCHS=15, FAKE_SECONDS=0.1)
    for one in trainings(prepared):
        one.suspend()
    outcome, _ = run(prepared, plan(folds=("0",)))
    assert outcome.ok
    assert all(lines[0].startswith("begin") for lines in prepared.journals().values())
    assert not any("--c" in " ".join(lines) for lines in prepared.journals().values())


def test_ctrl_c_stops_adopted_trainings_too(prepared):
    killed_launcher(prepared, FAKE_EPOCHS=1000, FAKE_SECONDS=0.05)
    process = prepared.start("-f", "0", "--at-once", "2", FAKE_EPOCHS=1000)
    lines = []
    while not any("watch" in line for line in lines):
        lines.append(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert prepared.left_processes() == []
    for checkpoint in prepared.folders.results.glob("*/*/fold_0/checkpoint_*.pth"):
        assert is_whole(checkpoint)


def test_an_interruption_while_the_first_start_is_told_stops_the_others_too(prepared, monkeypatch):
    def interrupt(view, running):
        raise KeyboardInterrupt

    monkeypatch.setattr(Silent, "started", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(prepared, plan(folds=("0",)))
    assert prepared.left_processes() == []


def test_adopted_folds_keep_their_gpus(prepared):
    gpus = [Device(f"GPU {n}", (("CUDA_VISIBLE_DEVICES", str(n)),)) for n in (3, 5)]
    mark = str(fold_folder(prepared))
    step = first_fold(prepared)
    environment = prepared.environment(FAKE_EPOCHS=1000, CUDA_VISIBLE_DEVICES=5)
    log = prepared.root / "out" / "log.txt"
    left = process.LoggedProcess(step.command, environment | {STEP_VARIABLE: mark}, log)
    try:
        wait_for(lambda: trainings(prepared))
        runner = LocalRunner(Output(prepared.root / "out"), gpus)
        other = next(s for s in missing_steps(plan(), prepared.folders) if s.name != step.name)
        started = runner.start([other, step])
        assert {one.step.name: one.device for one in started} == {
            step.name: "GPU 5",
            other.name: "GPU 3",
        }
        assert [one.adopted for one in started] == [True, False]
        for one in started:
            one.stop()
        assert prepared.left_processes() == []
    finally:
        left.stop()


def test_what_a_killed_launcher_left_of_a_finished_fold_is_ended_too(prepared):
    wanted, fold = one_fold(prepared)
    environment = prepared.environment() | {STEP_VARIABLE: str(fold)}
    left = subprocess.Popen(["sleep", "300"], env=environment)
    outcome, view = run(prepared, wanted)
    assert outcome.ok
    left.wait(10)
    assert str(left.pid) in view.notes[0]


def test_a_killed_fold_is_reported_and_goes_on_at_the_next_launch(prepared):
    process = prepared.start("-f", "0", "--at-once", "2", FAKE_EPOCHS=8, FAKE_SECONDS=0.05)
    wait_for(lambda: any("epoch 2" in lines for lines in prepared.journals().values()))
    journals = map(Path, glob.glob(str(prepared.folders.results / "*/*/fold_0/journal.txt")))
    journal = next(path for path in journals if "epoch 2" in path.read_text())
    os.kill(int(journal.read_text().split()[0]), signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was ended by SIGKILL" in output
    assert run(prepared, plan(folds=("0",)))[0].ok
    lines = prepared.journals()["/".join(journal.parts[-3:-1])]
    assert "--c" in [line for line in lines if line.startswith("begin")][1]
    assert lines.count("trained") == 1


@pytest.mark.parametrize("seed", [101, pytest.param(102, marks=pytest.mark.slow)])
def test_kills_at_random_moments_lose_and_repeat_nothing(tmp_path, seed):
    fake = FakeNnunet(tmp_path)
    run_with_kills(fake, seed, kills=2)
    assert_nothing_lost(fake)


def made_up(tmp_path, install_command, *failing) -> tuple[Outcome, Silent, Output]:
    """Launches steps that make four files of two groups."""
    for name in ("a1", "a2", "b1", "b2"):
        source = f"import pathlib; pathlib.Path({str(tmp_path / name)!r}).touch()"
        install_command(name, "raise SystemExit(1)" if name in failing else source)
    work = MadeUpWork(
        tmp_path,
        [
            MadeUpStep(tmp_path, "a1", group_name="a"),
            DeviceStep(tmp_path, "a2", ("a1",), group_name="a"),
            MadeUpStep(tmp_path, "b1", group_name="b"),
            DeviceStep(tmp_path, "b2", ("b1",), group_name="b"),
        ],
        {"plans": 1},
    )
    output, view = Output(tmp_path / "out"), Silent()
    return launch(work, output, LocalRunner(output, devices("cpu")), view), view, output


def test_any_steps_run_in_the_order_of_their_needs(tmp_path, install_command):
    outcome, view, output = made_up(tmp_path, install_command)
    assert outcome.ok
    assert outcome.done.index("a1") < outcome.done.index("a2")
    assert outcome.done.index("b1") < outcome.done.index("b2")
    manifest = json.loads(output.manifest.read_text())
    assert manifest["depends_on"] == {"a": {"plans": 1}, "b": {"plans": 1}}
    assert view.steps == ["a1", "a2", "b1", "b2"]


def test_what_needs_a_failed_step_is_left_and_other_groups_go_on(tmp_path, install_command):
    outcome, _, output = made_up(tmp_path, install_command, "a1")
    assert not outcome.ok
    assert (list(outcome.failed), outcome.left, outcome.done) == (["a1"], ["a2"], ["b1", "b2"])
    # Nothing of the other group has begun.
    assert json.loads(output.manifest.read_text())["depends_on"] == {"b": {"plans": 1}}


def test_a_view_that_shows_nothing_is_one(tmp_path, install_command):
    install_command("a1", f"import pathlib; pathlib.Path({str(tmp_path / 'a1')!r}).touch()")
    work, output = MadeUpWork(tmp_path, [MadeUpStep(tmp_path, "a1")]), Output(tmp_path / "out")
    assert launch(work, output, LocalRunner(output, devices("cpu")), NoView()).done == ["a1"]
