"""The study of where gates help: what is trained and collected, and where gates look."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK
import torch
from ablations import made_up_ablation
from gates_study import rows_of
from PIL import Image

from benchmarks.hippocampus.schedules import WIDE
from benchmarks.preparation import run_shown
from benchmarks.where_gates_help import running
from benchmarks.where_gates_help.__main__ import RESULTS, chosen_parts, main
from benchmarks.where_gates_help.coefficients import (
    APART_BY,
    Coefficients,
    contrast_of_gates,
    contrast_to_distractors,
    read_coefficients,
)
from benchmarks.where_gates_help.collected import add_rows, collected_trainings, read_cases
from benchmarks.where_gates_help.collecting import collect
from benchmarks.where_gates_help.design import (
    ATTENTION,
    MAPPED_CASES,
    PARTS,
    PHANTOM_2D,
    PHANTOM_3D,
    PHANTOMS,
    PILOT,
    REAL_SARCOMA,
    SARCOMA,
    SEEDS,
    SUPERVISED,
    SUPERVISION,
    VALIDATED_CASES,
    WARM,
)
from benchmarks.where_gates_help.phantom import draw
from benchmarks.where_gates_help.pictures import draw_side_by_side
from benchmarks.where_gates_help.pilot import (
    pilot_key,
    pilot_lines,
    pilot_told,
    read_pilot,
    write_pilot,
)
from benchmarks.where_gates_help.places import (
    ablated_folder,
    folders,
    mapped_folder,
    model_folder,
    shifted_folder,
)
from benchmarks.where_gates_help.preparing import (
    check_design,
    note_machines,
    phantom_split,
    prepare,
    start_on_this_machine,
)
from benchmarks.where_gates_help.running import ablate, pilot, write_maps
from nnunet_attention import trainers
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.cli.main import build_parser
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.ablation.outputs import write_ablation
from nnunet_attention.nnunet.folders import RAW_REFERENCES
from nnunet_attention.nnunet.precision import bfloat16_from
from nnunet_attention.nnunet.schedules import short_schedule
from nnunet_attention.nnunet.supervision import (
    Supervision,
    SupervisionRecord,
    supervision_from,
    write_supervision,
)

each_part = pytest.mark.parametrize("part", PARTS.values(), ids=lambda part: part.name)


@each_part
def test_every_network_gets_the_same_schedule_and_the_studys_seeds(part):
    assert short_schedule(part.variables()["NNUNET_ATTENTION_SHORT_SCHEDULE"]) == (
        part.epochs,
        part.iterations,
        1,
    )
    assert supervision_from(part.variables()["NNUNET_ATTENTION_SUPERVISION"]) == SUPERVISION
    assert not bfloat16_from(part.variables()["NNUNET_ATTENTION_CPU_BF16"])
    assert {network.trainer for network in part.networks} <= set(trainers.__all__)
    words = part.crossval_arguments(part.data[0], [n.trainer for n in part.networks], 2)
    arguments = build_parser().parse_args(words)
    assert (arguments.repeats, arguments.seed) == (3, 10 * part.data[0].number)
    assert arguments.configurations == [part.configuration]
    assert arguments.folds == list(part.folds)


@pytest.mark.parametrize("data", PHANTOMS, ids=lambda data: data.title)
def test_the_organs_of_every_phantom_find_room(data):
    shares = [draw(data.recipe, np.random.default_rng(seed)).labels.mean() for seed in range(4)]
    assert np.mean(shares) == pytest.approx(data.recipe.foreground, rel=0.5)


def test_phantoms_have_names_and_numbers_of_their_own():
    assert len({data.dataset for data in PHANTOMS}) == len({d.title for d in PHANTOMS}) == 8
    assert [data.number for data in PHANTOMS] == list(range(61, 69))
    assert WARM.data[0].title == "phantom, 0.5 % foreground, 3 distractors"


def test_the_shells_of_larger_organs_are_fainter_and_out_of_domain_all_are():
    # An ellipsoid, half as high as wide, with 2 % of 16 x 48 x 48 voxels, has a radius of 7.06, and
    # 70 / 7.06 is 9.9; of .2 %, 3.28 and 21.4.
    contrasts = [data.recipe.contrast for data in PHANTOMS]
    assert contrasts == [21.4, 15.7, 12.5, 9.9] * 2
    shifted = [(data.shifted.contrast, data.shifted.noise) for data in PHANTOMS]
    assert shifted == [(17.1, 45.0), (12.6, 45.0), (10.0, 45.0), (7.9, 45.0)] * 2
    assert REAL_SARCOMA.data[0].shifted is None


def test_no_case_of_a_phantom_is_trained_on_and_validated():
    split = phantom_split()
    assert not set(split["train"]) & set(split["val"])
    assert {name: len(names) for name, names in split.items()} == {"train": 20, "val": 60}


def test_parts_are_chosen_by_name_in_the_studys_order(capsys):
    assert [part.name for part in chosen_parts(["warm", "phantom_2d"])] == ["phantom_2d", "warm"]
    assert chosen_parts(None) == list(PARTS.values())
    assert main(["run", "-w", "nowhere", "--only", "warm", "--dry-run"]) == 0
    assert capsys.readouterr().out == "warm: 9 trainings of 300 steps\n"


def passed_pilot():
    return {
        pilot_key(part, data): {"in": 0.7 if data.recipe and data.recipe.distractors else 0.8}
        for part, data in PILOT
    }


def planned(work, data):
    """Lay down what a data set has before its trainings, and a pilot that left room."""
    places = folders(work)
    check_design(PHANTOM_2D, data, work)
    write_pilot(work, passed_pilot())
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


def test_no_setting_of_the_shell_gets_into_the_study(tmp_path, monkeypatch):
    planned(tmp_path, PHANTOMS[0])
    monkeypatch.setenv("NNUNET_ATTENTION_SUPERVISION", "3,0")
    monkeypatch.setenv("NNUNET_ATTENTION_CPU_BF16", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    commands = []
    monkeypatch.setattr(running, "run_shown", lambda *run: commands.append(run) or 3)
    running.run([replace(PHANTOM_2D, data=PHANTOMS[:1])], tmp_path, None, 1)
    ((_, variables),) = commands
    assert variables["NNUNET_ATTENTION_SUPERVISION"] == "0.5,1"
    assert variables["NNUNET_ATTENTION_CPU_BF16"] == "0"
    # Threads that wait do not spin.
    assert (variables["OMP_WAIT_POLICY"], variables["GOMP_SPINCOUNT"]) == ("PASSIVE", "0")


@pytest.mark.parametrize(("dice", "code"), [(0.7, 0), (0.99, 1), (0.45, 1)])
def test_the_pilot_trains_stock_alone_and_tells_whether_there_is_room(
    dice, code, tmp_path, monkeypatch, capsys
):
    data = PHANTOMS[5]
    monkeypatch.setattr(running, "PILOT", ((PHANTOM_2D, data),))
    monkeypatch.setattr("benchmarks.where_gates_help.pilot.PILOT", ((PHANTOM_2D, data),))
    planned(tmp_path, data)
    (tmp_path / "pilot.json").unlink()
    stock = PHANTOM_2D.networks[0]
    fold = model_folder(folders(tmp_path).results, PHANTOM_2D, data, stock) / "fold_0"
    shifted = shifted_folder(tmp_path, PHANTOM_2D, data, stock, 0)
    for folder, value in ((fold / "validation", dice), (shifted, 0.6)):
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"foreground_mean": {"Dice": value}}))
    commands = []
    monkeypatch.setattr(running, "run_shown", lambda *run: commands.append(run[0]) or 0)
    assert pilot([PHANTOM_2D], tmp_path, None, 1) == code
    told = capsys.readouterr().out
    assert f"a mean Dice of {dice:.4f}, {'outside of' if code else 'within'} 0.5 to 0.98" in told
    assert "3 distractors, out of domain: nnU-Net has a mean Dice of 0.6000, within" in told
    assert [command[1] for command in commands] == ["crossval", "predict", "evaluate"]
    arguments = build_parser().parse_args(commands[0][1:])
    assert arguments.trainers == ["nnUNetTrainer_short"]
    assert (arguments.repeats, arguments.seed, arguments.folds) == (1, 660, ["0"])
    assert read_pilot(tmp_path) == {"phantom_2d Dataset066_Distractors": {"in": dice, "out": 0.6}}


def test_nothing_is_trained_before_the_pilot_has_left_room(tmp_path, monkeypatch):
    planned(tmp_path, PHANTOMS[0])
    commands = []
    monkeypatch.setattr(running, "run_shown", lambda *run: commands.append(run) or 3)
    outcomes = passed_pilot()
    del outcomes[pilot_key(PHANTOM_3D, PHANTOMS[5])]
    # Not lower by 0.05 than without distractors.
    outcomes[pilot_key(PHANTOM_2D, PHANTOMS[7])] = {"in": 0.76}
    write_pilot(tmp_path, outcomes)
    for part, line in (
        (PHANTOM_2D, "phantom_2d, phantom, 2 % foreground, 3 distractors: 0.0400 lower than"),
        (PHANTOM_3D, "phantom_3d, phantom, 0.5 % foreground, 3 distractors: not trained yet"),
    ):
        with pytest.raises(CommandError, match=line):
            running.run([part], tmp_path, None, 1)
    assert commands == []
    assert all(fine for _, fine in pilot_lines(REAL_SARCOMA, outcomes))
    told = pilot_told(outcomes)
    assert told.count("(**not as wanted**)") == 1
    assert "3 distractors: not trained yet.\n" in told


@pytest.mark.parametrize("name", ["Dataset066_Distractors", "phantom_2d"])
def test_a_folder_of_another_design_is_refused(name, tmp_path):
    data = WARM.data[0]
    planned(tmp_path, data)
    record = tmp_path / "designs" / f"{name}.json"
    changed = json.loads(record.read_text().replace("20", "21").replace("12", "13"))
    record.write_text(json.dumps(changed))
    with pytest.raises(CommandError, match=rf"{name}\.json: .* than the study wants now"):
        prepare(PHANTOM_2D, data, tmp_path, None, 1)


def test_nothing_is_predicted_in_a_folder_of_another_design(tmp_path, capsys):
    data = WARM.data[0]
    planned(tmp_path, data)
    record = tmp_path / "designs" / f"{data.dataset}.json"
    record.write_text(record.read_text().replace("15.7", "20.0"))
    part = replace(PHANTOM_2D, data=(data,))
    assert exit_code_of("it", lambda: running.run([part], tmp_path, None, 1, ["predictions"])) == 1
    assert "were drawn otherwise" in capsys.readouterr().err


def test_images_of_which_nothing_tells_how_they_were_drawn_are_refused(tmp_path):
    planned(tmp_path, PHANTOMS[0])
    (tmp_path / "designs" / f"{PHANTOMS[0].dataset}.json").unlink()
    with pytest.raises(CommandError, match="were drawn otherwise"):
        prepare(PHANTOM_2D, PHANTOMS[0], tmp_path, None, 1)


def test_a_fold_belongs_to_the_machine_of_the_last_start(tmp_path, monkeypatch):
    def start_on(kind):
        monkeypatch.setattr("benchmarks.where_gates_help.preparing.machine", lambda _: kind)
        start_on_this_machine(tmp_path)

    folds = [tmp_path / "nnUNet_results" / "repeats" / "model" / f"fold_{n}" for n in range(2)]
    start_on({"kind": "first"})
    folds[0].mkdir(parents=True)
    # The run is killed, and goes on elsewhere.
    start_on({"kind": "second"})
    folds[1].mkdir()
    note_machines(tmp_path)
    kinds = [json.loads((fold / "machine.json").read_text())["kind"] for fold in folds]
    assert kinds == ["first", "second"]


def test_the_same_cases_have_maps_and_an_ablation(tmp_path, monkeypatch):
    data, places = PHANTOMS[0], folders(tmp_path)
    images = places.raw_dataset(data.dataset) / "imagesTr"
    images.mkdir(parents=True)
    for names in phantom_split().values():
        for name in names:
            (images / f"{name}_0000.nii.gz").touch()
    seen = []

    def look(command, variables):
        arguments = build_parser().parse_args(command[1:])
        seen.append((command[1], sorted(path.name for path in arguments.images.iterdir())))
        arguments.output.mkdir(parents=True)
        (arguments.output / "ablation.json").write_text("{}")
        return 0

    monkeypatch.setattr(running, "run_shown", look)
    outputs = [
        folder(tmp_path, PHANTOM_2D, data, SUPERVISED) for folder in (mapped_folder, ablated_folder)
    ]
    for _ in range(2):
        for do, output in zip((write_maps, ablate), outputs, strict=True):
            do(tmp_path / "model", PHANTOM_2D, data, places, output, {})
    # The second time nothing is missing.
    assert [name for name, _ in seen] == ["maps", "ablate"]
    wanted = [f"distractors_{n:03d}_0000.nii.gz" for n in range(21, 21 + MAPPED_CASES)]
    assert seen[0][1] == seen[1][1] == wanted
    assert MAPPED_CASES < VALIDATED_CASES
    assert [path for path in tmp_path.rglob("*images") if path != images] == []


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
            assert command[command.index("--seed") + 1] == str(1660 + seed)
            assert variables["nnUNet_results"].endswith(f"seed_{seed}")
        assert "nnUNetTrainer_short" in stock[0]
        assert "AttentionUNetSupervisedTrainer_short" in gated[0]


def test_a_warm_start_without_a_stock_network_says_what_to_train(tmp_path, capsys):
    planned(tmp_path, WARM.data[0])
    assert exit_code_of("it", lambda: running.run([WARM], tmp_path, None, 1)) == 1
    assert "run --only phantom_2d first" in capsys.readouterr().err


def test_a_command_that_fails_ends_the_run_with_its_code(tmp_path, monkeypatch):
    planned(tmp_path, PHANTOMS[0])
    monkeypatch.setattr(running, "run_shown", lambda *run: 3)
    part = replace(PHANTOM_2D, data=PHANTOMS[:1])
    assert running.run([part], tmp_path, None, 1) == 3


def test_predictions_alone_are_of_the_trainings_that_are_finished(tmp_path, monkeypatch, capsys):
    data = PHANTOMS[0]
    planned(tmp_path, data)
    part = replace(PHANTOM_2D, data=(data,))
    finished = model_folder(
        folders(tmp_path).results / "repeats" / "repeat_2", part, data, ATTENTION
    )
    (finished / "fold_0" / "validation").mkdir(parents=True)
    (finished / "fold_0" / "validation" / "summary.json").touch()
    commands = []
    monkeypatch.setattr(running, "run_shown", lambda *run: commands.append(run[0]) or 0)
    assert running.run([part], tmp_path, None, 1, ["predictions"]) == 0
    predict, evaluate = commands
    assert (predict[1], evaluate[1]) == ("predict", "evaluate")
    assert predict[predict.index("-m") + 1] == str(finished)
    assert capsys.readouterr().out.count("not trained yet") == 11

    assert running.run([part], tmp_path, None, 1, ["trainings"]) == 0
    assert [command[1] for command in commands[2:]] == ["crossval"]


def test_real_data_that_are_not_given_are_asked_for(tmp_path):
    with pytest.raises(CommandError, match=r"give the folder with Dataset051.* with --data"):
        prepare(REAL_SARCOMA, REAL_SARCOMA.data[0], tmp_path, None, 1)
    with pytest.raises(
        CommandError, match=r"it has no Dataset051_SoftTissueSarcomaCT/dataset\.json"
    ):
        prepare(REAL_SARCOMA, REAL_SARCOMA.data[0], tmp_path, tmp_path, 1)


def test_new_rows_take_the_place_of_those_of_the_same_training(tmp_path):
    data = PHANTOMS[0]
    for dice, seed, fold in ((0.5, 0, 0), (0.6, 1, 0), (0.7, 0, 0), (0.8, 0, 1)):
        key = {"dataset": data.dataset, "network": "stock", "seed": seed, "fold": fold}
        rows = rows_of(data, "stock", seed, [dice]).assign(fold=fold)
        add_rows([rows], [{**key, "machine": {"kind": "Abacus"}}], tmp_path)
    table = pd.read_csv(tmp_path / "cases.csv")
    assert table[["seed", "fold", "dice"]].to_numpy().tolist() == [
        [0, 0, 0.7], [0, 1, 0.8], [1, 0, 0.6]
    ]  # fmt: skip
    trained = json.loads((tmp_path / "trainings.json").read_text())["trainings"]
    assert [(entry["seed"], entry["fold"]) for entry in trained] == [(0, 0), (0, 1), (1, 0)]


def test_a_repeat_is_not_read_before_all_its_folds_are_collected(tmp_path):
    """A cross-validation's networks are compared on all patients, or not at all."""
    place = tmp_path / REAL_SARCOMA.name
    for seed, folds in ((0, range(5)), (1, range(4))):
        for fold in folds:
            rows = rows_of(SARCOMA, "wide", seed, [0.5]).assign(fold=fold)
            key = {"dataset": SARCOMA.dataset, "network": "wide", "seed": seed, "fold": fold}
            add_rows([rows], [key], place)
    assert set(read_cases(tmp_path, REAL_SARCOMA)["seed"]) == {0}
    key = (SARCOMA.dataset, "wide", 1, 3)
    assert key in collected_trainings(tmp_path, REAL_SARCOMA)
    assert (*key[:3], 4) not in collected_trainings(tmp_path, REAL_SARCOMA)


