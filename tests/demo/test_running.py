import json
import os
from dataclasses import replace

import pytest

from nnunet_attention import demo
from nnunet_attention.demo.folder import DemoFolder
from nnunet_attention.demo.running import crossval_plan, planning_commands
from nnunet_attention.demo.settings import DemoSettings
from nnunet_attention.errors import CommandError
from nnunet_attention.msd import read_msd_task
from nnunet_attention.nnunet.splits import read_splits

needs_scripts = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")
PLAIN, ATTENTION = "nnUNetTrainer_short", "AttentionUNetTrainer_short"
DATASET = "Dataset007_Tiny"


@pytest.fixture
def settings(msd_task) -> DemoSettings:
    return DemoSettings(data=str(msd_task))


def folds(root, trainer: str):
    """The folder of a trained model."""
    return root / "nnUNet_results" / DATASET / f"{trainer}__nnUNetPlans__3d_fullres"


def journals(root) -> dict[str, list[str]]:
    """What was done in each fold that was trained, by TRAINER/fold_k."""
    return {
        f"{path.parts[-3].partition('__')[0]}/{path.parts[-2]}": [
            line.partition(" ")[2] for line in path.read_text().splitlines()
        ]
        for path in sorted(root.glob("nnUNet_results/*/*/fold_*/journal.txt"))
    }


@needs_scripts
def test_the_demo_goes_from_a_task_to_leaderboard_and_picture(fast_nnunet, settings, tmp_path):
    results = demo.run(settings, tmp_path / "demo")
    (row,) = [row for row in results.board.rows_of("dice") if row.is_overall]
    # Label 1 is right, label 2 is missing.
    assert {name: entry.summary.mean for name, entry in row.entries.items()} == {
        "U-Net": 0.5,
        "Attention U-Net": 1.0,
    }
    assert results.training_cases == (8,)
    assert [case.dice for case in results.held_out] == [(0.5, 1.0)] * 2
    held_out = read_splits(DemoFolder(tmp_path / "demo").nnunet.splits(DATASET))[0]["val"]
    assert [case.name for case in results.held_out] == held_out
    record = json.loads((tmp_path / "demo" / "results.json").read_text())
    assert record["held_out_cases"] == held_out
    costs = {cost["model"]: cost["parameters"] for cost in record["leaderboard"]["costs"]}
    assert costs == {"U-Net": 1000, "Attention U-Net": 1100}
    assert "comparison.png" in (tmp_path / "demo" / "results.md").read_text()
    assert results.comparison.stat().st_size > 0
    assert results.page.is_file()


@needs_scripts
def test_networks_are_tested_on_what_they_were_not_trained_on(fast_nnunet, settings, tmp_path):
    demo.run(replace(settings, folds=("0", "3")), tmp_path / "demo")
    splits = read_splits(DemoFolder(tmp_path / "demo").nnunet.splits(DATASET))
    for trainer in (PLAIN, ATTENTION):
        for fold in (0, 3):
            validation = folds(tmp_path / "demo", trainer) / f"fold_{fold}" / "validation"
            predicted = {path.name.partition(".")[0] for path in validation.glob("*.nii.gz")}
            assert predicted == set(splits[fold]["val"])
            assert not predicted & set(splits[fold]["train"])


@needs_scripts
def test_all_trains_once_on_all_cases_but_the_held_out_ones(fast_nnunet, settings, tmp_path):
    results = demo.run(replace(settings, cases=4, folds=("all",)), tmp_path / "demo")
    assert results.training_cases == (3,)
    assert list(journals(tmp_path / "demo")) == [f"{ATTENTION}/fold_0", f"{PLAIN}/fold_0"]


@needs_scripts
def test_a_second_run_repeats_no_command(fast_nnunet, settings, tmp_path):
    first = demo.run(settings, tmp_path / "demo")
    done = journals(tmp_path / "demo")
    logs = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo" / "logs").iterdir()}
    second = demo.run(settings, tmp_path / "demo")
    assert journals(tmp_path / "demo") == done
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "demo/logs").iterdir()} == logs
    assert second.caption == first.caption


@needs_scripts
def test_after_a_failure_the_next_run_goes_on_with_what_failed(
    fast_nnunet, settings, tmp_path, monkeypatch
):
    monkeypatch.setenv("FAKE_FAILURE", f"-tr {ATTENTION}")
    with pytest.raises(CommandError, match=r"AttentionUNetTrainer_short.*run the demo again"):
        demo.run(settings, tmp_path / "demo")
    done = journals(tmp_path / "demo")
    assert list(done) == [f"{PLAIN}/fold_0"]
    monkeypatch.delenv("FAKE_FAILURE")
    demo.run(settings, tmp_path / "demo")
    now = journals(tmp_path / "demo")
    assert now[f"{PLAIN}/fold_0"] == done[f"{PLAIN}/fold_0"]
    assert now[f"{ATTENTION}/fold_0"][-1] == "validated"


