"""What is measured on a GPU and in which order, and what is told of it."""

import itertools
import json
import os
import shutil

import pytest

from benchmarks import documents
from benchmarks.gpu import loading
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.reporting import (
    all_tables,
    kernels_table,
    loading_table,
    means_over_labels,
    merged,
    report,
    tests_table,
    trainings_table,
)
from benchmarks.gpu.stages import (
    GROUPS,
    MODELS,
    ROOT,
    all_stages,
    best_workers,
    choose_epochs,
    dice_of_cases,
    on_gpu,
    read_tests,
    reduced,
    test_files,
)
from benchmarks.gpu.work import Work
from benchmarks.performance import cases
from benchmarks.performance.isolated import WAYS
from benchmarks.performance.variants import ATTENTION, PLAIN, VARIANTS
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.tables import MINUS
from nnunet_attention.nnunet.schedules import SCHEDULE_VARIABLE
from nnunet_attention.nnunet.seeds import VARIABLE as SEED_VARIABLE

# pytest would take it for a test.
test_files.__test__ = False
tests_table.__test__ = False

MACHINE = {
    **{"kind": "Abacus", "threads": 2, "torch": "2", "nnunetv2": "2.8", "python": "3"},
    "device": "cuda",
}


def good(found, seconds=10.0, machine=MACHINE):
    return {"ok": True, "found": found, "machine": machine, "seconds": seconds}


def measured(workers=(2, 4), rates=(10.0, 20.0)):
    finished = {"data": good({"dataset": "Dataset004_Hippocampus", "cases": 260})}
    for number, rate in zip(workers, rates, strict=True):
        found = {"workers": number, "batches_per_second": rate, "cpus": 16}
        finished[f"loading_{number}"] = good(found)
    return finished


def with_epochs(finished):
    for slug, model in (("nnunet", "nnU-Net"), ("attention_unet", "Attention U-Net")):
        finished[f"epoch_{slug}"] = good({"model": model, "epoch_seconds": [60.0, 10.0]}, 100.0)
    return finished


@pytest.fixture
def work(tmp_path):
    return Work(tmp_path)


def names(work, settings, finished):
    return [one.name for one in all_stages(work, settings, finished, 3600.0)]


def test_every_network_of_the_tables_is_in_one_group_and_beside_its_baseline():
    listed = list(itertools.chain.from_iterable(GROUPS.values()))
    assert len(listed) == len(set(listed))
    # The baselines come by themselves, and networks in bfloat16 are for a CPU.
    of_gpu = {one.name for one in VARIANTS if not one.bfloat16}
    assert of_gpu - set(listed) == {PLAIN, "MONAI without gates"}


def test_tests_come_first_and_trainings_after_the_gates_tables(work):
    found = names(work, on_gpu(4), measured())
    assert found[0] == "tests_networks_test_devices"
    order = ["data", "loading_2", "loading_4", "table_hippocampus_gates", "table_pancreas_gates"]
    order += ["table_resenc_gates", "epoch_nnunet", "epoch_attention_unet"]
    order += ["table_hippocampus_baselines", "table_resenc_layouts"]
    assert [name for name in found if name in order] == order


def test_trainings_are_known_once_epochs_are_chosen_and_pairs_stay_together(work):
    finished = with_epochs(measured())
    assert names(work, on_gpu(4), finished).count("epochs") == 1
    assert not [name for name in names(work, on_gpu(4), finished) if name.startswith("training_")]
    finished["epochs"] = good({"epochs": 7})
    found = [name for name in names(work, on_gpu(4), finished) if name.startswith("training_")]
    ends = ["seed0_fold0", "seed1_fold0", "seed2_fold0"]
    ends += [f"seed0_fold{fold}" for fold in (1, 2, 3, 4)]
    assert found == [
        f"training_{model}_{end}" for end in ends for model in ("nnunet", "attention_unet")
    ]


def test_both_models_train_with_the_same_schedule_seed_and_workers(work):
    finished = with_epochs(measured())
    finished["epochs"] = good({"epochs": 7})
    found = {one.name: one for one in all_stages(work, on_gpu(4), finished, 3600.0)}
    for seed in (0, 1, 2):
        pair = [
            found[f"training_{model}_seed{seed}_fold0"] for model in ("nnunet", "attention_unet")
        ]
        assert pair[0].variables == pair[1].variables
        assert pair[0].variables[SCHEDULE_VARIABLE] == "7,250,50"
        assert pair[0].variables[SEED_VARIABLE] == str(seed)
        assert pair[0].variables["nnUNet_n_proc_DA"] == "4"
        assert f"seed{seed}" in pair[0].variables["nnUNet_results"]
        for one, trainer in zip(pair, MODELS.values(), strict=True):
            assert one.command[one.command.index("-tr") + 1] == trainer
            assert one.goes_on