def collect_of(results, part, data, network, seed, folds, domains=("in",)):
    """Write what `collect` leaves of a training."""
    (results / part.name).mkdir(parents=True, exist_ok=True)
    images = {one.dataset: one.images for one in part.data}
    design = {"schedule": part.schedule, "images": images}
    (results / part.name / "design.json").write_text(json.dumps(design))
    for fold in folds:
        rows = pd.concat([rows_of(data, network, seed, [0.5], domain) for domain in domains])
        key = {"dataset": data.dataset, "network": network, "seed": seed, "fold": fold}
        add_rows([rows.assign(fold=fold)], [key], results / part.name)


def test_what_is_collected_is_not_trained_again(tmp_path, monkeypatch):
    data, results = PHANTOMS[0], tmp_path / "results"
    planned(tmp_path, data)
    part = replace(PHANTOM_2D, data=(data,))
    for seed in SEEDS:
        for network in ("stock", "wide", "attention"):
            if (seed, network) != (1, "wide"):
                collect_of(results, part, data, network, seed, [0], ("in", "out"))
    # Whose shifted images are not predicted yet.
    collect_of(results, part, data, "supervised", 0, [0])
    for seed in (1, 2):
        collect_of(results, part, data, "supervised", seed, [0], ("in", "out"))
    commands = []
    monkeypatch.setattr(running, "run_shown", lambda *run: commands.append(run) or 0)
    assert running.run([part], tmp_path, None, 1, ["trainings"], results) == 0
    found = [
        (arguments.trainers, arguments.folds, arguments.repeats, arguments.seed, place.name)
        for command, variables in commands
        for arguments in [build_parser().parse_args(command[1:])]
        for place in [Path(variables["nnUNet_results"])]
    ]
    assert found == [
        (["AttentionUNetSupervisedTrainer_short"], ["0"], 1, 610, "nnUNet_results"),
        ([WIDE.trainer], ["0"], 1, 611, "repeat_2"),
    ]


