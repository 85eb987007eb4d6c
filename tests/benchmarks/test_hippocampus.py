"""The benchmark with trained models: what is run, and what is told of it."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from PIL import Image
from scipy import stats
from shared_data import HIPPOCAMPUS, NUCLEI, needs

from benchmarks.hippocampus import collecting, training
from benchmarks.hippocampus.__main__ import RESULTS, chosen_runs
from benchmarks.hippocampus.collecting import best_median_worst, collect, small_copy
from benchmarks.hippocampus.reporting import (
    chance,
    dice_table,
    draw,
    gains,
    in_bfloat16,
    report,
    runs_table,
    shown_runs,
    starts_table,
    verdicts,
)
from benchmarks.hippocampus.schedules import (
    CPU,
    GPU,
    SCHEDULES,
    STOCK,
    VARIANTS,
    Schedule,
    training_environment,
)
from benchmarks.hippocampus.training import add_configuration, collected_model, trained_model
from benchmarks.preparation import bring_data
from benchmarks.texts import four_places
from nnunet_attention import trainers
from nnunet_attention.cli.main import build_parser
from nnunet_attention.evaluation.leaderboard import methods
from nnunet_attention.evaluation.leaderboard.tables import MINUS
from nnunet_attention.evaluation.statistics.equivalence import equivalence
from nnunet_attention.evaluation.statistics.estimates import over_units
from nnunet_attention.evaluation.statistics.repeats import Layout, mean_over_repeats
from nnunet_attention.nnunet.lookups import find_trainer
from nnunet_attention.nnunet.schedules import short_schedule
from nnunet_attention.nnunet.seeds import seed_from
from nnunet_attention.trainers import AttentionUNetTrainer_short

each_schedule = pytest.mark.parametrize(
    "schedule", SCHEDULES.values(), ids=lambda schedule: schedule.name
)
MACHINE = {"kind": "Abacus", "threads": 2, "torch": "2", "nnunetv2": "2.8", "python": "3"}


@each_schedule
def test_every_run_gets_the_same_schedule_and_its_seed(schedule):
    for variant, seed in schedule.runs:
        variables = training_environment(schedule, VARIANTS[variant], seed, {})
        assert short_schedule(variables["NNUNET_ATTENTION_SHORT_SCHEDULE"]) == (
            schedule.epochs,
            schedule.iterations,
            schedule.validation_iterations,
        )
        assert seed_from(variables["NNUNET_ATTENTION_SEED"]) == seed
        assert VARIANTS[variant].trainer in [*trainers.__all__, "PacedAttentionUNetTrainer_short"]


@each_schedule
def test_every_run_has_a_stock_run_of_the_same_seed(schedule):
    assert len(set(schedule.runs)) == len(schedule.runs)
    assert {(STOCK.folder, seed) for _, seed in schedule.runs} <= set(schedule.runs)


def test_recorded_epochs_are_early_ones_and_fifths():
    assert CPU.recorded_epochs == (1, 2, 5, 10, 15, 20, 25)
    three = Schedule("", "", "cpu", 3, 1, 1, None, ("0",), ())
    assert three.recorded_epochs == (1, 2, 3)


@each_schedule
def test_crossval_takes_the_run_list(schedule):
    for variant in VARIANTS.values():
        arguments = build_parser().parse_args(schedule.crossval_arguments(variant, 2))
        assert arguments.trainers == [variant.trainer]
        assert arguments.plans == [variant.plans]
        assert arguments.configurations == [schedule.configuration]
        assert arguments.folds == list(schedule.folds)
        assert arguments.device == schedule.device


def test_nnunet_finds_a_trainer_that_is_not_the_packages(monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", "/their/own")
    variables = training_environment(CPU, VARIANTS["paced"], 0)
    first, second = variables["nnUNet_extTrainer"].split(os.pathsep)
    assert second == "/their/own"
    monkeypatch.setenv("nnUNet_extTrainer", first)
    assert find_trainer("PacedAttentionUNetTrainer_short").__mro__[1] is AttentionUNetTrainer_short
    assert "nnUNet_extTrainer" not in training_environment(CPU, STOCK, 0, {})


def test_runs_are_chosen_by_variant_and_seed():
    assert chosen_runs(CPU, ["open", "stock"], [1]) == [("stock", 1), ("open", 1)]
    assert chosen_runs(CPU, None, None) == list(CPU.runs)


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


def _empty_work(tmp_path):
    preprocessed = tmp_path / "nnUNet_preprocessed" / CPU.dataset
    (preprocessed / "nnUNetPlans_3d_fullres").mkdir(parents=True)
    (preprocessed / "nnUNetPlans.json").write_text('{"configurations": {}}')
    (tmp_path / "nnUNet_raw" / CPU.dataset).mkdir(parents=True)
    (tmp_path / "nnUNet_raw" / CPU.dataset / "dataset.json").write_text("{}")


def test_each_seed_has_results_of_its_own_and_variants_have_plans(tmp_path, monkeypatch):
    _empty_work(tmp_path)
    commands = []
    monkeypatch.setattr(training, "run_shown", lambda *run: commands.append(run) or 0)
    runs = [("stock", 0), ("open", 2)]
    assert training.train(CPU, tmp_path / "data", tmp_path, runs, 2) == 0
    (stock, first), (plan, planning), (gates, second) = commands
    assert "nnUNetTrainer_short" in stock
    assert plan[1:2] == ["plan"]
    assert plan[-2:] == ["--gate_start", "open"]
    assert {"AttentionUNetTrainer_short", "OpenGatesPlans"} <= set(gates)
    changed = {key for key in second if first.get(key) != second[key]}
    assert changed == {"nnUNet_results", "NNUNET_ATTENTION_SEED"}
    assert (first["NNUNET_ATTENTION_SEED"], second["NNUNET_ATTENTION_SEED"]) == ("0", "2")
    assert "NNUNET_ATTENTION_SEED" not in planning


def test_what_was_collected_is_not_trained_again(tmp_path, monkeypatch, capsys):
    _empty_work(tmp_path)
    results = tmp_path / "results"
    fold = collected_model(CPU, results, "stock", 1) / "fold_0" / "validation"
    fold.mkdir(parents=True)
    (fold / "summary.json").write_text("{}")
    commands = []
    monkeypatch.setattr(training, "run_shown", lambda *run: commands.append(run) or 0)
    runs = [("stock", 1), ("stock", 2)]
    assert training.train(CPU, tmp_path / "data", tmp_path, runs, 2, results) == 0
    (_, variables) = commands[0]
    assert len(commands) == 1
    assert variables["NNUNET_ATTENTION_SEED"] == "2"
    assert "1 of 2: nnU-Net, seed 1: already collected" in capsys.readouterr().out


@needs(HIPPOCAMPUS)
@pytest.mark.slow
def test_an_empty_folder_is_prepared_although_trainings_have_no_workers(tmp_path, monkeypatch):
    """nnU-Net's planner ends in an error where nnUNet_n_proc_DA is 0."""
    # The training itself is left out.
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    data = tmp_path / HIPPOCAMPUS.name
    for folder in ("imagesTr", "labelsTr"):
        (data / folder).mkdir(parents=True)
        for image in sorted((HIPPOCAMPUS / folder).glob("hippocampus_*.nii.gz"))[:6]:
            shutil.copyfile(image, data / folder / image.name)
    content = json.loads((HIPPOCAMPUS / "dataset.json").read_text())
    names = sorted(path.name for path in (data / "imagesTr").iterdir())
    content["training"] = [
        {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names
    ]
    content["numTraining"], content["test"], content["numTest"] = len(names), [], 0
    (data / "dataset.json").write_text(json.dumps(content))
    commands = []
    run = training.run_shown

    def run_all_but_trainings(command, variables):
        commands.append(command[:2])
        return 0 if "crossval" in command else run(command, variables)

    monkeypatch.setattr(training, "run_shown", run_all_but_trainings)
    work = tmp_path / "work"
    assert training.train(CPU, data, work, [("open", 0)], 2) == 0
    plans = json.loads(
        (work / "nnUNet_preprocessed" / CPU.dataset / "OpenGatesPlans.json").read_text()
    )
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    assert architecture["arch_kwargs"]["gate_start"] == "open"
    assert plans["configurations"]["3d_fullres_batch2"]["batch_size"] == 2
    log = (work / "logs" / "preparation.log").read_text()
    assert log.index("nnUNetv2_convert_MSD_dataset") < log.index("nnUNetv2_plan_and_preprocess")
    assert [command[0] for command in commands] == [
        "nnunet-attention",
        "nnunet-attention",
    ]


@needs(NUCLEI)
def test_a_data_set_in_nnunets_format_is_taken_as_it_is(tmp_path):
    raw = tmp_path / "nnUNet_raw" / NUCLEI.name
    assert bring_data(NUCLEI, raw.parent, {}, tmp_path / "log", 1) == NUCLEI.name
    files = sorted(path.relative_to(NUCLEI) for path in NUCLEI.rglob("*") if path.is_file())
    assert sorted(path.relative_to(raw) for path in raw.rglob("*") if path.is_file()) == files


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
    summary = _summary({"a": (0.1, 0.9), "b": (0.7, 0.7), "c": (0.5, 0.8), "d.1": (0.9, 0.9)})
    assert best_median_worst(summary) == {"best": "d.1", "median": "c", "worst": "a"}


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
        {"nnU-Net": [[found]], "Attention U-Net": [[found]]},
        {"background": 0, "Anterior": 1, "Posterior": 2},
        tmp_path / "dice.png",
    )
    pixels = imread(tmp_path / "dice.png")
    assert pixels.shape[1] > pixels.shape[0]
    assert pixels[..., :3].min() < 0.2
    assert (pixels[0, 0, :3] == 1).all()