def test_without_data_tables_are_measured_all_the_same(work):
    failed = {"data": {"ok": False, "reason": "exit code 1", "machine": MACHINE, "seconds": 1.0}}
    found = names(work, on_gpu(4), failed)
    assert "table_hippocampus_gates" in found
    assert not [name for name in found if name.startswith(("loading", "epoch", "training"))]


def test_no_stage_but_trainings_may_go_over_the_limit(work):
    finished = with_epochs(measured()) | {"epochs": good({"epochs": 7})}
    for settings in (on_gpu(64), reduced(2)):
        for one in all_stages(work, settings, finished, 3600.0):
            assert one.goes_on == one.name.startswith("training_")
            assert one.expected_seconds <= 480
    # What a name stands for: a file.
    every = names(work, on_gpu(64), finished)
    assert len(set(every)) == len(every)
    assert not [name for name in every if set(name) & set("/ .")]


def test_the_fewest_workers_that_are_about_the_fastest_are_taken():
    assert best_workers(measured((2, 4, 8), (10.0, 19.5, 20.0))) == 4
    assert best_workers(measured((2, 4, 8), (10.0, 12.0, 20.0))) == 8
    assert best_workers({}) is None


def test_epochs_fill_the_time_of_both_trainings_equally():
    finished = with_epochs(measured())
    # Each command took 100 s, of which two usual epochs would be 20: 80 s are for all else.
    # (1000 - 160) / (10 + 10)
    assert choose_epochs(finished, 1000.0)["epochs"] == 42
    assert choose_epochs(finished, 1000.0, most=5)["epochs"] == 5
    assert choose_epochs(finished, 10.0)["epochs"] == 1


def test_the_files_with_tests_for_a_gpu_are_found_by_what_they_import():
    found = [str(path.relative_to(ROOT / "tests")) for path in test_files("cuda")]
    assert found[0] == "networks/test_devices.py"
    assert {"maps/test_devices.py", "trainers/test_devices.py"} <= set(found)
    # Stand-ins for a CPU.
    assert [path.parent.name for path in test_files("cpu")] == ["networks"]


JUNIT = """<testsuites><testsuite>
<testcase classname="t" name="good" time="1.5"/>
<testcase classname="t" name="bad" time="2">
<failure message="it is&#10;so">text</failure></testcase>
<testcase classname="t" name="left" time="0"><skipped message="no GPU"/></testcase>
</testsuite></testsuites>"""


def test_outcomes_of_tests_are_read_and_told(tmp_path):
    (tmp_path / "tests.xml").write_text(JUNIT)
    found = read_tests(tmp_path / "tests.xml")
    assert [one["outcome"] for one in found["tests"]] == ["passed", "failed", "skipped"]
    lines = tests_table({"tests_networks": good(found)}).splitlines()
    assert lines[0] == "Abacus, 2 threads; torch 2, nnunetv2 2.8, Python 3."
    assert "| networks | 1 | 1 | 1 | 4 |" in lines
    assert lines[-2:] == ["- t::bad: failed, it is", "- t::left: skipped, no GPU"]


def test_loading_is_measured_after_what_was_made_in_advance_is_used_up():
    ticks = iter(range(100))
    taken = []
    loader = iter(lambda: taken.append(1) or "batch", None)
    found = loading.measured(loader, 5, 7, clock=lambda: 2.0 * next(ticks))
    assert len(taken) == 12
    assert found == {"batches": 5, "batches_per_second": 0.5, "median_seconds": 2.0}


def row(baseline, seconds):
    sizes = ("parameters", "saved_bytes", "peak_bytes", "inference_peak_bytes")
    return {
        "baseline": baseline,
        **dict.fromkeys(sizes, 2**20),
        "train_step_seconds": [seconds, seconds],
        "inference_seconds": [seconds, seconds],
        "first_step_seconds": 9.0,
    }


def table(variants, **more):
    return {
        "case": {"name": "Task", "batch_size": 2, "patch_size": [1, 2, 3], "planned": None},
        "machine": {**MACHINE, "command": "?"},
        **{"compiled": True, "rounds": 2, "variants": variants, **more},
    }


