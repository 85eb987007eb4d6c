"""The trainers, looked up by nnU-Net's own resolver and built as its commands build them."""

import pickle
import random

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tiny_trainers import build_trainer, initialized, make_nnunet_folders

from nnunet_attention import doorway, trainers
from nnunet_attention.networks import AttentionUNet, UnsupportedNetworkError
from nnunet_attention.trainers.short import (
    SCHEDULE_VARIABLE,
    SEED_VARIABLE,
    short_schedule,
    short_seed,
)

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
}


@pytest.fixture
def build(tmp_path, monkeypatch, minimal_plans):
    make_nnunet_folders(tmp_path, monkeypatch)
    return lambda trainer_class: build_trainer(trainer_class, minimal_plans)


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
    assert pickle.loads(pickle.dumps(found)) is found
    assert "__" not in name


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


def test_benchmark_trainers_refuse_a_machine_without_gpu_as_stock_does(build, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in trainers.__all__:
        if "Benchmark" in name:
            with pytest.raises(AssertionError, match="only works on GPU"):
                build(getattr(trainers, name))


def test_benchmark_trainers_time_five_epochs_of_the_attention_unet(build, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    trainer = build(trainers.AttentionUNetTrainerBenchmark_5epochs)
    assert trainer.num_epochs == 5
    assert trainer.disable_checkpointing
    trainer = build(trainers.AttentionUNetTrainerBenchmark_5epochs_noDataLoading)
    assert trainer.get_dataloaders() == (None, None)
    assert trainer.dummy_batch["data"].shape == (2, 1, 4, 8, 16)
    assert isinstance(trainer, trainers.AttentionUNetTrainer)


@pytest.mark.parametrize("name", ["AttentionUNetTrainer_short", "nnUNetTrainer_short"])
def test_short_trainers_read_their_schedule(name, build, monkeypatch):
    monkeypatch.setenv(SCHEDULE_VARIABLE, "3,7,2")
    trainer = build(getattr(trainers, name))
    schedule = (
        trainer.num_epochs,
        trainer.num_iterations_per_epoch,
        trainer.num_val_iterations_per_epoch,
    )
    assert schedule == (3, 7, 2)
    assert trainer.save_every == 1


@pytest.mark.parametrize("text", [None, ""])
def test_short_schedule_has_a_default(text):
    assert short_schedule(text) == (10, 25, 5)


@pytest.mark.parametrize("text", ["3", "3,7", "3,7,2,1", "a,b,c", "3,7,0", "-1,1,1", "1.5,1,1"])
def test_a_bad_short_schedule_is_refused_and_no_folder_made(text, build, monkeypatch, tmp_path):
    monkeypatch.setenv(SCHEDULE_VARIABLE, text)
    with pytest.raises(ValueError, match=f"{SCHEDULE_VARIABLE}='{text}' must be three"):
        build(trainers.nnUNetTrainer_short)
    assert not list((tmp_path / "nnUNet_results").iterdir())


SHORT = ["AttentionUNetTrainer_short", "WideUNetTrainer_short", "nnUNetTrainer_short"]


@pytest.mark.parametrize("name", SHORT)
def test_a_seed_repeats_the_initial_weights(name, build, monkeypatch):
    first, again = (_initialized(build, monkeypatch, name, "7").state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_another_seed_and_none_give_other_initial_weights(build, monkeypatch):
    key = "encoder.stages.0.0.convs.0.conv.weight"
    weights = [
        _initialized(build, monkeypatch, "nnUNetTrainer_short", seed).state_dict()[key]
        for seed in ("7", "8", "", "")
    ]
    assert len({weight.sum().item() for weight in weights}) == 4


def test_with_one_seed_plain_and_attention_unet_begin_alike(build, monkeypatch):
    plain = _initialized(build, monkeypatch, "nnUNetTrainer_short", "7").state_dict()
    attention = _initialized(build, monkeypatch, "AttentionUNetTrainer_short", "7").state_dict()
    # The skip's half of the convolution behind a gate is doubled, as the gate starts with 0.5.
    doubled = "decoder.stages.0.convs.0."
    for key, value in plain.items():
        begun = attention[key].clone()
        if key.startswith(doubled) and value.ndim == 5:
            begun[:, value.shape[1] // 2 :] /= 2
        assert torch.equal(begun, value), key


def test_a_seed_gives_all_short_trainers_the_same_random_numbers_in_an_epoch(build, monkeypatch):
    drawn = []
    for name in SHORT:
        trainer = _seeded(build, monkeypatch, name, "7")
        # What happened before, such as another number of initial weights, must not matter.
        torch.rand(len(drawn)), np.random.rand(len(drawn)), [random.random() for _ in drawn]
        trainer.current_epoch = 3
        trainer.on_epoch_start()
        drawn.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert len(set(drawn)) == 1


def test_every_epoch_of_a_seed_draws_other_random_numbers(build, monkeypatch):
    trainer = _seeded(build, monkeypatch, "nnUNetTrainer_short", "7")
    drawn = []
    for trainer.current_epoch in range(4):
        trainer.on_epoch_start()
        drawn.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert all(len(set(numbers)) == 4 for numbers in zip(*drawn, strict=True))


@pytest.mark.parametrize("text", ["a", "-1", "1.5", "2147483648", "\u0663"])
def test_a_bad_seed_is_refused_and_no_folder_made(text, build, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=f"{SEED_VARIABLE}='{text}' must be a whole number"):
        _seeded(build, monkeypatch, "nnUNetTrainer_short", text)
    assert not list((tmp_path / "nnUNet_results").iterdir())


def test_no_seed_is_none():
    assert short_seed(None) is short_seed("") is None
    assert short_seed("0") == 0


def _seeded(build, monkeypatch, name, seed):
    monkeypatch.setenv(SEED_VARIABLE, seed)
    return build(getattr(trainers, name))


def _initialized(build, monkeypatch, name, seed):
    return initialized(_seeded(build, monkeypatch, name, seed)).network