def _record(runs):
    run = {"median_epoch_seconds": 12.34, "hours": 0.256, "validation_seconds_per_case": 1.5}
    found = {}
    for variant, seed in runs:
        found.setdefault(variant, {})[str(seed)] = {"0": {**run, "machine": MACHINE}}
    return {"schedule": vars(CPU), "runs": found}


def test_the_table_of_runs_lists_models_seeds_folds_and_machines():
    record = json.loads(json.dumps(_record([("open", 10), ("open", 2), ("stock", 0)])))
    first, _, *table = runs_table(record).splitlines()
    assert first == "25 epochs of 30 iterations at batch 2, fold 0."
    told = "12.3 | 0.26 | 1.50 | Abacus, 2 threads; torch 2, nnunetv2 2.8, Python 3"
    assert table[2:] == [
        f"| nnU-Net | 0 | 0 | {told} |",
        f"| Attention U-Net, open start | 2 | 0 | {told} |",
        f"| Attention U-Net, open start | 10 | 0 | {told} |",
    ]


def test_with_one_training_the_interval_is_that_of_the_paired_t_test():
    differences = np.array([[0.01, -0.02, 0.03, 0.005]])
    found = over_units(differences.mean(axis=0))
    expected = stats.ttest_1samp(differences[0], 0).confidence_interval(0.95)
    assert found.interval() == pytest.approx((expected.low, expected.high), rel=1e-12)
    # By scipy's one-sided tests.
    for margin in (0.005, 0.05):
        below = stats.ttest_1samp(differences[0], -margin, alternative="greater").pvalue
        above = stats.ttest_1samp(differences[0], margin, alternative="less").pvalue
        assert equivalence(found, margin).p_value == pytest.approx(max(below, above), rel=1e-12)
    assert mean_over_repeats(differences, resamples=0) is None


