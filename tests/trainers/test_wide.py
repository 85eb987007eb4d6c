"""The wide trainers differ from stock nnU-Net in the network's width only."""

from pathlib import Path

import pytest
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tiny_trainers import initialized

from nnunet_attention import trainers
from nnunet_attention.networks import UnsupportedNetworkError
from nnunet_attention.networks.wide import wide_features_per_stage
from nnunet_attention.nnunet.schedules import SCHEDULE_VARIABLE

LENGTHS = {
    "WideUNetTrainer": 1000,
    "WideUNetTrainer_1epoch": 1,
    "WideUNetTrainer_5epochs": 5,
    "WideUNetTrainer_10epochs": 10,
    "WideUNetTrainer_20epochs": 20,
    "WideUNetTrainer_50epochs": 50,
    "WideUNetTrainer_100epochs": 100,
    "WideUNetTrainer_250epochs": 250,
    "WideUNetTrainer_500epochs": 500,
    "WideUNetTrainer_750epochs": 750,
    "WideUNetTrainer_2000epochs": 2000,
    "WideUNetTrainer_4000epochs": 4000,
    "WideUNetTrainer_8000epochs": 8000,
    "WideUNetTrainer_short": 3,
}


@pytest.fixture(autouse=True)
def short_schedule(monkeypatch):
    monkeypatch.setenv(SCHEDULE_VARIABLE, "3,7,2")


@pytest.mark.parametrize(("name", "epochs"), LENGTHS.items())
def test_lengths_are_nnunets(name, epochs, build):
    trainer = build(getattr(trainers, name))
    assert isinstance(trainer, trainers.WideUNetTrainer)
    assert trainer.num_epochs == epochs
    assert name in trainers.__all__


def test_initialised_trainer_holds_the_widened_plain_network(build):
    trainer = initialized(build(trainers.WideUNetTrainer))
    assert type(trainer.network) is PlainConvUNet
    features = wide_features_per_stage(trainer.configuration_manager, 1, 2)
    assert trainer.network.encoder.output_channels == list(features)
    assert sum(features) > 4 + 6 + 8


def test_another_network_in_the_plans_is_refused_before_training(minimal_plans):
    architecture = minimal_plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "dynamic_network_architectures.architectures.primus.Primus"
    manager = PlansManager(minimal_plans)
    with pytest.raises(UnsupportedNetworkError, match=r"Primus.*PlainConvUNet"):
        trainers.WideUNetTrainer.build_network_architecture(
            manager, manager.get_configuration("3d_fullres"), 1, 2, True
        )


@pytest.mark.parametrize(("features", "is_said"), [([2, 4, 6], True), ([4, 6, 8], False)])
def test_the_log_says_when_the_size_is_missed(build, monkeypatch, minimal_plans, features, is_said):
    architecture = minimal_plans["configurations"]["3d_fullres"]["architecture"]
    architecture["arch_kwargs"]["features_per_stage"] = features
    trainer = build(trainers.WideUNetTrainer)
    trainer.num_input_channels = 1
    # What nnU-Net does there, data loaders and all, is not this test's.
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
    trainer.on_train_start()
    log = Path(trainer.log_file).read_text()
    assert ("the wide U-Net has 2.8% more parameters" in log) == is_said