def test_a_dry_run_counts_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.where_gates_help.__main__.RESULTS", tmp_path)
    collect_of(tmp_path, REAL_SARCOMA, SARCOMA, "attention", 0, [0, 2])
    command = ["run", "-w", str(tmp_path), "--dry-run", "--only", "sarcoma"]
    for line, told in ((command, 60), ([*command, "--missing"], 58)):
        assert main(line) == 0
        assert capsys.readouterr().out == f"sarcoma: {told} trainings of 1200 steps\n"


def test_folds_that_are_collected_are_not_trained_again(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "prepare", lambda *of: None)
    results = tmp_path / "results"
    for network in ("stock", "wide"):
        collect_of(results, REAL_SARCOMA, SARCOMA, network, 0, [0, 1, 2, 3, 4])
    collect_of(results, REAL_SARCOMA, SARCOMA, "attention", 0, [0, 2])
    # The pilot of another machine counts.
    write_pilot(results, passed_pilot())
    commands = []
    monkeypatch.setattr(running, "run_shown", lambda *run: commands.append(run[0]) or 0)
    assert running.run([REAL_SARCOMA], tmp_path, None, 1, results=results) == 0
    found = [build_parser().parse_args(command[1:]) for command in commands]
    assert [(one.trainers, one.folds) for one in found[:2]] == [
        ([ATTENTION.trainer], ["1", "3", "4"]),
        ([SUPERVISED.trainer], ["0", "1", "2", "3", "4"]),
    ]
    assert len(found) == 2 + 2 * len(REAL_SARCOMA.networks)
    with pytest.raises(CommandError, match="not trained yet"):
        running.run([REAL_SARCOMA], tmp_path, None, 1)