def test_over_seeds_and_cases_by_hand():
    # Means of the seeds 2 and 4, of the cases 2, 3 and 4; nothing is left over but +-0.
    differences = np.array([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])
    # A = 3 * 2 = 6, B = 2 * 1 = 2, E = 0: variance (6 + 2) / 6 and 8 ** 2 / (36 / 1 + 4 / 2).
    found = mean_over_repeats(differences, resamples=0).estimate
    assert found.mean == 3
    assert found.standard_error == pytest.approx((8 / 6) ** 0.5)
    assert found.degrees_of_freedom == pytest.approx(64 / 38)


def test_over_seeds_and_cases_covers_the_truth():
    """Repeated trainings of two equal methods: more than 90 % of the intervals hold zero."""
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        seeds = generator.normal(0, 0.005, (3, 1))
        cases = generator.normal(0, 0.02, (1, 40))
        values = seeds + cases + generator.normal(0, 0.01, (3, 40))
        low, high = mean_over_repeats(values, resamples=0).estimate.interval()
        covered += low <= 0 <= high
    assert 0.90 < covered / 400 < 0.99


def test_differences_are_paired_by_seed_and_case():
    stock = {0: {"a": 0.8, "b": 0.6}, 1: {"a": 0.7, "b": 0.5}, 2: {"a": 0.1, "b": 0.1}}
    ours = {1: {"b": 0.51, "a": 0.73}, 0: {"a": 0.81, "b": 0.59}}
    lines = starts_table({"stock": stock, "open": ours}, {"a": 0, "b": 0}).splitlines()
    row = next(line for line in lines if "open start" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:6] == [
        "Attention U-Net, open start",
        "0, 1",
        "0.6600",
        "+0.0100",
        "+0.0000, +0.0200",
        "1 of 2, 2 of 2",
    ]


