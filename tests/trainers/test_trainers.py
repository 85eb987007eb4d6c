"""All trainers are found by nnU-Net's own resolver."""

import pickle

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_attention import doorway, trainers
from nnunet_attention.nnunet.seeds import VARIABLE
from nnunet_attention.trainers.foundation import FoundationTrainer


@pytest.fixture
def resolver(monkeypatch):
    monkeypatch.setenv(doorway.SEARCH_PATH_VARIABLE, doorway.directory())
    return recursive_find_trainer_class_by_name


@pytest.mark.parametrize("name", trainers.__all__)
def test_nnunet_finds_every_trainer_and_always_the_same_class(name, resolver):
    found = resolver(name)
    assert found is getattr(trainers, name)
    assert found is resolver(name)
    assert issubclass(found, nnUNetTrainer)
    assert issubclass(found, FoundationTrainer)
    assert pickle.loads(pickle.dumps(found)) is found
    assert "__" not in name


@pytest.mark.parametrize("name", ["AttentionUNetTrainer", "AttentionUNetSupervisedTrainer"])
def test_workers_of_augmentation_can_be_started_where_processes_are_spawned(
    name, build, tiny_dataset, monkeypatch
):
    """As on Windows and macOS, which send a worker its loader and transforms as a pickle."""
    monkeypatch.setenv(VARIABLE, "3")
    trainer = build(getattr(trainers, name))
    trainer.initialize()
    for loader in trainer.get_dataloaders():
        sent = pickle.loads(pickle.dumps((loader.data_loader, loader.transform)))
        np.random.seed(0)
        torch.manual_seed(0)
        batch = next(sent[0])
        assert batch["data"].shape == (2, 1, *trainer.configuration_manager.patch_size)
