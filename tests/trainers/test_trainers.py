"""All trainers are found by nnU-Net's own resolver."""

import pickle

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_attention import doorway, trainers
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
