import os
from pathlib import Path

import pytest
from rich.console import Console

from nnunet_attention import doorway
from nnunet_attention.demo import pipeline
from nnunet_attention.demo.folder import DemoFolder
from nnunet_attention.demo.pipeline import (
    Progress,
    Step,
    nnunet_steps,
    run_demo,
    run_steps,
    subprocess_environment,
)
from nnunet_attention.demo.settings import DemoSettings
from nnunet_attention.errors import CommandError
from nnunet_attention.msd.task_folder import read_msd_task
from nnunet_attention.trainers.short import SCHEDULE_VARIABLE, short_schedule

needs_scripts = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")
# Writes its arguments down, and fails as long as a file named broken lies in the folder.
STAND_IN = """
import pathlib, sys
with open({record!r}, "a") as record:
    record.write(" ".join(sys.argv[1:]) + "\\n")
sys.exit(5 if sys.argv[1] == "b" and pathlib.Path({broken!r}).exists() else 0)
"""


@pytest.fixture
def folder(tmp_path) -> DemoFolder:
    return DemoFolder.open(tmp_path / "demo", DemoSettings())


@pytest.fixture
def record(tmp_path, install_command):
    """Installs the command `note`; returns what it was called with."""
    path = tmp_path / "record.txt"
    install_command("note", STAND_IN.format(record=str(path), broken=str(tmp_path / "broken")))
    return lambda: path.read_text().split()


def steps(*names: str, makes: tuple[Path, ...] = ()) -> list[Step]:
    return [Step(name, f"do {name}", lambda name=name: ["note", name], makes) for name in names]


def run(folder: DemoFolder, to_run: list[Step]) -> None:
    run_steps(to_run, folder, os.environ, Progress(Console(quiet=True), folder))


@needs_scripts
def test_steps_run_in_order_and_are_recorded(folder, record):
    run(folder, steps("a", "b", "c"))
    assert record() == ["a", "b", "c"]
    assert folder.finished == ["a", "b", "c"]
    assert folder.seconds.keys() == {"a", "b", "c"}
    assert (folder.root / "logs" / "a.log").read_text().startswith("$ note a")


@needs_scripts
def test_after_a_failure_the_next_run_begins_with_the_failed_step(folder, record, tmp_path):
    (tmp_path / "broken").touch()
    with pytest.raises(CommandError, match="note failed with exit code 5"):
        run(folder, steps("a", "b", "c"))
    (tmp_path / "broken").unlink()
    run(DemoFolder.open(folder.root, DemoSettings()), steps("a", "b", "c"))
    assert record() == ["a", "b", "b", "c"]


@needs_scripts
def test_what_an_interrupted_step_left_is_removed_before_the_next_attempt(folder, record):
    half_done = folder.root / "predictions"
    half_done.mkdir()
    (half_done / "half.nii.gz").touch()
    run(folder, steps("a", makes=(half_done,)))
    assert not half_done.exists()


def test_an_attempt_that_fails_counts_into_the_seconds(folder):
    progress = Progress(Console(quiet=True), folder)
    with pytest.raises(KeyboardInterrupt), progress.step("a", "do a"):
        raise KeyboardInterrupt
    assert folder.seconds.keys() == {"a"}
    assert folder.finished == []


def test_a_progress_line_says_what_and_how_long(folder, capsys):
    with Progress(Console(stderr=True), folder).step("a", "do a"):
        pass
    assert capsys.readouterr().err.strip() == "0.0 s  do a"


def test_the_environment_never_holds_the_users_own_folders(folder, monkeypatch):
    users = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_raw_data_base")
    for name in (*users, "RESULTS_FOLDER", "nnUNet_extTrainer"):
        monkeypatch.setenv(name, "/precious")
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    environment = subprocess_environment(folder, DemoSettings())
    assert "/precious" not in environment.values()
    root = str(folder.root)
    assert all(environment[name].startswith(root) for name in users[:3])
    assert environment[doorway.SEARCH_PATH_VARIABLE] == doorway.directory()
    assert environment["nnUNet_wandb_enabled"] == "0"


def test_the_environment_keeps_compilation_as_the_user_has_it(folder, monkeypatch):
    monkeypatch.delenv("nnUNet_compile", raising=False)
    assert "nnUNet_compile" not in subprocess_environment(folder, DemoSettings())
    monkeypatch.setenv("nnUNet_compile", "f")
    assert subprocess_environment(folder, DemoSettings())["nnUNet_compile"] == "f"


def test_the_environment_holds_the_length_of_the_training(folder):
    environment = subprocess_environment(folder, DemoSettings(epochs=7, iterations=9))
    assert short_schedule(environment[SCHEDULE_VARIABLE])[:2] == (7, 9)


@pytest.mark.parametrize(("data", "processes"), [(None, "1"), ("/data/Task07_Tiny", "2")])
def test_pools_are_small(folder, msd_task, data, processes):
    settings = DemoSettings(data=data)
    assert subprocess_environment(folder, settings)["nnUNet_def_n_proc"] == processes
    plan = nnunet_steps(folder, read_msd_task(msd_task), settings)[1].command()
    assert plan[plan.index("-npfp") + 1] == plan[plan.index("-np") + 1] == processes


