"""The benchmark on MSD Task04 Hippocampus: what is run, and what is told of it."""

import json
import shutil

import pytest
import torch
from matplotlib.image import imread
from PIL import Image

from benchmarks.hippocampus import training
from benchmarks.hippocampus.__main__ import RESULTS
from benchmarks.hippocampus.collecting import (
    best_median_worst,
    collect,
    model_folder,
    small_copy,
)
from benchmarks.hippocampus.reporting import dice_table, draw, report, runs_table
from benchmarks.hippocampus.schedules import (
    COMPARED,
    CPU,
    DATASET,
    GPU,
    MODELS,
    Schedule,
    environment,
)
from benchmarks.hippocampus.training import add_configuration
from nnunet_attention import trainers
from nnunet_attention.cli.main import build_parser
from nnunet_attention.evaluation.tables import MINUS
from nnunet_attention.trainers.short import short_schedule, short_seed


@pytest.mark.parametrize("schedule", [CPU, GPU], ids=lambda one: one.name)
def test_every_model_gets_the_same_schedule_and_seed(schedule):
    variables = environment(schedule, {})
    assert short_schedule(variables["NNUNET_ATTENTION_SHORT_SCHEDULE"]) == (
        schedule.epochs,
        schedule.iterations,
        schedule.validation_iterations,
    )
    assert short_seed(variables["NNUNET_ATTENTION_SEED"]) == 0
    assert set(MODELS.values()) <= set(trainers.__all__)


def test_recorded_epochs_are_early_ones_and_fifths():
    assert CPU.recorded_epochs == (1, 2, 5, 10, 15, 20, 25)
    assert Schedule("", "cpu", 3, 1, 1, None, ("0",)).recorded_epochs == (1, 2, 3)


@pytest.mark.parametrize("schedule", [CPU, GPU], ids=lambda one: one.name)
def test_crossval_takes_the_run_list(schedule):
    arguments = build_parser().parse_args(schedule.crossval_arguments(MODELS.values(), 2))
    assert arguments.trainers == list(MODELS.values())
    assert arguments.configurations == [schedule.configuration]
    assert arguments.folds == list(schedule.folds)
    assert arguments.device == schedule.device


def test_a_smaller_batch_is_a_configuration_that_inherits(tmp_path):
    plans = {"configurations": {"3d_fullres": {"batch_size": 9}}, "plans_name": "nnUNetPlans"}
    path = tmp_path / "nnUNetPlans.json"
    path.write_text(json.dumps(plans))
    add_configuration(CPU, path)
    added = {"inherits_from": "3d_fullres", "batch_size": 2}
    plans["configurations"]["3d_fullres_batch2"] = added
    assert json.loads(path.read_text()) == plans
    before = path.stat().st_mtime_ns
    add_configuration(CPU, path)
    add_configuration(GPU, path)
    assert path.stat().st_mtime_ns == before


def test_controls_have_the_next_seed_and_results_of_their_own(tmp_path, monkeypatch):
    preprocessed = tmp_path / "nnUNet_preprocessed" / DATASET
    (preprocessed / "nnUNetPlans_3d_fullres").mkdir(parents=True)
    (preprocessed / "nnUNetPlans.json").write_text('{"configurations": {}}')
    (tmp_path / "nnUNet_raw" / DATASET).mkdir(parents=True)
    (tmp_path / "nnUNet_raw" / DATASET / "dataset.json").write_text("{}")
    runs = []
    monkeypatch.setattr(training, "_run", lambda *run: runs.append(run) or 0)
    assert training.train(CPU, tmp_path / "data", tmp_path, 2) == 0
    (models, first), (controls, second) = runs
    assert set(MODELS.values()) <= set(models)
    again = [word for word in controls if word.endswith("_short")]
    assert again == ["nnUNetTrainer_short", "AttentionUNetTrainer_short"]
    changed = {key for key in second if first.get(key) != second[key]}
    assert changed == {"nnUNet_results", "NNUNET_ATTENTION_SEED"}
    seeds = first["NNUNET_ATTENTION_SEED"], second["NNUNET_ATTENTION_SEED"]
    assert seeds == ("0", "1")


def _summary(dice):
    return {
        "metric_per_case": [
            {
                "prediction_file": f"{case}.nii.gz",
                "metrics": {str(label): {"Dice": value} for label, value in enumerate(values, 1)},
            }
            for case, values in dice.items()
        ]
    }


def test_best_median_and_worst_are_by_the_mean_of_the_labels():
    # Means 0.5, 0.7, 0.65 and 0.9.
    summary = _summary({"a": (0.1, 0.9), "b": (0.7, 0.7), "c": (0.5, 0.8), "d": (0.9, 0.9)})
    assert best_median_worst(summary) == {"best": "d", "median": "c", "worst": "a"}


def test_pictures_for_documents_keep_their_shape_and_colours(tmp_path):
    picture = Image.new("RGBA", (3200, 1000), (10, 20, 30, 255))
    picture.paste((200, 0, 0, 255), (0, 0, 1600, 1000))
    picture.save(tmp_path / "large.png")
    small_copy(tmp_path / "large.png", tmp_path / "new" / "small.png")
    copy = Image.open(tmp_path / "new" / "small.png")
    assert copy.size == (1200, 375)
    pixels = copy.convert("RGB")
    assert pixels.getpixel((100, 190)) == (200, 0, 0)
    assert pixels.getpixel((1100, 190)) == (10, 20, 30)