@needs_scripts
def test_an_interrupted_training_continues_from_its_checkpoint(fast_nnunet, settings, tmp_path):
    demo.run(settings, tmp_path / "demo")
    fold = folds(tmp_path / "demo", ATTENTION) / "fold_0"
    # As a kill in the last epoch leaves it.
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    demo.run(settings, tmp_path / "demo")
    begun = [line for line in journals(tmp_path / "demo")[f"{ATTENTION}/fold_0"] if "begin" in line]
    assert ["--c" in line for line in begun] == [False, True]


@needs_scripts
def test_small_patches_are_planned_before_the_cross_validation(fast_nnunet, settings, tmp_path):
    demo.run(settings, tmp_path / "demo")
    said = (tmp_path / "demo" / "logs" / "plan.log").read_text()
    assert "nnUNetv2_plan_experiment -d 7 -gpu_memory_target 0.05" in said
    logs = [path.name for path in (tmp_path / "demo" / "logs").iterdir()]
    assert not [name for name in logs if "plans" in name.lower() and "_plans_" in name.lower()]


def test_both_networks_are_trained_on_every_fold(msd_task):
    settings = DemoSettings(folds=("0", "2"), device="cuda", configuration="2d")
    plan = crossval_plan(read_msd_task(msd_task), settings)
    assert plan.datasets == (DATASET,)
    assert plan.models == ((PLAIN, "nnUNetPlans"), (ATTENTION, "nnUNetPlans"))
    assert (plan.folds, plan.device, plan.configurations) == (("0", "2"), "cuda", ("2d",))


@pytest.mark.parametrize(("data", "processes"), [(None, 1), ("/data/Task07_Tiny", 2)])
def test_pools_are_small(msd_task, data, processes):
    task, settings = read_msd_task(msd_task), DemoSettings(data=data)
    assert crossval_plan(task, settings).processes == processes
    fingerprint, _ = planning_commands(task, settings)
    assert fingerprint[fingerprint.index("-np") + 1] == str(processes)


@needs_scripts
def test_a_configuration_that_nnunet_did_not_plan_is_refused(fast_nnunet, settings, tmp_path):
    with pytest.raises(CommandError, match=r"-c 2d: the plans nnUNetPlans of .* have only 3d"):
        demo.run(replace(settings, configuration="2d"), tmp_path / "demo")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (DemoSettings(data="/nowhere/Task01_X"), "not a folder"),
        (DemoSettings(cases=4), "use at least 5 cases"),
    ],
)
def test_bad_input_writes_nothing(tmp_path, settings, message):
    with pytest.raises(CommandError, match=message):
        demo.run(settings, tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_the_data_folder_is_not_written_into(msd_task):
    with pytest.raises(CommandError, match="lies in the data folder"):
        demo.run(DemoSettings(data=str(msd_task)), msd_task / "demo")
    assert not (msd_task / "demo").exists()


@needs_scripts
def test_a_failing_conversion_keeps_the_copied_cases(tmp_path, settings, install_command):
    install_command("nnUNetv2_convert_MSD_dataset", "raise SystemExit('no space')")
    with pytest.raises(CommandError, match=r"nnUNetv2_convert_MSD_dataset failed[\s\S]*no space"):
        demo.run(settings, tmp_path / "demo")
    folder = DemoFolder.open(tmp_path / "demo", settings)
    assert len(read_msd_task(folder.task / "Task07_Tiny").cases) == 10
    assert not (folder.nnunet.raw / DATASET).exists()


@needs_scripts
def test_the_phantom_is_drawn_when_no_data_is_given(tmp_path, install_command):
    install_command("nnUNetv2_convert_MSD_dataset", "raise SystemExit('enough')")
    with pytest.raises(CommandError, match="enough"):
        demo.run(DemoSettings(cases=6), tmp_path / "demo")
    task = tmp_path / "demo" / "task" / "Task90_AbdomenPhantom"
    assert len(list((task / "labelsTr").iterdir())) == 6


def test_a_task_that_was_half_made_is_made_anew(tmp_path, msd_task, settings, install_command):
    install_command("nnUNetv2_convert_MSD_dataset", "raise SystemExit('enough')")
    half = DemoFolder.open(tmp_path / "demo", settings).unfinished_task / "Task07_Tiny"
    half.mkdir(parents=True)
    (half / "dataset.json").write_text("{")
    with pytest.raises(CommandError, match="enough"):
        demo.run(settings, tmp_path / "demo")
    assert read_msd_task(tmp_path / "demo" / "task" / "Task07_Tiny").number == 7