def test_results_of_another_design_are_not_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "run_shown", lambda *run: 3)
    results = tmp_path / "results"
    collect_of(results, PHANTOM_2D, PHANTOMS[0], "stock", 0, [0], ("in", "out"))
    (results / PHANTOM_2D.name / "design.json").write_text("{}")
    with pytest.raises(CommandError, match="results of another design"):
        running.run([PHANTOM_2D], tmp_path, None, 1, results=results)


def test_of_a_warm_start_only_what_is_not_collected_is_trained(tmp_path, monkeypatch):
    data, results = WARM.data[0], tmp_path / "results"
    planned(tmp_path, data)
    for network in WARM.networks:
        for seed in SEEDS:
            if (network, seed) != (ATTENTION, 2):
                collect_of(results, WARM, data, network.folder, seed, [0])
    with pytest.raises(CommandError, match=r"phantom_2d first, without --missing"):
        running.run([WARM], tmp_path, None, 1, results=results)
    model = model_folder(
        folders(tmp_path).results / "repeats" / "repeat_3", WARM, data, WARM.networks[0]
    )
    (model / "fold_0").mkdir(parents=True)
    (model / "fold_0" / "checkpoint_final.pth").touch()
    commands = []
    monkeypatch.setattr(running, "run_shown", lambda *run: commands.append(run[0]) or 0)
    assert running.run([WARM], tmp_path, None, 1, results=results) == 0
    assert [command[1] for command in commands] == ["upgrade", "crossval"]
    assert build_parser().parse_args(commands[1][1:]).trainers == [ATTENTION.trainer]