ALONE = {
    "training_seconds": {name: [0.01] for name in WAYS},
    "inference_seconds": {name: [0.01] for name in WAYS},
    "floor_training_bytes": 3 * 2**20,
    "floor_inference_bytes": 2**20,
    "bandwidth_bytes_per_second": 1024 * 2**20,
    "profile_training": [["kernel<a|b>", 0.75, 0.75], ["copy", 0.25, 0.25]],
    "profile_training_plain": [["copy", 0.25, 1.0]],
    "profile_training_compiled": [["fused", 0.5, 1.0]],
}


def test_groups_of_networks_make_one_table_each_against_its_own_baseline():
    finished = {
        "table_hippocampus_gates": good(
            table({PLAIN: row(PLAIN, 1.0), ATTENTION: row(PLAIN, 1.1)}, isolated=ALONE)
        ),
        # The machine was twice as slow then.
        "table_hippocampus_baselines": good(
            table({PLAIN: row(PLAIN, 2.0), "wide": row(PLAIN, 3.0)})
        ),
        "table_hippocampus_MONAI": good(
            table(
                {
                    PLAIN: row(PLAIN, 2.0),
                    "MONAI without gates": row("MONAI without gates", 4.0),
                    "MONAI AttentionUnet": row("MONAI without gates", 5.0),
                }
            )
        ),
        "table_pancreas_gates": {"ok": False, "reason": "exit code 1", "machine": MACHINE},
    }
    (record,) = merged(finished)
    assert "isolated" in record
    text = all_tables({name: one for name, one in finished.items() if "hippo" in name})
    lines = text["speed and memory"].splitlines()
    rows = [line.split("|") for line in lines if line.count("|") == 9]
    steps = {cells[1].strip(): cells[5].strip() for cells in rows}
    assert steps[PLAIN] == "1.00 s"
    assert steps[ATTENTION].startswith("1.100 ")
    assert steps["wide"].startswith("1.500 ")
    assert steps["MONAI without gates"] == "4.00 s"
    assert steps["MONAI AttentionUnet"].startswith("1.250 ")
    assert all_tables(finished)["failures"] == "- table_pancreas_gates: exit code 1\n"


def test_tables_of_two_cards_are_not_mixed():
    other = {**MACHINE, "kind": "Slide rule"}
    second = table({PLAIN: row(PLAIN, 2.0), "wide": row(PLAIN, 3.0)})
    second["machine"] = {**other, "command": "?"}
    finished = {
        "table_hippocampus_gates": good(table({PLAIN: row(PLAIN, 1.0)})),
        "table_hippocampus_baselines": good(second, machine=other),
    }
    found = list(merged(finished))
    assert [one["machine"]["kind"] for one in found] == ["Abacus", "Slide rule"]
    assert set(found[0]["variants"]) == {PLAIN}


def test_kernels_stand_beside_the_bytes_of_a_copy_in_their_time():
    lines = kernels_table(table({}, isolated=ALONE)).splitlines()
    # 3 MiB at a GiB a second.
    assert "gates must move 3.0 MiB, in 2.930 ms" in lines[0]
    assert "| eager | `kernel<a/b>` | 750.000 | 768.0 |" in lines
    assert "| eager | all | 1000.000 | 1024.0 |" in lines
    assert "| compiled | `fused` | 500.000 | 512.0 |" in lines
    assert "| concatenation alone | `copy` | 250.000 | 256.0 |" in lines


def training(model, seed, dice):
    return good(
        {
            **{"dataset": "Dataset004_Hippocampus", "model": model, "seed": seed, "fold": 0},
            **{"epochs": 7, "iterations": 250, "median_epoch_seconds": 12.34},
            **{"seconds_per_case": None, "dice": dice},
        }
    )


def test_trainings_of_one_seed_and_fold_are_compared_case_by_case():
    stock = {"a": {"1": 0.8, "2": 0.6}, "b": {"1": 0.7, "2": 0.7}, "c": {"1": 0.9, "2": None}}
    ours = {"a": {"1": 0.9, "2": 0.7}, "b": {"1": 0.7, "2": 0.7}, "c": {"1": 0.7, "2": None}}
    finished = {
        "training_nnunet_seed0_fold0": training("nnU-Net", 0, stock),
        "training_attention_unet_seed0_fold0": training("Attention U-Net", 0, ours),
        # Without its counterpart yet.
        "training_nnunet_seed1_fold0": training("nnU-Net", 1, stock),
    }
    lines = trainings_table(finished).splitlines()
    assert lines[0].startswith("Dataset004_Hippocampus: 7 epochs of 250 iterations. Abacus")
    # Means of 0.7, 0.7 and 0.9, and of 0.8, 0.7 and 0.7.
    assert [line.split("|")[7].strip() for line in lines[4:7]] == ["0.767", "0.733", "0.767"]
    assert [line.split("|")[1].strip() for line in lines[4:7]] == [*MODELS, "nnU-Net"]
    differences = [line for line in lines if line.startswith("| 0 | 0 |")]
    assert len(differences) == 1
    assert f"| {MINUS}0.033 |" in differences[0]
    assert "| 1/1/1 |" in differences[0]


