"""Trainers of the smallest plans, built as nnU-Net's commands build them."""

import copy
from pathlib import Path

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

DATASET_JSON = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1},
    "file_ending": ".nii.gz",
    "numTraining": 3,
}


def make_nnunet_folders(root: Path, monkeypatch) -> None:
    """Make nnU-Net's three folders below `root` and set its variables."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (root / name).mkdir()
        monkeypatch.setenv(name, str(root / name))


def build_trainer(trainer_class: type[nnUNetTrainer], plans: dict) -> nnUNetTrainer:
    """Build a trainer of fold 0 on the CPU; it is not initialised."""
    plans = {**copy.deepcopy(plans), "continue_training": False}
    dataset_json = copy.deepcopy(DATASET_JSON)
    return trainer_class(plans, "3d_fullres", 0, dataset_json, torch.device("cpu"))


def initialized(trainer: nnUNetTrainer) -> nnUNetTrainer:
    """Initialise a trainer, with a file by which nnU-Net tells the kind of its data set."""
    folder = Path(trainer.preprocessed_dataset_folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "case.b2nd").touch()
    trainer.initialize()
    return trainer
