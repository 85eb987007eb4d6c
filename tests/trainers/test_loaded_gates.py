"""Weights of `-pretrained_weights` are refused if the network has no place for their gates."""

import copy
import threading

import pytest
import torch
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_trainers import initialized

from nnunet_attention import trainers
from nnunet_attention.errors import CommandError


@pytest.fixture
def weights_of(build, minimal_plans, tmp_path):
    """Returns a function that saves the weights of a trainer whose gates have an option."""

    def saved(name, **options):
        plans = copy.deepcopy(minimal_plans)
        architecture = plans["configurations"]["3d_fullres"]["architecture"]
        architecture["arch_kwargs"].update(options)
        if options:
            architecture["network_class_name"] = "nnunet_attention.networks.AttentionUNet"
        network = initialized(build(getattr(trainers, name), plans)).network
        torch.save({"network_weights": network.state_dict()}, tmp_path / "start.pth")
        return str(tmp_path / "start.pth")

    return saved


@pytest.mark.parametrize("name", ["AttentionUNetTrainer", "AttentionUNetFinetuneTrainer"])
@pytest.mark.parametrize("option", ["gate_full_resolution", "output_transform"])
def test_gates_without_a_place_in_the_network_are_refused(name, option, build, weights_of):
    path = weights_of("AttentionUNetTrainer", **{option: True})
    trainer = build(getattr(trainers, name))
    with pytest.raises(
        CommandError, match=r"start\.pth: the network of the plans has no place for decoder\.gates"
    ):
        maybe_load_checkpoint(trainer, False, False, path)


def test_all_gates_are_refused_by_a_network_without_any(build, weights_of):
    path = weights_of("AttentionUNetTrainer")
    with pytest.raises(
        CommandError, match=r"start\.pth: they have gates, .* nnUNetTrainer_short has none"
    ):
        maybe_load_checkpoint(build(trainers.nnUNetTrainer_short), False, False, path)


@pytest.mark.parametrize("name", ["AttentionUNetTrainer", "AttentionUNetFinetuneTrainer"])
def test_the_same_gates_are_taken(name, build, weights_of):
    path = weights_of("AttentionUNetTrainer")
    trainer = build(getattr(trainers, name))
    maybe_load_checkpoint(trainer, False, False, path)
    gate = "decoder.gates.0.psi.weight"
    wanted = torch.load(path)["network_weights"][gate]
    assert torch.equal(trainer.network.state_dict()[gate], wanted)


@pytest.mark.parametrize("name", ["AttentionUNetTrainer", "AttentionUNetFinetuneTrainer"])
def test_a_copy_of_the_network_copies_no_trainer(name, build, weights_of, monkeypatch):
    path = weights_of("AttentionUNetTrainer")
    trainer = build(getattr(trainers, name))
    maybe_load_checkpoint(trainer, False, False, path)
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda _: None)
    trainer.on_train_start()
    # As workers that load data have.
    trainer.lock = threading.Lock()
    copied = copy.deepcopy(trainer.network)
    assert copied.state_dict().keys() == trainer.network.state_dict().keys()
