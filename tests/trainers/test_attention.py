"""The attention trainers differ from stock nnU-Net in their network only."""

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tiny_trainers import initialized

from nnunet_attention import trainers
from nnunet_attention.networks import AttentionUNet, UnsupportedNetworkError

LENGTHS = {
    "AttentionUNetTrainer": 1000,
    "AttentionUNetTrainer_1epoch": 1,
    "AttentionUNetTrainer_5epochs": 5,
    "AttentionUNetTrainer_10epochs": 10,
    "AttentionUNetTrainer_20epochs": 20,
    "AttentionUNetTrainer_50epochs": 50,
    "AttentionUNetTrainer_100epochs": 100,
    "AttentionUNetTrainer_250epochs": 250,
    "AttentionUNetTrainer_500epochs": 500,
    "AttentionUNetTrainer_750epochs": 750,
    "AttentionUNetTrainer_2000epochs": 2000,
    "AttentionUNetTrainer_4000epochs": 4000,
    "AttentionUNetTrainer_8000epochs": 8000,
}


@pytest.mark.parametrize(("name", "epochs"), LENGTHS.items())
def test_lengths_are_nnunets(name, epochs, build):
    trainer = build(getattr(trainers, name))
    assert trainer.num_epochs == epochs
    assert isinstance(trainer, trainers.AttentionUNetTrainer)


def test_nothing_but_the_network_differs_from_stock(build):
    ours, stock = vars(build(trainers.AttentionUNetTrainer)), vars(build(nnUNetTrainer))
    plain_values = (int, float, bool, str, type(None))
    assert set(ours) == set(stock)
    different = {
        key
        for key, value in stock.items()
        if isinstance(value, plain_values) and ours[key] != value
    }
    assert different == {"log_file", "output_folder", "output_folder_base"}


def test_initialised_trainer_holds_the_attention_unet_and_steps(build):
    trainer = initialized(build(trainers.AttentionUNetTrainer))
    assert type(trainer.network) is AttentionUNet
    trainer.set_deep_supervision_enabled(True)
    before = {k: v.clone() for k, v in trainer.network.decoder.gates.named_parameters()}
    batch = {
        "data": torch.randn(2, 1, 4, 8, 16),
        "target": [
            torch.randint(0, 2, (2, 1, 4, 8, 16)).float(),
            torch.randint(0, 2, (2, 1, 4, 4, 8)).float(),
        ],
    }
    # Gates that start with the plain network's function move theta and phi in the second step.
    for _ in range(2):
        trainer.train_step(batch)
    assert all(
        not torch.equal(parameter, before[name])
        for name, parameter in trainer.network.decoder.gates.named_parameters()
    )
    trainer.set_deep_supervision_enabled(False)
    assert trainer.network(batch["data"]).shape == (2, 2, 4, 8, 16)


def test_another_network_in_the_plans_is_refused_before_training(minimal_plans):
    architecture = minimal_plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "dynamic_network_architectures.architectures.primus.Primus"
    manager = PlansManager(minimal_plans)
    with pytest.raises(UnsupportedNetworkError, match=r"Primus.*PlainConvUNet"):
        trainers.AttentionUNetTrainer.build_network_architecture(
            manager, manager.get_configuration("3d_fullres"), 1, 2, True
        )
