"""The study of where gates help: what is trained, what is told of it, and where gates look."""

import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from benchmarks.preparation import run_shown
from benchmarks.where_gates_help import running
from benchmarks.where_gates_help.__main__ import chosen_parts, main
from benchmarks.where_gates_help.coefficients import (
    APART_BY,
    Coefficients,
    contrast_of_gates,
    read_coefficients,
)
from benchmarks.where_gates_help.collecting import COLUMNS, add_rows, collect, read_cases
from benchmarks.where_gates_help.design import (
    HIPPOCAMPUS,
    PARTS,
    PHANTOM_2D,
    PHANTOMS,
    REAL_SARCOMA,
    SEEDS,
    SUPERVISED,
    WARM,
)
from benchmarks.where_gates_help.phantom import draw_image
from benchmarks.where_gates_help.reporting import (
    Difference,
    corrected,
    differences,
    differences_table,
    recommendation,
    report,
    rules,
    slope_over_sizes,
    strata_table,
)
from benchmarks.where_gates_help.running import (
    folders,
    mapped_folder,
    model_folder,
    phantom_split,
    prepare,
    write_maps,
)
from nnunet_attention import trainers
from nnunet_attention.cli.main import build_parser
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.tables import MINUS
from nnunet_attention.evaluation.statistics.estimates import Estimate
from nnunet_attention.nnunet.folders import RAW_REFERENCES
from nnunet_attention.trainers.short import short_schedule

each_part = pytest.mark.parametrize("part", PARTS.values(), ids=lambda part: part.name)


@each_part
def test_every_network_gets_the_same_schedule_and_the_studys_seeds(part):
    assert short_schedule(part.variables()["NNUNET_ATTENTION_SHORT_SCHEDULE"]) == (
        part.epochs,
        part.iterations,
        1,
    )
    assert {network.trainer for network in part.networks} <= set(trainers.__all__)
    words = part.crossval_arguments(part.data[0], [n.trainer for n in part.networks], 2)
    arguments = build_parser().parse_args(words)
    assert (arguments.repeats, arguments.seed) == (3, 0)
    assert arguments.configurations == [part.configuration]
    assert arguments.folds == list(part.folds)


@pytest.mark.parametrize("data", PHANTOMS, ids=lambda data: data.title)
def test_the_organs_of_every_phantom_find_room(data):
    shares = [draw_image(data.recipe, np.random.default_rng(seed))[1].mean() for seed in range(4)]
    assert np.mean(shares) == pytest.approx(data.recipe.foreground, rel=0.5)


def test_phantoms_have_names_and_numbers_of_their_own():
    assert len({data.dataset for data in PHANTOMS}) == len({d.title for d in PHANTOMS}) == 8
    assert [data.number for data in PHANTOMS] == list(range(61, 69))
    assert WARM.data[0].title == "phantom, 0.5 % foreground, 3 distractors"


def test_no_case_of_a_phantom_is_trained_on_and_validated():
    split = phantom_split()
    assert not set(split["train"]) & set(split["val"])
    assert {len(names) for names in split.values()} == {20}


def test_parts_are_chosen_by_name_in_the_studys_order(capsys):
    assert [part.name for part in chosen_parts(["warm", "phantom_2d"])] == ["phantom_2d", "warm"]
    assert chosen_parts(None) == list(PARTS.values())
    assert main(["run", "-w", "nowhere", "--only", "warm", "--dry-run"]) == 0
    assert capsys.readouterr().out == "warm: 9 trainings of 300 steps\n"


def planned(work, data):
    """Lay down what a data set has before its trainings."""
    places = folders(work)
    places.raw_dataset(data.dataset).mkdir(parents=True)
    places.raw_dataset_json(data.dataset).write_text("{}")
    plans = places.plans(data.dataset, "nnUNetPlans")
    plans.parent.mkdir(parents=True)
    architecture = {"network_class_name": "Net", "arch_kwargs": {"features_per_stage": [32, 64]}}
    plans.write_text(json.dumps({"configurations": {"2d": {"architecture": architecture}}}))
    return plans


