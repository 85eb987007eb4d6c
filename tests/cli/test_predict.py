"""`nnunet-attention predict` writes what nnUNetv2_predict writes, whatever runs the network."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from engine_packages import skip_without
from nnunet_commands import voxels
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.resampling import default_resampling
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_models import tiny_plans, write_images, write_model

from nnunet_attention.cli import main
from nnunet_attention.engines import choice

skip_without("onnxruntime", "onnxscript", "openvino")

# nnU-Net's search for a trainer imports all of its own, and warnings of their dependencies.
pytestmark = pytest.mark.filterwarnings("ignore")
CASES = ("one", "two")


@pytest.fixture(autouse=True)
def unchanged_threads(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> Path:
    """A folder with images, a model of nnU-Net's own trainer, and what nnU-Net predicts with it."""
    from smallest_plans import smallest_plans

    folder = tmp_path_factory.mktemp("stock")
    write_model(folder / "model", tiny_plans(smallest_plans()), nnUNetTrainer)
    write_images(folder / "images")
    (folder / "out").mkdir()
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder / "model"), (0, 1))
    predictor.predict_from_files_sequential(
        str(folder / "images"), str(folder / "out"), save_probabilities=True
    )
    return folder


def run(stock: Path, output: Path, *arguments, processes: int = 0) -> int:
    common = ("-i", stock / "images", "-o", output, "-m", stock / "model", "-f", 0, 1)
    common += ("-npp", processes, "-nps", processes)
    return main(
        ["predict", *map(str, (*common, "-device", "cpu", "--disable_progress_bar", *arguments))]
    )


def probabilities(folder: Path, case: str) -> np.ndarray:
    with np.load(folder / f"{case}.npz") as content:
        return content["probabilities"]


@pytest.mark.parametrize(
    "engine", ["torch", pytest.param("onnxruntime", marks=pytest.mark.slow), "openvino"]
)
def test_folds_and_probabilities_are_those_of_nnunet(stock, tmp_path, engine, capsys):
    arguments = ("--engine", engine, "--save_probabilities")
    cache = () if engine == "torch" else ("--cache", tmp_path / "cache")
    assert run(stock, tmp_path / "out", *arguments, *cache) == 0
    for case in CASES:
        np.testing.assert_array_equal(
            voxels(tmp_path / "out" / f"{case}.nii.gz"), voxels(stock / "out" / f"{case}.nii.gz")
        )
        np.testing.assert_allclose(
            probabilities(tmp_path / "out", case), probabilities(stock / "out", case), atol=1e-3
        )
        assert (tmp_path / "out" / f"{case}.pkl").is_file()
    assert not list((tmp_path / "out").glob(".*"))
    printed = capsys.readouterr()
    assert f"run by {engine}, in 32 bits" in printed.err
    assert f"segmentations: {tmp_path / 'out'}" in printed.out
    graphs = list((tmp_path / "cache").glob("Dataset900_Minimal/model-*/*.onnx"))
    assert len(graphs) == (0 if engine == "torch" else 2)


def of_another_spacing(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        image = SimpleITK.ReadImage(str(path))
        image.SetSpacing((1.3, 1.7, 3.9))
        SimpleITK.WriteImage(image, str(target / path.name))
    return target


@pytest.mark.parametrize("probabilities_too", [False, True])
def test_what_is_resampled_on_the_device_is_what_nnunets_functions_give(
    stock, tmp_path, monkeypatch, probabilities_too
):
    images = of_another_spacing(stock / "images", tmp_path / "images")
    calls = []
    by_nnunet = default_resampling.resample_data_or_seg
    monkeypatch.setattr(
        default_resampling,
        "resample_data_or_seg",
        lambda *a, **k: calls.append(1) or by_nnunet(*a, **k),
    )
    counts = {}
    for resampling in ((), ("--resampling", "device"), ("--resampling", "nnunet")):
        calls.clear()
        arguments = ("-i", images, "--engine", "torch", *resampling)
        arguments += ("--save_probabilities",) if probabilities_too else ()
        assert run(stock, tmp_path / (resampling or ("default",))[-1], *arguments) == 0
        counts[resampling] = len(calls)
    # The default on a CPU is the faster one.
    assert list(counts.values()) == [0, 0, 6]
    for case in CASES:
        expected = voxels(tmp_path / "nnunet" / f"{case}.nii.gz")
        assert len(np.unique(expected)) > 1
        for name in ("default", "device"):
            np.testing.assert_array_equal(voxels(tmp_path / name / f"{case}.nii.gz"), expected)
        if probabilities_too:
            np.testing.assert_allclose(
                *(probabilities(tmp_path / name, case) for name in ("device", "nnunet")), atol=2e-3
            )


def test_a_complete_case_is_kept_and_the_other_one_done(stock, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "one.nii.gz").write_text("kept")
    assert run(stock, out, "--engine", "torch", "--continue_prediction") == 0
    assert (out / "one.nii.gz").read_text() == "kept"
    np.testing.assert_array_equal(voxels(out / "two.nii.gz"), voxels(stock / "out/two.nii.gz"))


def test_the_parts_share_the_cases(stock, tmp_path):
    arguments = ("--engine", "torch", "-num_parts", 2, "-part_id")
    assert run(stock, tmp_path / "out", *arguments, 1) == 0
    assert not (tmp_path / "out" / "one.nii.gz").exists()
    assert (tmp_path / "out" / "two.nii.gz").exists()


def test_without_an_engine_installed_torch_runs_it_and_that_is_told(
    stock, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert run(stock, tmp_path / "out") == 0
    assert "run by torch, in 32 bits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "openvino"), "openvino is not installed; install the extra"),
        (("--precision", "f16"), "--precision f16: no installed engine supports it"),
        (("-device", "cuda", "--engine", "torch"), "--engine would be ignored with -device cuda"),
        (("--engine", "torch", "--cache", "x"), "--cache would be ignored with torch"),
        (("-f", 3), "no checkpoint_final.pth for fold 3"),
        (("-num_parts", 2, "-part_id", 2), "the parts are 0 to 1"),
        (("-d", 900), "give either the model's folder with -m, or -d and -c"),
    ],
)
def test_what_cannot_be_done_is_one_line(stock, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert run(stock, tmp_path / "out", *arguments) == 1
    (line,) = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("nnunet-attention predict:")
    ]
    assert message in line
    assert not (tmp_path / "out").exists()


def test_what_predicted_is_written_down_as_nnunet_does(stock, tmp_path):
    assert run(stock, tmp_path / "out", "--engine", "torch", processes=1) == 0
    written = json.loads((tmp_path / "out" / "plans.json").read_text())
    assert written == json.loads((stock / "out" / "plans.json").read_text())