def test_each_fold_of_a_seed_is_a_training_of_its_own():
    stock = {0: dict.fromkeys("abcd", 0.5), 1: dict.fromkeys("abcd", 0.5)}
    ours = {
        0: {"a": 0.52, "b": 0.55, "c": 0.52, "d": 0.56},
        1: {"a": 0.56, "b": 0.51, "c": 0.56, "d": 0.52},
    }
    # Not in the order of the cases' names.
    folds = {"a": 0, "c": 0, "b": 1, "d": 1}
    row = next(
        line
        for line in starts_table({"stock": stock, "open": ours}, folds).splitlines()
        if "open start" in line
    )
    differences = np.array([[0.02, 0.02, 0.05, 0.06], [0.06, 0.06, 0.01, 0.02]])
    # The folds' means go up and down by 0.04: a variance of 0.0008 between the two trainings of
    # either, which the means over both folds, 0.0375 twice, do not show.
    between = 2 * 0.5**2 * 0.0008 / 2
    found = mean_over_repeats(differences, Layout(folds=np.array([0, 0, 1, 1])), resamples=0)
    assert found.estimate.standard_error**2 >= between
    low, high = found.estimate.interval()
    assert f"[{low:+.4f}, {high:+.4f}]".replace("-", MINUS) in row
    assert mean_over_repeats(differences, resamples=0).estimate.standard_error ** 2 < between / 2


def test_the_rules_decide_by_the_interval_and_the_gain():
    lower_ends = {"identity": (3, -0.0049), "open": (3, -0.006), "wide": (3, 0)}
    lower_ends["output_transform"] = (2, -0.01)
    identity, opened, transformed, default = verdicts(lower_ends, [0.0021, 0.001, 0.0032])
    assert "is not behind nnU-Net by 0.005 or more, with 3 trainings of each" in identity
    assert "may be behind" in opened
    assert "may be behind nnU-Net by 0.005 or more, with 2 trainings of each" in transformed
    assert "+0.0021 in the mean of 3 seeds" in default
    assert "has to give way as the default" in default
    assert "stays the default" in verdicts(lower_ends, [0.0021, 0.0019, 0.0019])[-1]


def test_one_training_of_each_is_called_neither_behind_nor_not():
    dice = {"stock": {0: {"a": 0.5, "b": 0.6}}, "identity": {0: {"a": 0.51, "b": 0.6001}}}
    table = starts_table(dice, {"a": 0, "b": 0})
    assert "one training" in table
    assert "behind" not in table


def test_the_trainings_of_stock_show_what_chance_does():
    stock = {0: {"a": 0.5, "b": 0.6}, 2: {"a": 0.52, "b": 0.62}, 1: {"a": 0.49, "b": 0.60}}
    assert chance(stock) == [
        "- By chance alone, the mean Dice of nnU-Net with seeds 0, 1, 2 is 0.5500, 0.5450, 0.5700: "
        "up to 0.0250 apart."
    ]
    assert chance({0: stock[0]}) == []


def test_the_leaderboard_compares_what_was_trained_with_all_seeds_of_stock():
    record = _record([("stock", 0), ("stock", 2), ("open", 2), ("open", 0), ("he", 0), ("wide", 2)])
    assert shown_runs(record) == {
        "nnU-Net": ("stock", [0, 2]),
        "Attention U-Net, open start": ("open", [0, 2]),
    }


def test_stocks_pace_is_decided_on_as_another_start_is():
    (line,) = verdicts({}, [], [0.003, 0.002, 0.0011])
    assert line == (
        "- `paced` minus `identity` of the same seed is +0.0020 in the mean of 3 seeds; by the "
        "rule of more than 0.002, it becomes the default."
    )
    assert "it does not become" in verdicts({}, [], [0.002, 0.002, 0.002])[0]