def test_the_figure_shows_every_label(tmp_path):
    found = _summary({"a": (0.1, 0.9), "b": (0.7, 0.7)})
    draw(
        {"nnU-Net": [found], "Attention U-Net": [found]},
        {"background": 0, "Anterior": 1, "Posterior": 2},
        tmp_path / "dice.png",
    )
    pixels = imread(tmp_path / "dice.png")
    assert pixels.shape[1] > pixels.shape[0]
    assert pixels[..., :3].min() < 0.2
    assert (pixels[0, 0, :3] == 1).all()


def test_the_table_of_runs_lists_models_and_folds():
    run = {"median_epoch_seconds": 12.34, "hours": 0.256, "validation_seconds_per_case": 1.5}
    record = {
        "schedule": vars(CPU),
        "machine": {"kind": "Abacus", "threads": 2, "torch": "2", "nnunetv2": "2.8", "python": "3"},
        "runs": {name: {"0": run} for name in COMPARED},
    }
    first, _, *table = runs_table(record).splitlines()
    assert first == (
        "25 epochs of 30 iterations at batch 2, seed 0 (other seed: 1), folds 0. "
        "Abacus, 2 threads; torch 2, nnunetv2 2.8, Python 3."
    )
    assert table[2] == "| nnU-Net | 0 | 12.3 | 0.26 | 1.50 |"
    assert len(table) == 2 + len(COMPARED)


def test_differences_are_told_from_the_first_model():
    def values(mean):
        return {"n": 3, "mean": mean, "sd": 0.01, "low": mean - 0.1, "high": mean + 0.1}

    def pair(first, second, difference):
        return {
            **{"first": first, "second": second, "mean_difference": difference},
            **{"low": difference - 0.01, "high": difference + 0.03, "wins": 2, "losses": 1},
            **{"n": 3, "zeros": 0, "effect_size": 0.5, "p_value": 0.25, "adjusted_p_value": 0.0001},
        }

    row = {
        **{"metric": "dice", "label": "Anterior"},
        "models": {"A": values(0.8), "B": values(0.75), "C": values(0.9)},
        "comparisons": [pair("A", "B", 0.05), pair("B", "C", -0.15), pair("C", "A", 0.1)],
    }
    board = {"models": ["A", "B", "C"], "rows": [row, {**row, "metric": "iou"}]}
    lines = dice_table(board).splitlines()[2:]
    assert lines == [
        "| Anterior | A | 3 | 0.800 ± 0.010 | [0.700, 0.900] |  |  |  |  |  |",
        # Turned round: what A wins, B loses.
        f"| Anterior | B | 3 | 0.750 ± 0.010 | [0.650, 0.850] | {MINUS}0.050 | "
        f"[{MINUS}0.080, {MINUS}0.040] | 1/0/2 | 0.250 | <0.001 |",
        "| Anterior | C | 3 | 0.900 ± 0.010 | [0.800, 1.000] | +0.100 | [+0.090, +0.130] | 2/0/1 | "
        "0.250 | <0.001 |",
    ]


def test_a_training_of_another_length_is_refused_and_nothing_written(tmp_path):
    work, results = tmp_path / "work", tmp_path / "results"
    raw = work / "nnUNet_raw" / DATASET
    raw.mkdir(parents=True)
    (raw / "dataset.json").write_text('{"labels": {}, "file_ending": ".nii.gz"}')
    for name, epochs in zip(COMPARED, (25, 25, 25, 25, 24), strict=True):
        fold = model_folder(CPU, work, name) / "fold_0"
        (fold / "validation").mkdir(parents=True)
        (fold / "validation" / "summary.json").write_text('{"metric_per_case": []}')
        log = {"epoch_end_timestamps": [1.0] * epochs}
        arguments = {"plans": {}, "configuration": "", "dataset_json": {}}
        checkpoint = {"network_weights": {"layer": torch.ones(1)}, "init_args": arguments}
        checkpoint |= {"trainer_name": COMPARED[name], "logging": log}
        torch.save(checkpoint, fold / "checkpoint_final.pth")
    with pytest.raises(SystemExit, match=r"control.*fold_0 was trained for 24 epochs; wanted 25"):
        collect(CPU, work, results)
    assert not results.exists()


def test_nothing_collected_is_told(tmp_path, capsys):
    assert report(tmp_path) == 2
    assert "collect a run first" in capsys.readouterr().err


@pytest.mark.parametrize("folder", sorted(RESULTS.glob("*/runs.json")), ids=lambda p: p.parent.name)
def test_every_committed_number_comes_from_the_committed_summaries(folder, tmp_path, capsys):
    copy = tmp_path / "results"
    shutil.copytree(folder.parent, copy)
    shutil.rmtree(copy / "leaderboard")
    tables = ("runs.md", "dice.md", "published.md", "published.json")
    for name in tables:
        (copy / name).unlink()
    assert report(copy) == 0
    for name in (*tables, "leaderboard/leaderboard.csv"):
        assert (copy / name).read_text() == (folder.parent / name).read_text()
    ours, theirs = (
        json.loads((one / "leaderboard" / "leaderboard.json").read_text())
        for one in (copy, folder.parent)
    )
    for record in (ours, theirs):
        # When, where and with which versions it was made.
        for key in ("created", "provenance", "sources", "versions"):
            record.pop(key, None)
    assert ours == theirs