def trained(work, epochs, network=PHANTOM_2D.networks[0]):
    """One training of the study as nnU-Net leaves it: a summary of one case, and a checkpoint."""
    data = PHANTOMS[0]
    check_design(PHANTOM_2D, data, work)
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
        "train_losses": [np.float32(0.5)] * epochs,
        "mean_fg_dice": [0.25] * epochs,
    }
    (fold / "machine.json").write_text(json.dumps({"kind": "Abacus"}))
    torch.save(
        {
            **{"network_weights": {"layer": torch.ones(1)}, "trainer_name": network.trainer},
            "init_args": {"plans": {}, "configuration": "", "dataset_json": {}},
            "logging": log,
        },
        fold / "checkpoint_final.pth",
    )
    return fold


def test_what_is_finished_is_collected(tmp_path, capsys):
    trained(tmp_path / "work", PHANTOM_2D.epochs)
    collect([PHANTOM_2D], tmp_path / "work", tmp_path / "results")
    told = f"phantom_2d: 1 of 96 trainings in {tmp_path / 'work'}; collected: 1\n"
    assert capsys.readouterr().out == told
    (row,) = read_cases(tmp_path / "results", PHANTOM_2D).to_dict("records")
    assert row == {
        **{"dataset": PHANTOMS[0].dataset, "domain": "in", "network": "stock", "seed": 0},
        **{"fold": 0, "case": "a", "label": "target", "reference_voxels": 5},
        **{"prediction_voxels": 4, "dice": 0.66667},
    }
    found = json.loads((tmp_path / "results" / "phantom_2d" / "trainings.json").read_text())
    (training,) = found["trainings"]
    assert (training["minutes"], training["machine"]) == (6.0, {"kind": "Abacus"})
    assert training["curves"] == {
        **{"train_losses": [0.5] * 12, "val_losses": []},
        **{"mean_fg_dice": [0.25] * 12},
    }
    design = json.loads((tmp_path / "results" / "phantom_2d" / "design.json").read_text())
    assert design["schedule"]["epochs"] == 12
    assert design["images"][PHANTOMS[5].dataset]["recipe"]["distractors"] == 3


