"""Where images are resampled on a GPU, logits become labels there; a CPU stands in for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from nnunet_commands import voxels
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_models import tiny_plans, write_images, write_model

from nnunet_attention.prediction import predictor
from nnunet_attention.prediction.folder_prediction import FolderPrediction, predict_folder

pytestmark = pytest.mark.filterwarnings("ignore")
CASES = ("one", "two")


class OnDevice(predictor.CasePredictor):
    """Believes that its device is not the CPU; notes how logits were averaged."""

    averaged_by_nnunet = 0

    @property
    def _reduces_on_device(self):
        return self.configuration_manager.resamples_logits

    def predict_logits_from_preprocessed_data(self, data):
        type(self).averaged_by_nnunet += 1
        return super().predict_logits_from_preprocessed_data(data)


@pytest.fixture
def kind(monkeypatch) -> type[OnDevice]:
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(OnDevice, "averaged_by_nnunet", 0)
    return OnDevice


@pytest.fixture(scope="module")
def prediction(tmp_path_factory) -> FolderPrediction:
    """Two cases that are resampled, and a model of two folds."""
    from smallest_plans import smallest_plans

    folder = tmp_path_factory.mktemp("device")
    write_model(folder / "model", tiny_plans(smallest_plans()), nnUNetTrainer)
    write_images(folder / "images")
    for path in (folder / "images").iterdir():
        image = SimpleITK.ReadImage(str(path))
        image.SetSpacing((1.3, 1.7, 3.9))
        SimpleITK.WriteImage(image, str(path))
    return FolderPrediction(
        images=folder / "images",
        output=folder / "expected",
        model_folder=folder / "model",
        device="cpu",
        resampling="nnunet",
        mirroring=False,
        preprocessing_processes=0,
        export_processes=0,
    )


@pytest.fixture(scope="module")
def expected(prediction) -> Path:
    predict_folder(prediction)
    for case in CASES:
        assert len(np.unique(voxels(prediction.output / f"{case}.nii.gz"))) > 1
    return prediction.output


def assert_equal(found: Path, expected: Path) -> None:
    for case in CASES:
        np.testing.assert_array_equal(
            voxels(found / f"{case}.nii.gz"), voxels(expected / f"{case}.nii.gz")
        )


def test_labels_of_averaged_folds_are_nnunets(prediction, expected, kind, tmp_path):
    predict_folder(replace(prediction, output=tmp_path, resampling="device"), kind)
    assert_equal(tmp_path, expected)
    assert kind.averaged_by_nnunet == 0


def test_probabilities_are_exported_as_before(prediction, expected, kind, tmp_path):
    wanted = replace(prediction, output=tmp_path, resampling="device", save_probabilities=True)
    predict_folder(wanted, kind)
    assert_equal(tmp_path, expected)
    assert kind.averaged_by_nnunet == 2
    assert (tmp_path / "one.npz").is_file()


def test_folds_that_do_not_fit_on_the_device_are_averaged_by_nnunet(
    prediction, expected, kind, tmp_path, monkeypatch
):
    add = torch.Tensor.add_
    failures = [torch.OutOfMemoryError("CUDA out of memory")]

    def fail_once(*arguments, **options):
        if failures:
            raise failures.pop()
        return add(*arguments, **options)

    monkeypatch.setattr(torch.Tensor, "add_", fail_once)
    predict_folder(replace(prediction, output=tmp_path, resampling="device"), kind)
    assert_equal(tmp_path, expected)
    assert not failures


def test_logits_that_cannot_be_resampled_on_the_device_are_on_the_cpu(
    prediction, expected, kind, tmp_path, monkeypatch
):
    segment, devices = predictor.segmentation_in_image_space, []

    def fail_first(logits, plans, configuration, *arguments):
        devices.append(configuration.device)
        if len(devices) == 1:
            raise RuntimeError("MPS backend out of memory")
        return segment(logits, plans, configuration, *arguments)

    monkeypatch.setattr(predictor, "segmentation_in_image_space", fail_first)
    predict_folder(replace(prediction, output=tmp_path, resampling="device"), kind)
    assert_equal(tmp_path, expected)
    # The first case twice.
    assert devices == [torch.device("cpu")] * 3