def test_a_part_is_trained_with_half_the_channels_and_a_split_of_its_own(tmp_path):
    data = WARM.data[0]
    plans = planned(tmp_path, data)
    prepare(PHANTOM_2D, data, tmp_path, None, 1)
    assert json.loads(plans.read_text())["configurations"]["2d_half"] == {
        "inherits_from": "2d",
        "batch_size": 8,
        "architecture": {
            "network_class_name": "Net",
            "arch_kwargs": {"features_per_stage": [16, 32]},
        },
    }
    assert json.loads(folders(tmp_path).splits(data.dataset).read_text()) == [phantom_split()]


def test_a_warm_start_goes_on_from_the_stock_network_of_its_seed(tmp_path, monkeypatch):
    planned(tmp_path, WARM.data[0])
    for repeat in ("", "repeats/repeat_2", "repeats/repeat_3"):
        model = model_folder(
            folders(tmp_path).results / repeat, WARM, WARM.data[0], WARM.networks[0]
        )
        (model / "fold_0").mkdir(parents=True)
        (model / "fold_0" / "checkpoint_final.pth").touch()
    commands = []
    monkeypatch.setattr(running, "run_shown", lambda *run: commands.append(run) or 0)
    assert running.run([WARM], tmp_path, None, 1) == 0
    assert [command[1] for command, _ in commands] == ["upgrade", "crossval", "crossval"] * 3
    for repeat, seed in enumerate(SEEDS, 1):
        upgrade, stock, gated = commands[3 * (repeat - 1) : 3 * repeat]
        plain = upgrade[0][2]
        assert (f"repeat_{repeat}" in plain) == (repeat > 1)
        assert stock[0][-2:] == ["-pretrained_weights", plain]
        assert gated[0][-1] == upgrade[0][4]
        for command, variables in (stock, gated):
            assert command[command.index("--seed") + 1] == str(1000 + seed)
            assert variables["nnUNet_results"].endswith(f"seed_{seed}")
        assert "nnUNetTrainer_short" in stock[0]
        assert "AttentionUNetSupervisedTrainer_short" in gated[0]


def test_a_warm_start_without_a_stock_network_says_what_to_train(tmp_path, capsys):
    planned(tmp_path, WARM.data[0])
    assert running.run([WARM], tmp_path, None, 1) == 1
    assert "run --only phantom_2d first" in capsys.readouterr().err


def test_a_command_that_fails_ends_the_run_with_its_code(tmp_path, monkeypatch):
    planned(tmp_path, PHANTOMS[0])
    monkeypatch.setattr(running, "run_shown", lambda *run: 3)
    part = replace(PHANTOM_2D, data=PHANTOMS[:1])
    assert running.run([part], tmp_path, None, 1) == 3


def test_real_data_that_are_not_given_are_asked_for(tmp_path):
    with pytest.raises(CommandError, match=r"give the folder with Dataset051.* with --data"):
        prepare(REAL_SARCOMA, REAL_SARCOMA.data[0], tmp_path, None, 1)
    with pytest.raises(
        CommandError, match=r"it has no Dataset051_SoftTissueSarcomaCT/dataset\.json"
    ):
        prepare(REAL_SARCOMA, REAL_SARCOMA.data[0], tmp_path, tmp_path, 1)


def rows_of(data, network, seed, dice, domain="in", voxels=50):
    return pd.DataFrame(
        [
            {
                **{"dataset": data.dataset, "domain": domain, "network": network, "seed": seed},
                **{"fold": 0, "case": f"c{place:02d}", "label": "target", "dice": value},
                "reference_voxels": voxels + place,
            }
            for place, value in enumerate(dice)
        ]
    )[list(COLUMNS)]


def test_new_rows_take_the_place_of_those_of_the_same_training(tmp_path):
    data = PHANTOMS[0]
    machine = {"machine": {"kind": "Abacus"}}
    for dice, seed in ((0.5, 0), (0.6, 1), (0.7, 0)):
        key = {"dataset": data.dataset, "network": "stock", "seed": seed}
        add_rows([rows_of(data, "stock", seed, [dice])], [{**key, **machine}], tmp_path)
    table = pd.read_csv(tmp_path / "cases.csv")
    assert table[["seed", "dice"]].to_numpy().tolist() == [[0, 0.7], [1, 0.6]]
    trained = json.loads((tmp_path / "trainings.json").read_text())["trainings"]
    assert [entry["seed"] for entry in trained] == [0, 1]