def test_a_pilot_is_added_to_those_of_other_folders(tmp_path, capsys):
    kept = {"sarcoma Dataset051_SoftTissueSarcomaCT": {"in": 0.6}}
    found = {pilot_key(PHANTOM_2D, PHANTOMS[5]): {"in": 0.8, "out": 0.7}}
    work, results = tmp_path / "work", tmp_path / "results"
    results.mkdir()
    work.mkdir()
    write_pilot(results, kept)
    write_pilot(work, found)
    collect([WARM], work, results)
    assert read_pilot(results) == {**kept, **found}

    record = work / "designs" / f"{PHANTOMS[5].dataset}.json"
    record.write_text(record.read_text().replace("15.7", "20.0"))
    write_pilot(work, {pilot_key(PHANTOM_2D, PHANTOMS[5]): {"in": 0.9, "out": 0.9}})
    assert exit_code_of("it", lambda: collect([WARM], work, results)) == 1
    assert "were drawn otherwise" in capsys.readouterr().err
    assert read_pilot(results) == {**kept, **found}


def test_collecting_tells_how_much_is_collected_from_all_folders(tmp_path, capsys):
    key = {"dataset": PHANTOMS[1].dataset, "network": "wide", "seed": 2, "fold": 0}
    results = tmp_path / "results"
    add_rows([rows_of(PHANTOMS[1], "wide", 2, [0.5])], [key], results / PHANTOM_2D.name)
    trained(tmp_path / "work", PHANTOM_2D.epochs)
    collect([PHANTOM_2D], tmp_path / "work", results)
    assert capsys.readouterr().out.endswith("; collected: 2\n")


def test_results_of_another_design_are_not_added_to(tmp_path, capsys):
    trained(tmp_path / "work", PHANTOM_2D.epochs)
    design = tmp_path / "results" / "phantom_2d" / "design.json"
    design.parent.mkdir(parents=True)
    design.write_text("{}")
    assert (
        exit_code_of("it", lambda: collect([PHANTOM_2D], tmp_path / "work", tmp_path / "results"))
        == 1
    )
    assert "phantom_2d has results of another design; remove them first" in capsys.readouterr().err
    assert list(design.parent.iterdir()) == [design]


