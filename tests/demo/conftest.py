"""A small MSD task folder, and nnU-Net's commands replaced by fast ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from fake_experiments import FakeExperiments, overlap_metrics
from tiny_msd_task import msd_task

from nnunet_attention.demo import results
from nnunet_attention.jobs.process import COMMANDS_VARIABLE

__all__ = ["fast_nnunet", "msd_task"]
PLAIN, ATTENTION = "nnUNetTrainer_short", "AttentionUNetTrainer_short"


def lay_predictions(task: Path, ready: Path) -> None:
    """The attention U-Net will predict all right, and the plain one miss label 2 everywhere."""
    for trainer in (PLAIN, ATTENTION):
        folder = ready / trainer
        folder.mkdir(parents=True)
        counts = {}
        for path in sorted((task / "labelsTr").glob("*.nii.gz")):
            image = SimpleITK.ReadImage(str(path))
            labels = SimpleITK.GetArrayFromImage(image)
            predicted = np.where(labels == 2, 0, labels) if trainer == PLAIN else labels
            prediction = SimpleITK.GetImageFromArray(predicted)
            prediction.CopyInformation(image)
            SimpleITK.WriteImage(prediction, str(folder / path.name))
            counts[path.name.removesuffix(".nii.gz")] = {
                str(label): overlap_metrics(labels == label, predicted == label) for label in (1, 2)
            }
        (folder / "counts.json").write_text(json.dumps(counts))


@pytest.fixture
def fast_nnunet(tmp_path, monkeypatch, msd_task):
    """Predictions of the task's cases are laid ready; networks have 1000 and 1100 parameters."""
    fake = FakeExperiments(tmp_path / "fake")
    lay_predictions(msd_task, tmp_path / "ready")
    monkeypatch.setenv(COMMANDS_VARIABLE, str(fake.bin))
    monkeypatch.setenv("FAKE_READY", str(tmp_path / "ready"))
    numbers = {PLAIN: 1000, ATTENTION: 1100}
    monkeypatch.setattr(results, "count_parameters", lambda trainer, *rest: numbers[trainer])
    return fake
