"""A device is prepared as nnU-Net prepares it, and no folder that is read is written into."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_models import tiny_plans, write_images, write_model

from nnunet_attention.errors import CommandError
from nnunet_attention.maps import folder_prediction as maps
from nnunet_attention.maps.export import MapOptions
from nnunet_attention.prediction import folder_prediction
from nnunet_attention.prediction.folder_prediction import (
    FolderPrediction,
    predict_folder,
    prepared_device,
)


@pytest.fixture
def threads(monkeypatch):
    set_to = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    return set_to


@pytest.mark.parametrize(("cpus", "name"), [(6, "cpu"), (1, "cuda")])
def test_threads_are_as_many_as_processors_or_one_on_a_gpu(cpus, name, threads, monkeypatch):
    monkeypatch.setattr(folder_prediction, "processors", lambda: 6)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert prepared_device(name) == torch.device(name)
    assert threads == [cpus]


@pytest.mark.parametrize(("name", "what"), [("cuda", "GPU"), ("mps", "Apple GPU")])
def test_a_device_that_is_not_there_is_refused(name, what, threads, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(CommandError, match=f"-device {name}: torch finds no {what}; use -device"):
        prepared_device(name)
    assert not threads


def test_segmentations_never_replace_those_of_the_previous_stage(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    (tmp_path / "link").symlink_to(labels)
    prediction = FolderPrediction(
        images=images, output=tmp_path / "link", model_folder=tmp_path, previous_stage=labels
    )
    with pytest.raises(
        CommandError, match=r"-o .*link: it is also the folder of -prev_stage_predictio"
    ):
        predict_folder(prediction)


def test_segmentations_are_not_written_among_the_images(tmp_path):
    prediction = FolderPrediction(images=tmp_path, output=tmp_path, model_folder=tmp_path)
    with pytest.raises(CommandError, match=r"-o .*: it is also the folder of -i, and segmentat"):
        predict_folder(prediction)


@pytest.fixture
def prediction(tmp_path, minimal_plans, threads) -> FolderPrediction:
    write_model(tmp_path / "model", tiny_plans(minimal_plans), nnUNetTrainer)
    write_images(tmp_path / "images")
    return FolderPrediction(
        images=tmp_path / "images",
        output=tmp_path / "out",
        model_folder=tmp_path / "model",
        folds=0,
        device="cpu",
        mirroring=False,
        preprocessing_processes=0,
        export_processes=0,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_written_before_all_images_were_checked(prediction):
    image = prediction.images / "two_0001.nii.gz"
    image.write_bytes(image.read_bytes()[:100])
    with pytest.raises(CommandError, match="case two: "):
        predict_folder(prediction)
    assert not prediction.output.exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_another_models_files_are_never_replaced(prediction, name):
    prediction.output.mkdir()
    (prediction.output / name).write_text('{"my": "own"}')
    before = contents(prediction.output)
    with pytest.raises(CommandError, match=f"-o .*out: its {name} is not of the model, and nnU-N"):
        predict_folder(prediction)
    assert contents(prediction.output) == before


@pytest.mark.filterwarnings("ignore")
def test_a_models_folder_is_no_output(prediction):
    before = contents(prediction.model_folder)
    with pytest.raises(CommandError, match=r"-o .*model: it holds folds of a trained model"):
        predict_folder(replace(prediction, output=prediction.model_folder))
    assert contents(prediction.model_folder) == before


@pytest.mark.filterwarnings("ignore")
def test_an_earlier_prediction_is_replaced_and_files_are_checked_once(prediction, capsys):
    prediction.output.mkdir()
    for name in ("plans.json", "dataset.json", "predict_from_raw_data_args.json"):
        (prediction.output / name).write_text('{"another": "model"}')
    predict_folder(prediction)
    assert capsys.readouterr().out.count("There are 2 cases in the source folder") == 1
    for name in ("plans.json", "dataset.json"):
        expected = json.loads((prediction.model_folder / name).read_text())
        assert json.loads((prediction.output / name).read_text()) == expected
    arguments = json.loads((prediction.output / "predict_from_raw_data_args.json").read_text())
    assert arguments["list_of_lists_or_source_folder"] == str(prediction.images)
    assert {path.name for path in prediction.output.glob("*.nii.gz")} == {
        "one.nii.gz",
        "two.nii.gz",
    }


def test_segmentations_beside_maps_never_replace_the_reference(tmp_path):
    prediction = maps.FolderPrediction(
        images=tmp_path,
        output=tmp_path,
        model_folder=tmp_path,
        options=MapOptions(reference_folder=tmp_path),
    )
    with pytest.raises(CommandError, match=r"-o .*: it is also the folder of -gt"):
        maps.predict_folder(prediction)
