"""Our trainers, and not their networks, bring the normalisations whose output is no view."""

import copy

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_trainers import initialized
from torch import nn

from nnunet_attention import trainers
from nnunet_attention.networks.normalisation import InstanceNorm3d
from nnunet_attention.plans import converted_plans

OURS = ["AttentionUNetTrainer", "WideUNetTrainer"]


def norms(network):
    return {type(module) for module in network.modules() if "InstanceNorm" in str(type(module))}


@pytest.mark.parametrize("name", OURS)
def test_the_network_in_training_has_no_views(name, build):
    assert norms(initialized(build(getattr(trainers, name))).network) == {InstanceNorm3d}


@pytest.mark.parametrize("name", OURS)
def test_they_are_there_before_the_network_is_compiled(name, build, monkeypatch):
    compiled = []

    def compile_network(network):
        compiled.append(norms(network))
        return network

    monkeypatch.setattr(nnUNetTrainer, "_do_i_compile", lambda self: True)
    monkeypatch.setattr(torch, "compile", compile_network)
    initialized(build(getattr(trainers, name)))
    # A part of the loss follows.
    assert compiled[0] == {InstanceNorm3d}


@pytest.mark.parametrize("name", OURS)
def test_they_are_there_before_the_network_is_distributed(name, build, monkeypatch):
    distributed = []

    def distribute(network, device_ids):
        distributed.append(norms(network))
        return network

    trainer = build(getattr(trainers, name))
    trainer.is_ddp = True
    monkeypatch.setattr(trainer, "_set_batch_size_and_oversample", lambda: None)
    monkeypatch.setattr(f"{nnUNetTrainer.__module__}.DDP", distribute)
    initialized(trainer)
    assert distributed == [{InstanceNorm3d}]


def test_stock_nnunet_trains_our_plans_with_torchs_normalisations(build, minimal_plans):
    plans = converted_plans(minimal_plans, "AttentionUNetPlans")
    network = initialized(build(nnUNetTrainer, plans)).network
    assert type(network).__name__ == "AttentionUNet"
    assert norms(network) == {nn.InstanceNorm3d}


@pytest.mark.parametrize("ours_first", [True, False])
def test_checkpoints_load_both_ways(ours_first, build, minimal_plans, tmp_path):
    plans = converted_plans(minimal_plans, "AttentionUNetPlans")
    ours = initialized(build(trainers.AttentionUNetTrainer, plans))
    stock = initialized(build(nnUNetTrainer, plans))
    source, target = (ours, stock) if ours_first else (stock, ours)
    image = torch.randn(1, 1, 4, 8, 16)
    # A step, so that the optimizer has a state too.
    source.set_deep_supervision_enabled(True)
    sum(logits.pow(2).mean() for logits in source.network(image)).backward()
    source.optimizer.step()
    expected = [logits.detach() for logits in source.network(image)]
    state = copy.deepcopy(source.network.state_dict())
    source.save_checkpoint(str(tmp_path / "checkpoint.pth"))

    target.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    target.set_deep_supervision_enabled(True)
    assert list(target.network.state_dict()) == list(state)
    assert all(map(torch.equal, target.network.state_dict().values(), state.values()))
    assert all(map(torch.equal, target.network(image), expected))
    momentum = [one["momentum_buffer"] for one in source.optimizer.state.values()]
    loaded = [one["momentum_buffer"] for one in target.optimizer.state.values()]
    assert all(map(torch.equal, loaded, momentum))