def trained(work, epochs):
    """One training of the study as nnU-Net leaves it: a summary of one case, and a checkpoint."""
    data, network = PHANTOMS[0], PHANTOM_2D.networks[0]
    description = folders(work).raw_dataset_json(data.dataset)
    description.parent.mkdir(parents=True)
    description.write_text(
        json.dumps({"labels": {"background": 0, "target": 1}, "file_ending": ".nii.gz"})
    )
    fold = model_folder(folders(work).results, PHANTOM_2D, data, network) / "fold_0"
    (fold / "validation").mkdir(parents=True)
    counts = {"TP": 3, "FP": 1, "FN": 2, "TN": 10, "n_ref": 5, "n_pred": 4}
    values = {"1": {**counts, "Dice": 6 / 9, "IoU": 0.5}}
    case = {"prediction_file": "a.nii.gz", "reference_file": "a.nii.gz", "metrics": values}
    summary = {"metric_per_case": [case], "mean": values, "foreground_mean": values["1"]}
    (fold / "validation" / "summary.json").write_text(json.dumps(summary))
    log = {
        "epoch_start_timestamps": [60.0 * epoch for epoch in range(epochs)],
        "epoch_end_timestamps": [60.0 * epoch + 30 for epoch in range(epochs)],
    }
    torch.save(
        {
            **{"network_weights": {"layer": torch.ones(1)}, "trainer_name": network.trainer},
            "init_args": {"plans": {}, "configuration": "", "dataset_json": {}},
            "logging": log,
        },
        fold / "checkpoint_final.pth",
    )


def test_what_is_finished_is_collected(tmp_path, capsys):
    trained(tmp_path / "work", PHANTOM_2D.epochs)
    assert collect([PHANTOM_2D], tmp_path / "work", tmp_path / "results") == 0
    assert capsys.readouterr().out == "phantom_2d: 1 of 96 trainings\n"
    (row,) = read_cases(tmp_path / "results", PHANTOM_2D).to_dict("records")
    assert row == {
        **{"dataset": PHANTOMS[0].dataset, "domain": "in", "network": "stock", "seed": 0},
        **{"fold": 0, "case": "a", "label": "target", "reference_voxels": 5, "dice": 0.66667},
    }
    found = json.loads((tmp_path / "results" / "phantom_2d" / "trainings.json").read_text())
    assert [entry["minutes"] for entry in found["trainings"]] == [6.0]


