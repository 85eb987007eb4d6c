"""A device is prepared as nnU-Net prepares it, and no folder that is read is written into."""

import pytest
import torch

from nnunet_attention.errors import CommandError
from nnunet_attention.maps import folder_prediction as maps
from nnunet_attention.maps.export import MapOptions
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
def test_threads_are_those_of_nnunets_prediction(cpus, name, threads, monkeypatch):
    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 6)
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


def test_segmentations_beside_maps_never_replace_the_reference(tmp_path):
    prediction = maps.FolderPrediction(
        images=tmp_path,
        output=tmp_path,
        model_folder=tmp_path,
        options=MapOptions(reference_folder=tmp_path),
    )
    with pytest.raises(CommandError, match=r"-o .*: it is also the folder of -gt"):
        maps.predict_folder(prediction)