def test_a_training_of_another_length_is_not_collected(tmp_path):
    trained(tmp_path / "work", 3)
    with pytest.raises(SystemExit, match=r"fold_0 was trained for 3 epochs; wanted 12"):
        collect([PHANTOM_2D], tmp_path / "work", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_supervised_training_is_collected_with_its_supervision(tmp_path):
    fold = trained(tmp_path / "work", PHANTOM_2D.epochs, SUPERVISED)
    write_supervision(fold, SupervisionRecord(SUPERVISION))
    collect([PHANTOM_2D], tmp_path / "work", tmp_path / "results")
    found = json.loads((tmp_path / "results" / "phantom_2d" / "trainings.json").read_text())
    assert [entry["supervision"] for entry in found["trainings"]] == ["0.5,1"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, r"fold_0.supervision\.json is missing"),
        (SupervisionRecord(Supervision(2.0, 1)), "with the supervision 2,1 since epoch 0; wanted"),
        (SupervisionRecord(SUPERVISION, 3), "supervision 0.5,1 since epoch 3; wanted 0.5,1"),
    ],
)
def test_a_training_with_another_supervision_is_not_collected(record, message, tmp_path):
    fold = trained(tmp_path / "work", PHANTOM_2D.epochs, SUPERVISED)
    if record is not None:
        write_supervision(fold, record)
    with pytest.raises(SystemExit, match=message):
        collect([PHANTOM_2D], tmp_path / "work", tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_the_verdicts_of_ablate_are_collected_with_their_numbers(tmp_path):
    output = ablated_folder(tmp_path / "work", PHANTOM_2D, PHANTOMS[0], SUPERVISED)
    output.mkdir(parents=True)
    numbers = {"mean_difference": -0.1234567, "low": -0.2, "high": None, "adjusted_p_value": 0.01}
    effect = {"gates": "0", "label": "target", "replacement": "mean", "metric": "dice"}
    others = {"replacement": "uniform", "mean_difference": 1.0}
    verdict = {"gates": "0", "label": "target", "verdict": "matters", "sentence": "gate 0 matters",
               "replacement": "mean", "idle_p_value": 0.9}  # fmt: skip
    record = {
        "effects": [{**effect, **numbers, **others}, {**effect, **numbers}],
        "verdicts": [verdict],
        "settings": {"cases": 12},
    }
    (output / "ablation.json").write_text(json.dumps(record))
    collect([PHANTOM_2D], tmp_path / "work", tmp_path / "results")
    found = json.loads((tmp_path / "results" / "phantom_2d" / "ablations.json").read_text())
    assert found == {
        PHANTOMS[0].dataset: {
            "supervised": {
                "cases": 12,
                "verdicts": [
                    {
                        **{"gates": "0", "verdict": "matters", "replacement": "mean"},
                        **{"mean_difference": -0.12346, "low": -0.2, "high": None},
                        **{"adjusted_p_value": 0.01, "idle_p_value": 0.9},
                    }
                ],
            }
        }
    }


def test_what_ablate_writes_today_is_collected(tmp_path):
    output = ablated_folder(tmp_path / "work", PHANTOM_2D, PHANTOMS[0], ATTENTION)
    write_ablation(made_up_ablation(), output)
    collect([PHANTOM_2D], tmp_path / "work", tmp_path / "results")
    found = json.loads((tmp_path / "results" / "phantom_2d" / "ablations.json").read_text())
    of_network = found[PHANTOMS[0].dataset]["attention"]
    kinds = {one["gates"]: (one["verdict"], one["replacement"]) for one in of_network["verdicts"]}
    assert kinds == {"0": ("matters", "mean"), "1": ("idle", "mean")}
    # 0.05, and 0.001 more for each of twelve cases.
    assert of_network["verdicts"][0]["mean_difference"] == pytest.approx(-0.0555)
    assert of_network["cases"] == 12


def test_one_picture_shows_the_maps_of_both_networks(tmp_path):
    """The second network's map is bright where the first one's is dark."""
    raw = tmp_path / "raw"
    write_image(raw / "imagesTr" / "a_0000.nii.gz", np.zeros((3, 8, 8)))
    reference = np.zeros((3, 8, 8), np.uint8)
    reference[1, 2:5, 2:5] = 1
    write_image(raw / "labelsTr" / "a.nii.gz", reference)
    labels = {"background": 0, "target": 1}
    (raw / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".nii.gz"}))
    mapped = {}
    for value, network in enumerate((ATTENTION, SUPERVISED)):
        mapped[network.name] = tmp_path / network.folder
        for gate in ("gate_0", "gate_1", "mean"):
            path = mapped[network.name] / "maps" / "a" / f"{gate}.nii.gz"
            write_image(path, np.full((3, 8, 8), float(value)))
    draw_side_by_side(raw, mapped, tmp_path / "new" / "picture.png")
    picture = Image.open(tmp_path / "new" / "picture.png").convert("L")
    width, height = picture.size
    # Two rows of gates; three columns, and a bar of colours at the right.
    for row in (0.3, 0.75):
        shades = [picture.getpixel((int(x * width), int(row * height))) for x in (0.45, 0.75)]
        assert shades[0] < 60 < 200 < shades[1]