def test_a_training_of_another_length_is_not_collected(tmp_path):
    trained(tmp_path / "work", 3)
    with pytest.raises(SystemExit, match=r"fold_0 was trained for 3 epochs; wanted 12"):
        collect([PHANTOM_2D], tmp_path / "work", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def small_study(gain, data=PHANTOMS[4], spread=0.01, domain="in"):
    """Stock, and a gated network that is better by `gain` on every case, with a little noise."""
    generator = np.random.default_rng(0)
    frames = []
    for seed in SEEDS:
        stock = 0.7 + generator.normal(0, 0.02, 20)
        gated = stock + gain + generator.normal(0, spread, 20)
        frames += [
            rows_of(data, "stock", seed, stock, domain),
            rows_of(data, "attention", seed, gated, domain),
        ]
    return pd.concat(frames, ignore_index=True)


def test_a_difference_is_paired_by_seed_and_case():
    cases = small_study(0.05)
    (row,) = differences(PHANTOM_2D, cases)
    assert (row.first, row.second, row.seeds) == ("attention", "stock", (0, 1, 2))
    table = cases.pivot(index=["seed", "case"], columns="network", values="dice")
    by_hand = (table["attention"] - table["stock"]).groupby("seed").mean()
    assert row.of_seeds == pytest.approx(by_hand.tolist())
    assert row.estimate.mean == pytest.approx(by_hand.mean())
    assert row.verdict == "undecided"
    assert corrected([row])[0].verdict == "better"


@pytest.mark.parametrize(
    ("gain", "spread", "wanted"),
    [(0.05, 0.01, "better"), (-0.05, 0.01, "worse"), (0.0, 0.002, "equivalent"),
     (0.02, 0.15, "undecided")],
)  # fmt: skip
def test_the_verdict_follows_from_the_corrected_p_and_the_margin(gain, spread, wanted):
    rows = corrected(differences(PHANTOM_2D, small_study(gain, spread=spread)))
    assert [row.verdict for row in rows] == [wanted]
    assert differences_table(rows).splitlines()[2].endswith(f"| {wanted} |")


def test_p_values_are_corrected_over_all_rows():
    (row,) = differences(PHANTOM_2D, small_study(0.05))
    alone, twice = corrected([row]), corrected([row, row])
    assert twice[0].adjusted == pytest.approx(2 * alone[0].adjusted)


def test_one_training_alone_is_no_row():
    cases = small_study(0.05)
    assert differences(PHANTOM_2D, cases[cases["seed"] == 0]) == []


def difference(first, second, mean, p, data, *, stock=0.8, domain="in", part="phantom_2d"):
    """A row whose verdict is better, worse or undecided by `mean` and `p`."""
    return Difference(
        **{"part": part, "data": data, "domain": domain, "first": first, "second": second},
        **{"mean": stock + mean, "stock": stock, "seeds": SEEDS, "of_seeds": (mean,) * 3},
        estimate=Estimate(mean, 0.005, 10),
        adjusted=p,
    )


def test_the_slope_is_that_of_least_squares_over_trainings():
    generator = np.random.default_rng(1)
    rows, shares, values = [], [], []
    for data in PHANTOMS[:4]:
        of_seeds = tuple(generator.normal(0, 0.01, 3))
        row = difference("attention", "stock", 0.0, 1.0, data)
        rows.append(replace(row, of_seeds=of_seeds))
        shares += [np.log2(data.recipe.foreground)] * 3
        values += of_seeds
    slope = slope_over_sizes(rows)
    centred = np.array(shares) - np.mean(shares)
    by_hand = (centred * values).sum() / (centred**2).sum()
    residuals = np.array(values) - np.mean(values) - by_hand * centred
    error = np.sqrt((residuals**2).sum() / 10 / (centred**2).sum())
    assert (slope.mean, slope.standard_error) == pytest.approx((by_hand, error))
    half = stats.t.ppf(0.975, 10) * error
    assert slope.interval() == pytest.approx((by_hand - half, by_hand + half))
    assert slope_over_sizes(rows[:2]) is None


def test_thirds_are_by_the_voxels_of_the_reference():
    frames = []
    for seed in SEEDS:
        stock = np.full(9, 0.5)
        # The three smallest structures gain 0.3, the three largest lose 0.1.
        gated = stock + np.repeat([0.3, 0.0, -0.1], 3)
        frames += [rows_of(PHANTOMS[0], "stock", seed, stock, voxels=10)]
        frames += [rows_of(PHANTOMS[0], "attention", seed, gated, voxels=10)]
    empty = pd.DataFrame(columns=list(COLUMNS))
    cases = dict.fromkeys(PARTS, empty) | {"phantom_2d": pd.concat(frames, ignore_index=True)}
    lines = strata_table(cases).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[2:5] for row in cells] == [
        ["smallest third, 10 to 12", "3", "+0.3000"],
        ["middle third, 13 to 15", "3", "+0.0000"],
        ["largest third, 16 to 18", "3", f"{MINUS}0.1000"],
    ]


def complete_study(verdict_of):
    """All rows of the main table; `verdict_of` gives each a mean, by network, other and data."""
    rows = []
    for part in PARTS.values():
        if part.warm:
            continue
        for data in part.data:
            for domain in ("in", "out") if data.recipe else ("in",):
                for first, second in part.comparisons:
                    mean = verdict_of(first, second, data, domain)
                    p = 0.001 if mean else 1.0
                    rows.append(
                        difference(first, second, mean, p, data, domain=domain, part=part.name)
                    )
    return rows


