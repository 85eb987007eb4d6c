"""`nnunet-attention ablate` measures a model's gates, or says in one line why it cannot."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK
import torch
from distractor_network import box, write_case
from engine_packages import skip_without
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plain_checkpoints import DATASET_JSON, plain_checkpoint
from pointwise_network import pointwise_plans

from nnunet_attention.cli import main
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import save_checkpoint

# nnU-Net's search for a trainer imports all of its own, and warnings of their dependencies.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]

SHAPE = (5, 9, 18)
CASES = ("p1_a", "p1_b", "p2_a", "p3_a")


@pytest.fixture(autouse=True)
def unchanged_threads(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


@pytest.fixture
def data(tmp_path) -> Path:
    for number, name in enumerate(CASES):
        organ = box(SHAPE, (1, 4), (number, number + 5), (2, 9))
        write_case(tmp_path, name, organ, box(SHAPE, (1, 3), (0, 4), (11 + number, 14 + number)))
    return tmp_path


def write_model(folder: Path, minimal_plans: dict, trainer) -> Path:
    plans = pointwise_plans(
        minimal_plans,
        normalization_schemes=["NoNormalization"] * 2,
        use_mask_for_norm=[False, False],
        foreground_intensity_properties_per_channel={"0": {}, "1": {}},
    )
    checkpoint = plain_checkpoint(plans, trainer=trainer)
    generator = torch.Generator().manual_seed(0)
    for name, values in checkpoint["network_weights"].items():
        # So that the coefficients differ from voxel to voxel.
        if ".gates." in name:
            values += torch.randn(values.shape, generator=generator)
    for fold in (0, 1):
        (folder / f"fold_{fold}").mkdir(parents=True)
        save_checkpoint(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
    return folder


@pytest.fixture
def model(tmp_path, minimal_plans) -> Path:
    folder = tmp_path / "AttentionUNetTrainer__nnUNetPlans__3d_fullres"
    return write_model(folder, minimal_plans, AttentionUNetTrainer)


def run(data: Path, model: Path, *arguments, output: str = "out") -> int:
    common = ("-i", data / "images", "-gt", data / "labels", "-m", model, "-f", 0)
    out = ("-o", data / output, "-device", "cpu", "--disable_tta")
    return main(["ablate", *map(str, (*common, *out, *arguments))])


@pytest.mark.slow
def test_the_command_writes_all_and_goes_on(data, model, capsys):
    arguments = ("--sanity", "--curves", 2, "--group-by", "(p[0-9])", "--metrics", "dice", "iou")
    assert run(data, model, *arguments) == 0
    shown = capsys.readouterr().out
    assert "what the gates do for Dice" in shown
    assert "gate 0" in shown
    record = json.loads((data / "out" / "ablation.json").read_text())
    assert record["model"]["folds"] == ["0"]
    assert record["model"]["configuration"] == "3d_fullres"
    assert record["settings"]["groups"]["p1_b"] == "p1"
    # One gate, two labels and their mean, seven replacements with the random weights, two metrics.
    assert len(record["effects"]) <= 3 * 7 * 2
    assert {one["replacement"] for one in record["effects"]} >= {"open", "zero", "random_weights"}
    assert {one["direction"] for one in record["areas"]} == {"deletion", "insertion"}
    for name in ("ablation.csv", "ablation.md", "ablation.tex", "ablation.html", "curves.csv"):
        assert (data / "out" / name).stat().st_size > 100
    kept = {path: path.stat().st_mtime_ns for path in (data / "out" / "cases").rglob("*.json")}
    assert run(data, model, *arguments, "--margin", "0.01") == 0
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    again = json.loads((data / "out" / "ablation.json").read_text())
    assert again["effects"] == record["effects"]


@pytest.mark.slow
def test_an_engine_gives_the_same_effects_and_leaves_nothing_but_its_graphs(
    data, model, capsys, monkeypatch
):
    skip_without("onnxruntime", "onnxscript")
    temporary = data / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    arguments = ("--replace", "mean", "zero", "--sanity", "--curves", 2)
    records = {}
    for engine in ("torch", "onnxruntime"):
        assert run(data, model, *arguments, "--engine", engine, output=engine) == 0
        records[engine] = json.loads((data / engine / "ablation.json").read_text())
        assert f"run by {engine}, in 32 bits" in capsys.readouterr().err
        assert records[engine]["model"]["prediction"]["engine"] == engine
    assert records["torch"]["model"]["weights"] == records["onnxruntime"]["model"]["weights"]
    for name in ("ablation.csv", "curves.csv"):
        expected, found = (pd.read_csv(data / engine / name) for engine in records)
        assert found["value"].nunique() > 3
        # A voxel of the organ may be on the other side; no two are.
        np.testing.assert_allclose(found.pop("value"), expected.pop("value"), atol=0.01)
        names = found.select_dtypes(exclude="number").columns
        pd.testing.assert_frame_equal(found[names], expected[names])
    assert not list(temporary.iterdir())
    kept = sorted(path.name.partition(".")[0] for path in (model / "engines").glob("*.onnx"))
    assert kept == ["fold_0-checkpoint_final-decoder", "fold_0-checkpoint_final-encoder"]
    assert run(data, model, *arguments, output="onnxruntime") == 1
    wanted = (
        "ablation with different prediction (engine onnxruntime, here torch); delete that folder"
    )
    assert wanted in capsys.readouterr().err


@pytest.mark.slow
def test_maps_show_the_verdicts_of_their_model_only(data, model, capsys):
    assert run(data, model, "--replace", "mean") == 0
    proof = data / "out" / "ablation.json"
    common = ("-i", data / "images", "-m", model, "-device", "cpu", "-npp", 0, "-nps", 0)
    rest = ("--disable_tta", "--disable_progress_bar", "--no_pictures", "--proof", proof)
    given = list(map(str, (*common, *rest)))
    assert main(["maps", *given, "-o", str(data / "maps"), "-f", "0"]) == 0
    sidecar = json.loads((data / "maps" / "maps" / "p1_a" / "maps.json").read_text())
    assert sidecar["proof"] == str(proof)
    verdicts = json.loads(proof.read_text())["verdicts"]
    sentences = [one["sentence"] for one in verdicts if one["label"] == "mean of labels"]
    assert sidecar["maps"]["gate_0"]["verdicts"][0] in sentences
    assert main(["maps", *given, "-o", str(data / "two"), "-f", "0", "1"]) == 1
    assert "it is about different weights (1 fold(s), here 2)" in capsys.readouterr().err


@pytest.mark.slow
def test_the_ordinary_segmentation_is_that_of_maps(data, model, capsys):
    assert run(data, model, "--replace", "zero", "--gates", 0) == 0
    common = ("-i", data / "images", "-o", data / "maps", "-m", model, "-f", 0, "-device", "cpu")
    rest = ("-npp", 0, "-nps", 0, "--no_pictures", "--disable_tta", "--disable_progress_bar")
    assert main(["maps", *map(str, (*common, *rest))]) == 0
    for case in CASES:
        image = SimpleITK.ReadImage(str(data / "maps" / f"{case}.nii.gz"))
        with np.load(data / "out/cases/trained/ordinary" / f"{case}.npz") as kept:
            np.testing.assert_array_equal(kept["segmentation"], SimpleITK.GetArrayFromImage(image))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gates", "1"), "gate 1: the network has the gate 0, the coarsest first"),
        (("--gates", "first"), "--gates first: give gate numbers, several together"),
        (("--replace", "shut"), "unknown replacement 'shut'; choose from: open, mean"),
        (("--metrics", "jaccard"), "unknown metric 'jaccard'"),
        (("--margin", "0"), "--margin 0: give a number above 0"),
        (("--metrics", "hd95_mm"), "--margin is needed, as the verdicts are about hd95_mm"),
        (
            ("--metrics", "hd95_mm", "--margin", "1", "--curves", "2"),
            "hd95_mm is undefined where nothing is predicted",
        ),
        (("--tolerance", "1"), "--tolerance would be ignored as --metrics lacks nsd"),
        (("--metrics", "nsd", "--tolerance", "kidney=1"), "kidney"),
        (("--curves", "1"), "--curves 1: give 2 steps or more"),
        (("--group-by", "(p)"), "all 4 cases are in one group"),
        (("-prev_stage_predictions", "."), "-prev_stage_predictions would be ignored"),
        (("--cache", "x"), "--cache would be ignored with torch"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(data, model, arguments, message, capsys):
    assert run(data, model, *arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert not (data / "out").exists()


def test_cases_that_may_not_be_independent_are_named(data, model, capsys, monkeypatch):
    name = json.loads((model / "plans.json").read_text())["dataset_name"]
    (data / "preprocessed" / name).mkdir(parents=True)
    splits = [{"train": ["p2_a"], "val": ["p1_a", "p1_b", "p3_a"]}]
    (data / "preprocessed" / name / "splits_final.json").write_text(json.dumps(splits))
    monkeypatch.setenv("nnUNet_preprocessed", str(data / "preprocessed"))
    assert (
        run(data, model, "--replace", "zero", "zero", "--tolerance", "1", "--metrics", "nsd") == 0
    )
    error = capsys.readouterr().err
    assert "names of cases look grouped: 4 cases have 3 stems" in error
    assert "1 of 4 cases were used in training, such as p2_a by fold 0" in error
    record = json.loads((data / "out" / "ablation.json").read_text())
    # Named twice, but replaced once.
    assert {one["n"] for one in record["effects"]} == {4}
    assert record["settings"]["tolerance_mm"] == {"organ": 1.0, "tumour": 1.0}


def test_labels_that_lack_are_named(data, model, capsys):
    (data / "labels" / "p2_a.nii.gz").unlink()
    assert run(data, model) == 1
    assert "1 of 4 label images are missing; the first is p2_a.nii.gz" in capsys.readouterr().err


def test_one_case_is_too_few(data, model, capsys):
    for name in CASES[1:]:
        for path in (data / "images").glob(f"{name}_*"):
            path.unlink()
    assert run(data, model) == 1
    assert "1 case: at least two are needed" in capsys.readouterr().err


def test_a_network_without_gates_is_refused(data, minimal_plans, capsys):
    model = write_model(
        data / "nnUNetTrainer__nnUNetPlans__3d_fullres", minimal_plans, nnUNetTrainer
    )
    assert run(data, model) == 1
    assert "has no attention gates" in capsys.readouterr().err


def test_a_folder_with_other_work_is_left_alone(data, model, capsys):
    assert run(data, model, "--replace", "zero") == 0
    assert run(data, model, "--replace", "open") == 1
    assert "holds cases of an ablation with different settings" in capsys.readouterr().err
    shutil.rmtree(data / "out" / "cases")
    assert run(data, model, "--replace", "open") == 0