def test_a_training_in_bfloat16_is_compared_with_the_one_in_32_bits():
    cases = "abcd"
    identity = {0: dict.fromkeys(cases, 0.5), 1: dict.fromkeys(cases, 0.9)}
    differences = [0.01, -0.02, 0.03, 0.006]
    rounded = {0: {case: 0.5 + more for case, more in zip(cases, differences, strict=True)}}
    folds = dict.fromkeys(cases, 0)
    (line,) = in_bfloat16({"identity": identity, "bfloat16": rounded}, folds)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    near, far = (
        f"{stats.ttest_1samp(differences, margin, alternative='less').pvalue:.3f}"
        for margin in (0.005, 0.01)
    )
    assert line == (
        "- `bfloat16` minus `identity` of the same seed (in 32 bits) is +0.0065 (seeds 0: "
        f"+0.0065), with an interval over patients of [{four_places(expected.low)}, "
        f"{four_places(expected.high)}]; "
        f"TOST: p {near} within ±0.005, p {far} within ±0.01."
    )
    rounded[1] = {case: 0.9 + more for case, more in zip(cases, differences, strict=True)}
    (line,) = in_bfloat16({"identity": identity, "bfloat16": rounded}, folds)
    assert "(seeds 0, 1: +0.0065, +0.0065), with an interval over patients and seeds of" in line
    assert in_bfloat16({"identity": identity, "open": rounded}, folds) == []


def test_only_the_variant_in_bfloat16_asks_for_it():
    asked = {
        name: training_environment(CPU, variant, 0, {}).get("NNUNET_ATTENTION_CPU_BF16")
        for name, variant in VARIANTS.items()
    }
    assert asked == {name: "1" if name == "bfloat16" else None for name in VARIANTS}


def test_two_seeds_decide_nothing():
    (line,) = verdicts({}, [0.01, 0.02])
    assert line == (
        "- `open` minus `identity` of the same seed is +0.0150 in the mean of 2; the rule for the "
        "default asks for the mean of 3."
    )


def test_open_and_identity_are_paired_by_seed():
    identity = {0: {"a": 0.8, "b": 0.6}, 1: {"a": 0.1, "b": 0.1}, 2: {"a": 0.5, "b": 0.5}}
    opened = {2: {"b": 0.52, "a": 0.54}, 0: {"a": 0.81, "b": 0.59}}
    assert gains({"identity": identity, "open": opened}, "open") == pytest.approx([0, 0.03])
    assert gains({"identity": identity}, "open") == []


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


def _trained(work, variant, seed, epochs=25):
    """What nnU-Net leaves of one fold, with epochs of two seconds."""
    raw = work / "nnUNet_raw" / CPU.dataset
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "dataset.json").write_text('{"labels": {"background": 0}, "file_ending": ".nii.gz"}')
    preprocessed = work / "nnUNet_preprocessed" / CPU.dataset
    preprocessed.mkdir(parents=True, exist_ok=True)
    (preprocessed / "splits_final.json").write_text("[]")
    fold = trained_model(CPU, work, variant, seed) / "fold_0"
    (fold / "validation").mkdir(parents=True)
    summary = _summary({"a": (0.5, 0.7)})
    for case in summary["metric_per_case"]:
        case["reference_file"] = "/home/somebody/a.nii.gz"
    (fold / "validation" / "summary.json").write_text(json.dumps(summary))
    values = dict.fromkeys(
        ("train_losses", "val_losses", "mean_fg_dice", "ema_fg_dice", "lrs"), [0.5] * epochs
    )
    log = {
        "epoch_start_timestamps": [10.0 * number for number in range(epochs)],
        "epoch_end_timestamps": [10.0 * number + 2 for number in range(epochs)],
        **values,
    }
    arguments = {"plans": {}, "configuration": "", "dataset_json": {}}
    checkpoint = {"network_weights": {"layer": torch.ones(1)}, "init_args": arguments}
    checkpoint |= {"trainer_name": VARIANTS[variant].trainer, "logging": log}
    torch.save(checkpoint, fold / "checkpoint_final.pth")
    return fold


