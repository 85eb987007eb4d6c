"""Trainers of the smallest plans in folders of their own."""

from pathlib import Path

import pytest
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_preprocessed import write_preprocessed
from tiny_trainers import build_trainer, make_nnunet_folders

from nnunet_attention import trainers
from nnunet_attention.nnunet.schedules import SCHEDULE_VARIABLE
from nnunet_attention.nnunet.seeds import VARIABLE


@pytest.fixture
def build(tmp_path, monkeypatch, minimal_plans):
    """Returns a function that builds a trainer of a class, by default with the smallest plans."""
    make_nnunet_folders(tmp_path, monkeypatch)
    return lambda trainer_class, plans=minimal_plans: build_trainer(trainer_class, plans)


@pytest.fixture
def tiny_dataset(monkeypatch, tmp_path, minimal_plans, one_thread):
    """A tiny data set that the trainers of `build` train on in seconds."""
    configuration = minimal_plans["configurations"]["3d_fullres"]
    configuration["use_mask_for_norm"] = [False]
    folder = tmp_path / "nnUNet_preprocessed" / minimal_plans["dataset_name"]
    write_preprocessed(folder, configuration["data_identifier"])
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    # Of the process that all tests share.
    monkeypatch.setenv("NNUNET_ATTENTION_KEEP_MEMORY", "0")
    # Pictures take longer than the training.
    monkeypatch.setattr(nnUNetTrainer, "plot_network_architecture", lambda _: None)
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda *_: None)


@pytest.fixture
def train(build, monkeypatch, minimal_plans, tiny_dataset):
    """Returns a function that trains on a tiny data set, and again goes on where it ended."""

    def trained(name, seed="", epochs=2, go_on=False):
        monkeypatch.setenv(VARIABLE, seed)
        monkeypatch.setenv(SCHEDULE_VARIABLE, f"{epochs},2,1")
        trainer = build(getattr(trainers, name), minimal_plans)
        trainer.num_epochs = epochs
        trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 2, 1
        trainer.save_every = 1
        if go_on:
            trainer.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
        trainer.run_training()
        return trainer

    return trained
