"""`nnunet-attention maps` predicts a model's images, or says in one line why it cannot."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from nnunet_commands import voxels
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plain_checkpoints import DATASET_JSON, plain_checkpoint
from tiny_models import tiny_plans, write_images, write_model

from nnunet_attention.cli import main
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import save_checkpoint

# nnU-Net's search for a trainer imports all of its own, and warnings of their dependencies.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def unchanged_threads(monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


@pytest.fixture
def plans(minimal_plans) -> dict:
    return tiny_plans(minimal_plans)


@pytest.fixture
def model(tmp_path, plans, monkeypatch) -> Path:
    """In nnUNet_results, folds 0 and 1 of other weights."""
    results = tmp_path / "results"
    monkeypatch.setenv("nnUNet_results", str(results))
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    folder = results / "Dataset900_Minimal" / "AttentionUNetTrainer__nnUNetPlans__3d_fullres"
    write_model(folder, plans, AttentionUNetTrainer)
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    write_images(tmp_path / "images")
    return tmp_path / "images"


def run(*arguments) -> int:
    common = ("-device", "cpu", "-npp", 0, "-nps", 0, "--no_pictures", "--disable_progress_bar")
    return main(["maps", *map(str, (*arguments, *common))])


def error_of(capsys, *arguments) -> str:
    """The only line of an error."""
    capsys.readouterr()
    assert run(*arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("nnunet-attention maps:")]) == 1
    return lines[-1]


def test_by_folder_and_by_name_the_same_maps_are_written(model, images, tmp_path, capsys):
    assert run("-i", images, "-o", tmp_path / "by_folder", "-m", model, "-f", 0, 1) == 0
    assert f"maps: {tmp_path / 'by_folder' / 'maps'}" in capsys.readouterr().out
    # -tr and -p are the defaults.
    by_name = ("-d", "Dataset900_Minimal", "-c", "3d_fullres", "-f", 0, 1)
    assert run("-i", images, "-o", tmp_path / "by_name", *by_name) == 0
    for case in ("one", "two"):
        first, second = (
            voxels(tmp_path / out / "maps" / case / "gate_0.nii.gz")
            for out in ("by_folder", "by_name")
        )
        np.testing.assert_array_equal(first, second)
    sidecar = json.loads((tmp_path / "by_name" / "maps" / "one" / "maps.json").read_text())
    assert sidecar["model"]["folds"] == ["0", "1"]
    assert sidecar["model"]["folder"] == str(model)


@pytest.mark.slow
def test_an_engine_gives_the_same_maps(model, images, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    common = ("-i", images, "-m", model, "-f", 0, "--features")
    assert run(*common, "-o", tmp_path / "torch") == 0
    assert run(*common, "-o", tmp_path / "engine", "--engine", "onnxruntime") == 0
    written = sorted(path.name for path in (tmp_path / "torch" / "maps" / "one").glob("*.nii.gz"))
    assert {"gate_0.nii.gz", "mean.nii.gz"} < set(written)
    for name in written:
        expected, found = (
            voxels(tmp_path / out / "maps" / "one" / name) for out in ("torch", "engine")
        )
        np.testing.assert_allclose(found, expected, atol=1e-5)
    for case in ("one.nii.gz", "two.nii.gz"):
        np.testing.assert_array_equal(
            voxels(tmp_path / "torch" / case), voxels(tmp_path / "engine" / case)
        )
    sidecar = json.loads((tmp_path / "engine" / "maps" / "one" / "maps.json").read_text())
    assert sidecar["prediction"]["network"] == "AttentionUNet"
    assert sidecar["prediction"]["engine"] == "onnxruntime"


@pytest.mark.parametrize("flag", ["--no-mirroring", "--disable_tta"])
def test_mirroring_is_turned_off(model, images, tmp_path, flag):
    assert run("-i", images, "-o", tmp_path / "out", "-m", model, "-f", 0, flag) == 0
    sidecar = json.loads((tmp_path / "out" / "maps" / "one" / "maps.json").read_text())
    assert sidecar["prediction"]["mirroring_axes"] == []


def test_a_model_without_gates_names_the_remedy(model, plans, images, tmp_path, capsys):
    plain = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    write_model(plain, plans, nnUNetTrainer)
    message = error_of(capsys, "-i", images, "-o", tmp_path / "out", "-m", plain, "-f", 0)
    assert "PlainConvUNet has no attention gates" in message
    assert "nnunet-attention upgrade" in message
    assert not (tmp_path / "out").exists()


def test_missing_folds_are_named_with_those_that_are_there(model, images, tmp_path, capsys):
    message = error_of(capsys, "-i", images, "-o", tmp_path / "out", "-m", model)
    assert "no checkpoint_final.pth for fold 2 3 4" in message
    assert "-f 0 1" in message


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("-m", "nowhere", "-f", 0), "nowhere: there is no such model folder"),
        (("-f", 0), "give either the model's folder with -m, or -d and -c"),
        (("-d", 900), "-d needs -c too"),
        (("-d", 900, "-c", "3d_fullres", "-m", "x"), "give either"),
        (("-m", "x", "-gt", "nowhere"), "-gt nowhere: there is no such folder"),
        (("-m", "x", "-num_parts", 2, "-part_id", 2), "the parts are 0 to 1"),
    ],
)
def test_wrong_usage_is_one_line(model, images, tmp_path, capsys, arguments, wanted):
    assert wanted in error_of(capsys, "-i", images, "-o", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("-c", "3d_fullres"), "-c would be ignored with -m"),
        (("-tr", "T", "-p", "P"), "-tr, -p would be ignored with -m"),
        (("--full_range",), "--full_range would be ignored with --no_pictures"),
        (
            ("-gt", "LABELS"),
            "-gt would be ignored with --no_pictures; leave one out, or add --html",
        ),
        (("-prev_stage_predictions", "LABELS"), "-prev_stage_predictions would be ignored as the"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    model, images, tmp_path, capsys, arguments, wanted
):
    labels = tmp_path / "labels"
    labels.mkdir()
    for case in ("one", "two"):
        shutil.copy(images / f"{case}_0000.nii.gz", labels / f"{case}.nii.gz")
    given = [labels if word == "LABELS" else word for word in arguments]
    common = ("-i", images, "-o", tmp_path / "out", "-m", model, "-f", 0)
    assert wanted in error_of(capsys, *common, *given)
    assert not (tmp_path / "out").exists()


def test_missing_images_channels_and_references_are_named(model, images, tmp_path, capsys):
    common = ("-o", tmp_path / "out", "-m", model, "-f", 0)
    assert "there is no such folder" in error_of(capsys, "-i", tmp_path / "none", *common)
    (tmp_path / "empty").mkdir()
    assert "files must be named CASE_0000.nii.gz" in error_of(
        capsys, "-i", tmp_path / "empty", *common
    )
    for name in ("one.nii.gz", "hippocampus_127.nii.gz", "_0000.nii.gz"):
        unnumbered = shutil.copy(images / "one_0000.nii.gz", images / name)
        message = error_of(capsys, "-i", images, *common)
        assert f"{name} has no channel in its name; files must be named CASE_0000.nii.gz" in message
        unnumbered.unlink()
    (images / "one_0001.nii.gz").unlink()
    assert "one_0001.nii.gz missing" in error_of(capsys, "-i", images, *common)
    shutil.copy(images / "one_0000.nii.gz", images / "one_0001.nii.gz")
    message = error_of(capsys, "-i", images, *common, "-gt", tmp_path / "empty")
    assert "2 of 2 label images are missing; the first is one.nii.gz" in message
    assert not (tmp_path / "out").exists()


def test_channels_other_than_the_models_are_named_with_their_case(model, images, tmp_path, capsys):
    common = ("-i", images, "-o", tmp_path / "out", "-m", model, "-f", 0)
    one = images / "one_0000.nii.gz"
    added = [shutil.copy(one, images / f"scan_{year}.nii.gz") for year in (2023, 2024)]
    message = error_of(capsys, *common)
    assert "case scan has the channel(s) 2023, 2024, but the model takes 0000 to 0001" in message
    assert "if it is a case of its own, name it scan_2023_0000.nii.gz" in message
    for path in added:
        path.unlink()
    of_macos = shutil.copy(one, images / "._one_0000.nii.gz")
    assert "._one_0000.nii.gz is not an image, but metadata that macOS" in error_of(capsys, *common)
    of_macos.unlink()
    (images / "two_0000.nii.gz").unlink()
    assert "case two: two_0000.nii.gz missing" in error_of(capsys, *common)
    assert not (tmp_path / "out").exists()


def test_files_that_nnunet_cannot_read_are_named_with_their_case(model, images, tmp_path, capsys):
    common = ("-i", images, "-o", tmp_path / "out", "-m", model, "-f", 0)
    whole = (images / "two_0001.nii.gz").read_bytes()
    (images / "two_0001.nii.gz").write_bytes(whole[:-12])
    message = error_of(capsys, *common)
    assert "case two: " in message
    assert "two_0001.nii.gz is incomplete or damaged" in message
    volume = SimpleITK.GetImageFromArray(np.zeros((4, 5, 9, 18), np.float32), isVector=False)
    SimpleITK.WriteImage(volume, str(images / "two_0001.nii.gz"))
    message = error_of(capsys, *common)
    assert "case two: two_0000.nii.gz, two_0001.nii.gz hold(s) 5 channel(s), but" in message
    (images / "two_0001.nii.gz").write_bytes(whole)
    references = tmp_path / "references"
    references.mkdir()
    for case in ("one", "two"):
        shutil.copy(images / "two_0000.nii.gz", references / f"{case}.nii.gz")
    (references / "two.nii.gz").write_bytes(b"")
    message = error_of(capsys, *common, "-gt", references, "--html")
    assert f"case two: {references / 'two.nii.gz'} is incomplete or damaged: it is empty" in message
    assert not list(tmp_path.glob("out/**/*.nii.gz"))


def test_an_image_of_nan_is_named(model, plans, images, tmp_path, capsys):
    # ITK would read 0.
    (model / "plans.json").write_text(json.dumps(plans | {"image_reader_writer": "NibabelIO"}))
    array = np.zeros((18, 9, 5), np.float32)
    array[3, 2, 1] = np.nan
    affine = nibabel.load(images / "two_0000.nii.gz").affine
    nibabel.save(nibabel.Nifti1Image(array, affine), images / "two_0000.nii.gz")
    message = error_of(capsys, "-i", images, "-o", tmp_path / "out", "-m", model, "-f", 0)
    assert "case two: the image contains NaN or infinity" in message
    assert (tmp_path / "out" / "one.nii.gz").exists()
    assert not (tmp_path / "out" / "two.nii.gz").exists()


def test_an_error_while_preprocessing_names_its_file(model, images, tmp_path, capsys, monkeypatch):
    def fail(*arguments, **named):
        raise AssertionError("only 3d images are supported")

    monkeypatch.setattr(
        "nnunetv2.preprocessing.preprocessors.default_preprocessor.DefaultPreprocessor.run_case",
        fail,
    )
    message = error_of(capsys, "-i", images, "-o", tmp_path / "out", "-m", model, "-f", 0)
    assert "one_0000.nii.gz: cannot be read or preprocessed: only 3d images" in message


def test_a_cascade_asks_for_the_previous_stage(model, plans, images, tmp_path, capsys):
    plans["configurations"]["3d_fullres"]["previous_stage"] = "3d_lowres"
    plans["configurations"]["3d_lowres"] = plans["configurations"]["3d_fullres"] | {
        "previous_stage": None
    }
    cascade = tmp_path / "cascade"
    manager = PlansManager(plans)
    # Two channels of the image, and one for each of the two labels.
    network = AttentionUNetTrainer.build_network_architecture(
        manager, manager.get_configuration("3d_fullres"), 4, 3, False
    )
    checkpoint = plain_checkpoint(plans, trainer=AttentionUNetTrainer)
    checkpoint["network_weights"] = network.state_dict()
    (cascade / "fold_0").mkdir(parents=True)
    save_checkpoint(checkpoint, cascade / "fold_0" / "checkpoint_final.pth")
    (cascade / "plans.json").write_text(json.dumps(plans))
    (cascade / "dataset.json").write_text(json.dumps(DATASET_JSON))
    common = ("-i", images, "-o", tmp_path / "out", "-m", cascade, "-f", 0)
    assert "predict 3d_lowres first" in error_of(capsys, *common)
    previous = tmp_path / "previous"
    previous.mkdir()
    for case in ("one", "two"):
        labels = SimpleITK.ReadImage(str(images / f"{case}_0000.nii.gz")) > 0.5
        SimpleITK.WriteImage(labels, str(previous / f"{case}.nii.gz"))
    assert run(*common, "-prev_stage_predictions", previous) == 0
    assert voxels(tmp_path / "out" / "maps" / "two" / "gate_0.nii.gz").shape == (5, 9, 18)


def test_an_output_that_cannot_be_a_folder_is_named_before_loading(
    model, images, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("nnunet_attention.prediction.trained_model.load_checkpoint", None)
    (tmp_path / "file").write_text("")
    for output, words in (
        (tmp_path / "file", "there is a file of this name"),
        (tmp_path / "file" / "out", "part of the path is a file"),
    ):
        said = error_of(capsys, "-i", images, "-o", output, "-m", model, "-f", 0)
        assert f"-o: cannot write in {output}: {words}" in said