def write_image(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))


def test_the_contrast_of_a_gate_is_the_mean_over_cases():
    found = [
        Coefficients("a", "gate_0", 0.9, 0.1, 0.8),
        Coefficients("b", "gate_0", 0.7, 0.3, 0.4),
        Coefficients("a", "gate_1", 0.5, 0.5),
    ]
    assert contrast_of_gates(found) == pytest.approx({"gate_0": 0.6, "gate_1": 0.0})
    assert contrast_to_distractors(found) == pytest.approx({"gate_0": 0.2})


def test_coefficients_are_read_on_the_target_elsewhere_and_on_distractors(tmp_path):
    reference, others = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), bool)
    reference[0, 1, 2], others[1, 2, 0] = 1, True
    values = np.zeros((2, 3, 4))
    values[0, 1, 2], values[1, 2, 0] = 0.9, 0.7
    write_image(tmp_path / "labels" / "a.nii.gz", reference)
    write_image(tmp_path / "out" / "maps" / "a" / "gate_0.nii.gz", values)
    (found,) = read_coefficients(
        tmp_path / "out", tmp_path / "labels", ".nii.gz", {"a": others}.get
    )
    assert (found.inside, found.distractors) == pytest.approx((0.9, 0.7))
    assert found.outside == pytest.approx(0.7 / 23)


def test_the_finer_supervised_gate_and_the_mean_are_apart_by_half_in_every_committed_training():
    of_data = json.loads((RESULTS / PHANTOM_2D.name / "coefficients.json").read_text())
    assert sorted(of_data) == [data.dataset for data in PHANTOMS]
    for contrasts in of_data.values():
        of_gates = contrasts["supervised"]["outside"]
        assert min(of_gates["gate_1"], of_gates["mean"]) >= APART_BY


@pytest.mark.exhaustive
def test_supervised_coefficients_of_unseen_cases_are_apart_by_half(tmp_path):
    """One training of the study, on the phantom of 1 % foreground among three look-alikes."""
    data = PHANTOMS[6]
    assert (data.recipe.foreground, data.recipe.distractors) == (0.01, 3)
    prepare(PHANTOM_2D, data, tmp_path, None, 1)
    start_on_this_machine(tmp_path)
    places = folders(tmp_path)
    variables = {**os.environ, **places.variables, **PHANTOM_2D.variables()}
    arguments = PHANTOM_2D.crossval_arguments(data, [SUPERVISED.trainer], 1, repeats=1)
    assert run_shown(["nnunet-attention", *arguments], variables) == 0
    output = mapped_folder(tmp_path, PHANTOM_2D, data, SUPERVISED)
    model = model_folder(places.results, PHANTOM_2D, data, SUPERVISED)
    write_maps(model, PHANTOM_2D, data, places, output, variables)
    ablate(model, PHANTOM_2D, data, places, ablated_folder(tmp_path, PHANTOM_2D, data, SUPERVISED),
           variables)  # fmt: skip
    collect([PHANTOM_2D], tmp_path, tmp_path / "results")
    ablations = json.loads((tmp_path / "results" / "phantom_2d" / "ablations.json").read_text())
    verdicts = ablations[data.dataset]["supervised"]["verdicts"]
    assert [verdict["gates"] for verdict in verdicts] == ["0", "1", "all"]
    references = places.raw_dataset(data.dataset) / RAW_REFERENCES
    contrasts = contrast_of_gates(read_coefficients(output, references, ".nii.gz"))
    assert sorted(contrasts) == ["gate_0", "gate_1", "mean"]
    assert min(contrasts["gate_1"], contrasts["mean"]) >= APART_BY, contrasts
