"""Whole commands are timed in turn and compared; plans are made small and gone through once."""

import sys

import numpy as np
import pytest
import SimpleITK
import torch
from engine_packages import skip_without

from benchmarks.engines import __main__ as command
from benchmarks.engines import commands, plans
from nnunet_attention.files import read_json, write_json

# Writes a segmentation; the second kind differs in one voxel of 60.
SCRIPT = """
import sys, numpy, SimpleITK
output, kind = sys.argv[sys.argv.index("-o") + 1], sys.argv[1]
import os; os.makedirs(output, exist_ok=True)
array = numpy.zeros((3, 4, 5), numpy.uint8)
array[1:] = 1
if kind == "other":
    array[0, 0, 0] = 1
SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), f"{output}/a.nii.gz")
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    script = tmp_path / "predict.py"
    script.write_text(SCRIPT)

    def command(name):
        kind = "other" if "bf16" in name else "same"
        return [sys.executable, str(script), kind]

    monkeypatch.setattr(commands, "_command", command)
    names = (commands.STOCK, commands.CONTROL, "openvino bf16")
    monkeypatch.setattr(commands, "VARIANTS", dict.fromkeys(names, ()))


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model").mkdir()
    content = {"labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz", "numTraining": 1}
    write_json(tmp_path / "model" / "dataset.json", content)
    return tmp_path / "model"


def write(path, array) -> None:
    path.parent.mkdir(exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))


def test_commands_are_timed_and_their_segmentations_compared(fake, model, tmp_path):
    write(tmp_path / "images" / "a_0000.nii.gz", np.zeros((3, 4, 5), np.float32))
    truth = np.zeros((3, 4, 5), np.uint8)
    truth[1:] = 1
    write(tmp_path / "labels" / "a.nii.gz", truth)
    result = commands.measured(model, tmp_path / "images", ["0"], 2, tmp_path / "labels")
    assert {len(values) for values in result["seconds"].values()} == {2}
    assert result["cases"] == 1
    assert result["compared"][commands.CONTROL]["differing_voxels"] == 0
    other = result["compared"]["openvino bf16"]
    assert other["differing_voxels"] == 1
    # 40 voxels in common, 41 and 40 in each: 80 / 81.
    assert other["dice_difference"] == pytest.approx(80 / 81 - 1)
    lines = commands.table(result).splitlines()
    assert len(lines) == 7
    assert lines[0].startswith(f"{tmp_path.name}, model: 1 case, 2 rounds. ")
    assert lines[4].startswith("| nnUNetv2_predict |")
    assert "| 1.7e-02 | -0.01235" in lines[6]


def test_shares_are_of_nnunets_seconds_of_the_same_round():
    names = (commands.STOCK, "openvino")
    result = {
        "model": "Dataset001_A, T__p__2d",
        "cases": 2,
        "rounds": 3,
        "flags": ["--disable_tta"],
        "machine": {"kind": "Abacus", "threads": 2, "torch": "2", "nnunetv2": "2.8", "python": "3"},
        "versions": {"openvino": "1"},
        "seconds": {commands.STOCK: [10.0, 20.0, 40.0], "openvino": [5.0, 2.0, 12.0]},
        "peak_bytes": {commands.STOCK: [4.0, 5.0, 6.0], "openvino": [6.0, 5.0, 4.0]},
        "compared": {name: {"differing_voxels": 1, "voxels": 8} for name in names},
    }
    lines = commands.table(result).splitlines()
    assert lines[0].startswith("Dataset001_A, T__p__2d: 2 cases, --disable_tta, 3 rounds. Abacus")
    assert lines[0].endswith("; openvino 1.")
    assert lines[-1] == "| openvino | 2.50 | 0.30 | 0.50, 0.10, 0.30 | 1.00 | 1.2e-01 |  |"


def test_only_the_chosen_commands_run_beside_nnunets(fake, model, tmp_path):
    write(tmp_path / "images" / "a_0000.nii.gz", np.zeros((3, 4, 5), np.float32))
    result = commands.measured(model, tmp_path / "images", ["0"], 1, chosen=["openvino bf16"])
    assert list(result["seconds"]) == [commands.STOCK, commands.CONTROL, "openvino bf16"]
    result = commands.measured(model, tmp_path / "images", ["0"], 1, chosen=[])
    assert list(result["seconds"]) == [commands.STOCK, commands.CONTROL]


def test_segmentations_of_any_file_ending_are_compared(tmp_path):
    empty, full = np.zeros((3, 4, 5), np.uint8), np.ones((3, 4, 5), np.uint8)
    for name, segmentation, truth in (("a", full, full), ("b", empty, empty)):
        write(tmp_path / "reference" / f"{name}.mha", segmentation)
        write(tmp_path / "predicted" / f"{name}.mha", full)
        write(tmp_path / "labels" / f"{name}.mha", truth)
    folders = [tmp_path / name for name in ("reference", "predicted", "labels")]
    # Of the case without foreground there is no Dice.
    assert commands.compare(*folders, ".mha") == {
        "differing_voxels": 60, "voxels": 120, "dice_difference": 0.0, "dice_interval": [0.0, 0.0],
    }  # fmt: skip
    with pytest.raises(RuntimeError, match=r"holds no segmentation \*.nii.gz to compare with"):
        commands.compare(*folders, ".nii.gz")


def test_a_command_that_fails_is_told_with_its_last_words(fake, tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no model')"]
    with pytest.raises(RuntimeError, match="no model"):
        commands._run(command, [])


def test_dice_is_the_mean_over_the_labels_of_the_truth():
    truth = np.array([1, 1, 2, 2, 0, 0])
    # Label 1: 2 * 1 / 3; label 2: 2 * 2 / 4; label 3 is not in the truth.
    assert commands.mean_dice(np.array([1, 0, 2, 2, 3, 0]), truth) == pytest.approx(5 / 6)


def test_the_interval_of_equal_values_is_that_value():
    assert commands.bootstrap_interval([0.25] * 4) == [0.25, 0.25]


def test_small_plans_keep_strides_and_leave_two_voxels_at_the_bottleneck(minimal_plans):
    minimal_plans["configurations"]["3d_fullres"]["patch_size"] = [40, 64, 64]
    small = plans.small_plans(minimal_plans, "3d_fullres")["configurations"]["3d_fullres"]
    # Strides (1, 1, 1), (1, 2, 2), (2, 2, 2).
    assert small["patch_size"] == [4, 8, 8]
    assert small["architecture"]["arch_kwargs"]["features_per_stage"] == [2, 3, 4]
    assert minimal_plans["configurations"]["3d_fullres"]["patch_size"] == [40, 64, 64]


def test_every_configuration_is_compared_once_with_gates_and_once_plain(
    minimal_plans, tmp_path, monkeypatch
):
    (tmp_path / "a").mkdir()
    write_json(tmp_path / "a" / "plans.json", minimal_plans)
    compared = []

    def compare(path, configuration, kind, work):
        compared.append((configuration, kind))
        return {
            "dataset": read_json(path)["dataset_name"],
            "configuration": configuration,
            "kind": kind,
            "network": "Network",
            "openvino": 1e-6 if kind == "plain" else 2e-6,
            "onnxruntime": 3e-7,
        }

    monkeypatch.setattr(plans, "compared", compare)
    rows = list(plans.all_compared(tmp_path, []))
    assert compared == [("3d_fullres", "attention"), ("3d_fullres", "plain")]
    assert list(plans.all_compared(tmp_path, rows)) == []
    assert len(compared) == 2
    last = plans.table(rows).splitlines()[-1]
    assert last == "| a | 2 | 2.0e-06 | 3.0e-07 |"
    rows[1]["openvino"] = float("nan")
    assert plans.table(rows).splitlines()[-1] == "| a | 2 | nan | 3.0e-07 |"


def test_what_was_compared_before_outlives_a_run_that_stops(minimal_plans, tmp_path, monkeypatch):
    folder, output = tmp_path / "plans", tmp_path / "output"
    folder.mkdir()
    output.mkdir()
    write_json(folder / "plans.json", minimal_plans)
    known = [{"plans": "other", "configuration": "2d", "kind": "plain"} for _ in range(2)]
    known = [{**row, "openvino": 1e-6, "onnxruntime": 1e-6} for row in known]
    write_json(output / "plans.json", {"rows": known})

    def compare(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(plans, "compared", compare)
    monkeypatch.setattr(sys, "argv", ["engines", "plans", str(folder), "-o", str(output)])
    with pytest.raises(KeyboardInterrupt):
        command.main()
    assert read_json(output / "plans.json")["rows"] == known


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["attention", "plain"])
def test_engines_agree_with_torch_on_the_smallest_plans(minimal_plans, tmp_path, kind):
    skip_without("onnxruntime", "onnxscript", "openvino")
    write_json(tmp_path / "plans.json", minimal_plans)
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}}
    write_json(tmp_path / "dataset.json", dataset | {"file_ending": ".nii.gz"})
    row = plans.compared(tmp_path / "plans.json", "3d_fullres", kind, tmp_path)
    assert row["gates"] == (1 if kind == "attention" else 0)
    assert max(row["openvino"], row["onnxruntime"]) < 1e-3
    assert torch.is_grad_enabled()