def test_a_work_folder_without_a_finished_fold_is_named(tmp_path):
    with pytest.raises(SystemExit, match="work has no finished fold of the schedule nuclei; train"):
        collect(SCHEDULES["nuclei"], tmp_path / "work", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_training_of_another_length_is_refused_and_nothing_written(tmp_path):
    work, results = tmp_path / "work", tmp_path / "results"
    _trained(work, "stock", 0)
    _trained(work, "open", 1, epochs=24)
    with pytest.raises(SystemExit, match=r"seed1.*fold_0 was trained for 24 epochs; wanted 25"):
        collect(CPU, work, results)
    assert not results.exists()


def test_what_is_collected_names_the_machine_of_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(collecting, "machine", lambda device: {"kind": "of the collection"})
    work, results = tmp_path / "work", tmp_path / "results"
    _trained(work, "stock", 0)
    noted = _trained(work, "open", 1)
    (noted / "machine.json").write_text('{"kind": "of the training"}')
    assert collect(CPU, work, results) == 0
    record = json.loads((results / "runs.json").read_text())
    stock, opened = record["runs"]["stock"]["0"]["0"], record["runs"]["open"]["1"]["0"]
    assert stock["median_epoch_seconds"] == 2
    assert stock["hours"] == pytest.approx(50 / 3600)
    assert (stock["machine"], opened["machine"]) == (
        {"kind": "of the collection"},
        {"kind": "of the training"},
    )
    copied = json.loads(
        (collected_model(CPU, results, "open", 1) / "fold_0/validation/summary.json").read_text()
    )
    assert copied["metric_per_case"][0]["reference_file"] == "a.nii.gz"
    # Collected once more elsewhere, the same training keeps its machine.
    monkeypatch.setattr(collecting, "machine", lambda device: {"kind": "another"})
    assert collect(CPU, work, results) == 0
    assert json.loads((results / "runs.json").read_text()) == record


def test_results_of_one_schedule_take_no_runs_of_another(tmp_path):
    work, results = tmp_path / "work", tmp_path / "results"
    _trained(work, "stock", 0)
    assert collect(CPU, work, results) == 0
    before = (results / "runs.json").read_bytes()
    with pytest.raises(SystemExit, match=r"runs.json has runs with iterations 30; these have 31"):
        collect(replace(CPU, iterations=31), work, results)
    assert (results / "runs.json").read_bytes() == before


def test_a_training_notes_its_machine(tmp_path, monkeypatch):
    _empty_work(tmp_path)
    fold = trained_model(CPU, tmp_path, "stock", 1) / "fold_0"

    def run(command, variables):
        fold.mkdir(parents=True)
        return 0

    monkeypatch.setattr(training, "run_shown", run)
    monkeypatch.setattr(training, "machine", lambda device: {"kind": f"a {device.type}"})
    assert training.train(CPU, tmp_path / "data", tmp_path, [("stock", 1)], 2) == 0
    assert json.loads((fold / "machine.json").read_text()) == {"kind": "a cpu"}


def test_nothing_collected_is_told(tmp_path, capsys):
    assert report(tmp_path) == 2
    assert "collect a run first" in capsys.readouterr().err


@pytest.mark.parametrize("folder", sorted(RESULTS.glob("*/runs.json")), ids=lambda p: p.parent.name)
def test_every_committed_number_comes_from_the_committed_summaries(folder, tmp_path, monkeypatch):
    theirs = json.loads((folder.parent / "leaderboard" / "leaderboard.json").read_text())
    # The methods name the versions that computed: those of the record, not of this machine.
    monkeypatch.setattr(
        methods,
        "versions_of",
        lambda *names: {
            name: theirs["versions"][name] for name in ("python", "nnunet-attention", *names)
        },
    )
    copy = tmp_path / "results"
    shutil.copytree(folder.parent, copy)
    shutil.rmtree(copy / "leaderboard")
    tables = ("runs.md", "starts.md", "dice.md", "published.md", "published.json")
    for name in tables:
        (copy / name).unlink()
    assert report(copy) == 0
    for name in (*tables, "leaderboard/leaderboard.csv"):
        assert (copy / name).read_bytes() == (folder.parent / name).read_bytes()
    ours = json.loads((copy / "leaderboard" / "leaderboard.json").read_text())
    for record in (ours, theirs):
        # When, where and with which versions it was made.
        for key in ("created", "provenance", "sources", "versions"):
            record.pop(key, None)
    assert_same_but_for_rounding(ours, theirs)


def assert_same_but_for_rounding(ours, theirs, place=""):
    """The last digits of a number may differ between versions of numpy and scipy."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), place
        for key, value in theirs.items():
            assert_same_but_for_rounding(ours[key], value, f"{place}/{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), place
        for number, value in enumerate(theirs):
            assert_same_but_for_rounding(ours[number], value, f"{place}/{number}")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12, nan_ok=True), place
    else:
        assert ours == theirs, place