def test_dice_of_cases_has_names_of_labels_and_none_where_it_is_undefined():
    numbers = {"1": {"Dice": 0.5}, "2": {"Dice": float("nan")}}
    summary = {"metric_per_case": [{"prediction_file": "/x/a.1.nii.gz", "metrics": numbers}]}
    found = dice_of_cases(summary, {"background": 0, "head": 1, "tail": 2})
    assert found == {"a.1": {"head": 0.5, "tail": None}}
    assert means_over_labels({**found, "b": {"head": None, "tail": None}}) == {"a.1": 0.5}


def test_the_least_patch_leaves_two_voxels_at_the_bottleneck():
    for case in cases.FULL.values():
        assert sorted(case.smallest().sizes[-1]) == [1, 1, 2]
    assert cases.HIPPOCAMPUS.smallest().patch_size == (16, 8, 8)


def test_of_a_cpu_the_report_lies_in_the_work_folder(work, capsys):
    assert report(work) == 2
    for name, record in measured().items():
        work.finish(name, {**record, "machine": {**MACHINE, "device": "cpu"}})
    assert report(work) == 0
    text = (work.root / "report.md").read_text()
    assert "none of these numbers says anything" in text
    assert "| 4 | 20.0 |" in text


def test_of_a_gpu_the_report_goes_into_the_documents(work, monkeypatch, tmp_path_factory):
    copy = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "docs", copy / "docs")
    of_gpu = {title: copy / f"{title}.md" for title in documents.OF_GPU}
    copies = {documents.OF_GPU[title]: path for title, path in of_gpu.items()}
    tables = [
        (document, name, copies[path])
        for document, name, path in documents.TABLES
        if path in copies
    ]
    monkeypatch.setattr(documents, "ROOT", copy)
    monkeypatch.setattr(documents, "GPU", copy / "gpu")
    monkeypatch.setattr(documents, "OF_GPU", of_gpu)
    monkeypatch.setattr(documents, "TABLES", tables)
    for name, record in measured().items():
        work.finish(name, record)
    assert report(work) == 0
    text = (copy / "docs" / "performance.md").read_text()
    assert loading_table(measured()).strip() in text
    stored = json.loads((copy / "gpu" / "results" / "loading_4.json").read_text())
    assert stored == measured()["loading_4"]


def test_every_committed_gpu_table_comes_from_the_committed_results():
    work = Work(documents.GPU)
    if not list(work.results.glob("*.json")):
        pytest.skip("no results of a GPU are committed")
    for title, text in all_tables(work.finished()).items():
        assert documents.OF_GPU[title].read_text() == text


def test_the_command_refuses_another_device_in_one_folder(work, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.gpu.probing.probe", lambda device: MACHINE)
    monkeypatch.setattr(os, "chdir", lambda folder: None)
    work.finish("data", measured()["data"])
    assert exit_code_of("it", lambda: main(["run", "-w", str(work.root), "--device", "cpu"])) == 1
    assert "its results were measured with --device cuda" in capsys.readouterr().err


@pytest.mark.slow
def test_a_gpu_that_is_not_there_is_refused(tmp_path, capsys, monkeypatch):
    from benchmarks.gpu.probing import probe

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(ROOT)
    with pytest.raises(CommandError, match="--device cuda: torch finds no GPU here; --device cpu"):
        probe("cuda")


@pytest.mark.parametrize("minutes", ["0", "-1", "inf", "ten"])
def test_minutes_are_above_zero(minutes, capsys):
    with pytest.raises(SystemExit):
        main(["run", "--minutes", minutes])
    assert "is not a number above 0" in capsys.readouterr().err


def test_data_that_are_none_are_refused_before_anything_is_done(tmp_path, capsys):
    assert (
        exit_code_of(
            "it", lambda: main(["run", "-w", str(tmp_path / "work"), "--data", str(tmp_path)])
        )
        == 1
    )
    assert "there is no dataset.json in it" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()