def test_supervision_is_recommended_where_it_is_better_than_stock_and_wide_and_nowhere_worse():
    def helps(first, second, data, domain):
        crowded = data.recipe is not None and data.recipe.distractors > 0
        return 0.05 if first == "supervised" and second != "attention" and crowded else 0.0

    assert "trainer is recommended" in recommendation(complete_study(helps))

    def only_like_wide(first, second, data, domain):
        return helps(first, second, data, domain) if second == "stock" else 0.0

    assert "trainer is not recommended" in recommendation(complete_study(only_like_wide))

    def harms_out_of_domain(first, second, data, domain):
        return (
            -0.05 if domain == "out" and data == PHANTOMS[0] else helps(first, second, data, domain)
        )

    assert "trainer is not recommended" in recommendation(complete_study(harms_out_of_domain))


def test_no_gain_counts_that_is_not_larger_than_the_null_controls():
    def differs(first, second, data, domain):
        if data == HIPPOCAMPUS:
            return 0.06
        return 0.05 if first == "supervised" else 0.0

    rows = complete_study(differs)
    assert "is not recommended" in recommendation(rows)
    assert "up to 0.0600; nothing is claimed from differences that are not larger" in rules(
        rows, []
    )


def test_an_unfinished_study_recommends_nothing():
    rows = complete_study(lambda *which: 0.05)
    assert recommendation(rows[1:]).startswith("Recommendation: not decided yet")


def test_a_ceiling_is_shown_and_not_counted():
    row = difference("attention", "stock", 0.005, 0.001, PHANTOMS[0], stock=0.99)
    assert "does not count" in differences_table([row])
    assert "of 1 rows 0 count" in rules([row], [])


def test_a_report_of_nothing_says_so(tmp_path, capsys):
    assert report(tmp_path) == 0
    assert "nothing was collected yet" in capsys.readouterr().out


def test_a_report_needs_the_collected_files_alone(tmp_path):
    trained = [{"dataset": PHANTOMS[4].dataset, "network": "stock", "seed": 0, "minutes": 1.25,
                "machine": {"kind": "Abacus", "threads": 2, "torch": "2", "nnunetv2": "2.8",
                            "python": "3"}}]  # fmt: skip
    add_rows([small_study(0.05)], trained, tmp_path / "phantom_2d")
    assert report(tmp_path) == 0
    tables = {path.stem: path.read_text() for path in (tmp_path / "tables").iterdir()}
    assert {"phantom_2d", "trainings", "strata", "rules"} == set(tables)
    assert "| better |" in tables["phantom_2d"]
    assert (
        "| phantom_2d | 1 of 96 | 12 epochs of 25 iterations at batch 8 | 1.2 |"
        in (tables["trainings"])
    )


def test_the_contrast_of_a_gate_is_the_mean_over_cases():
    found = [
        Coefficients("a", "gate_0", 0.9, 0.1),
        Coefficients("b", "gate_0", 0.7, 0.3),
        Coefficients("a", "gate_1", 0.5, 0.5),
    ]
    assert contrast_of_gates(found) == pytest.approx({"gate_0": 0.6, "gate_1": 0.0})


@pytest.mark.exhaustive
def test_supervised_coefficients_of_unseen_cases_are_apart_by_half(tmp_path):
    """One training of the study, on the phantom of 1 % foreground among three look-alikes."""
    data = PHANTOMS[6]
    assert (data.recipe.foreground, data.recipe.distractors) == (0.01, 3)
    prepare(PHANTOM_2D, data, tmp_path, None, 1)
    places = folders(tmp_path)
    variables = {**os.environ, **places.variables, **PHANTOM_2D.variables()}
    arguments = PHANTOM_2D.crossval_arguments(data, [SUPERVISED.trainer], 1, repeats=1)
    assert run_shown(["nnunet-attention", *arguments], variables) == 0
    output = mapped_folder(tmp_path, PHANTOM_2D, data, SUPERVISED)
    model = model_folder(places.results, PHANTOM_2D, data, SUPERVISED)
    write_maps(model, PHANTOM_2D, data, places, output, variables)
    references = places.raw_dataset(data.dataset) / RAW_REFERENCES
    contrasts = contrast_of_gates(read_coefficients(output, references, ".nii.gz"))
    assert sorted(contrasts) == ["gate_0", "gate_1", "mean"]
    assert min(contrasts.values()) >= APART_BY, contrasts