@pytest.mark.parametrize(
    ("data", "device", "memory"),
    [
        (None, "cpu", None),
        ("/data/Task07_Tiny", "cpu", "0.05"),
        ("/data/Task07_Tiny", "cuda", None),
    ],
)
def test_patches_are_planned_small_for_real_data_on_a_cpu_only(
    folder, msd_task, data, device, memory
):
    settings = DemoSettings(data=data, device=device)
    plan = nnunet_steps(folder, read_msd_task(msd_task), settings)[1].command()
    assert ("-gpu_memory_target" in plan) == (memory is not None)
    assert memory is None or plan[plan.index("-gpu_memory_target") + 1] == memory


def test_both_trainers_run_every_fold_and_predict_with_all_of_them(folder, msd_task):
    settings = DemoSettings(folds=("0", "2"), device="cuda", configuration="2d")
    plans = folder.plans("Dataset007_Tiny")
    plans.parent.mkdir(parents=True)
    plans.write_text('{"configurations": {"2d": {}}}')
    commands = [step.command() for step in nnunet_steps(folder, read_msd_task(msd_task), settings)]
    assert [command[0] for command in commands] == [
        "nnUNetv2_convert_MSD_dataset",
        "nnUNetv2_plan_and_preprocess",
        *["nnUNetv2_train"] * 4,
        *["nnUNetv2_predict", "nnUNetv2_evaluate_folder"] * 2,
    ]
    trainings = [" ".join(command[1:]) for command in commands[2:6]]
    assert trainings == [
        f"7 2d {fold} -tr {trainer} -device cuda"
        for trainer in ("nnUNetTrainer_short", "AttentionUNetTrainer_short")
        for fold in (0, 2)
    ]
    assert "-f 0 2" in " ".join(commands[6])


def test_an_interrupted_training_continues_from_its_checkpoint(folder, msd_task):
    plans = folder.plans("Dataset007_Tiny")
    plans.parent.mkdir(parents=True)
    plans.write_text('{"configurations": {"3d_fullres": {}}}')
    trainer = "AttentionUNetTrainer_short"
    fold = folder.nnunet_results / "Dataset007_Tiny" / f"{trainer}__nnUNetPlans__3d_fullres/fold_0"
    fold.mkdir(parents=True)
    (fold / "checkpoint_latest.pth").touch()
    by_name = {
        step.name: step.command()
        for step in nnunet_steps(folder, read_msd_task(msd_task), DemoSettings())[:4]
    }
    assert "--c" in by_name[f"train {trainer} fold 0"]
    assert "--c" not in by_name["train nnUNetTrainer_short fold 0"]


def test_a_configuration_that_nnunet_did_not_plan_is_refused(folder, msd_task):
    plans = folder.plans("Dataset007_Tiny")
    plans.parent.mkdir(parents=True)
    plans.write_text('{"configurations": {"2d": {}, "3d_fullres": {}}}')
    training = nnunet_steps(
        folder, read_msd_task(msd_task), DemoSettings(configuration="3d_lowres")
    )[2]
    with pytest.raises(CommandError, match="-c 3d_lowres: nnU-Net planned only 2d, 3d_fullres"):
        training.command()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (DemoSettings(data="/nowhere/Task01_X"), "not a folder"),
        (DemoSettings(cases=5), "leave 4 for training"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, settings, message):
    with pytest.raises(CommandError, match=message):
        run_demo(settings, tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_the_data_folder_is_not_written_into(msd_task):
    with pytest.raises(CommandError, match="lies in the data folder"):
        run_demo(DemoSettings(data=str(msd_task)), msd_task / "demo")
    assert not (msd_task / "demo").exists()


@needs_scripts
def test_a_failing_nnunet_leaves_the_data_step_done(tmp_path, msd_task, install_command):
    install_command("nnUNetv2_convert_MSD_dataset", "raise SystemExit('no space')")
    settings = DemoSettings(data=str(msd_task))
    with pytest.raises(CommandError, match=r"nnUNetv2_convert_MSD_dataset failed[\s\S]*no space"):
        run_demo(settings, tmp_path / "demo", console=Console(quiet=True))
    assert DemoFolder.open(tmp_path / "demo", settings).finished == ["data"]
    assert len(list((tmp_path / "demo" / "task" / "Task07_Tiny" / "imagesTs").iterdir())) == 2


def test_the_phantom_is_drawn_when_no_data_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "nnunet_steps", lambda *_: [])
    monkeypatch.setattr(pipeline, "collect_results", lambda *_: "results")
    monkeypatch.setattr(pipeline, "write_results", lambda *_: None)
    run_demo(DemoSettings(cases=6), tmp_path / "demo", console=Console(quiet=True))
    task = tmp_path / "demo" / "task" / "Task90_AbdomenPhantom"
    assert len(list((task / "labelsTr").iterdir())) == 5
    assert len(list((task / "labelsTs").iterdir())) == 1


@needs_scripts
def test_without_a_terminal_a_long_training_tells_its_epoch_now_and_then(
    folder, install_command, capsys, monkeypatch
):
    monkeypatch.setattr("nnunet_attention.demo.pipeline.Pace.is_due", lambda pace: True)
    said = "import time; print('x: Epoch 2 ', flush=True); time.sleep(1)"
    install_command("train", said)
    step = Step("a", "train a", lambda: ["train"], epochs=10)
    progress = Progress(Console(stderr=True, width=100), folder)
    run_steps([step], folder, os.environ, progress)
    assert "train a, epoch 3 of 10 (" in capsys.readouterr().err
