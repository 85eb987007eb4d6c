"""The gates' means reach the trackers that nnU-Net logs to, and change nothing else."""

from pathlib import Path

import pytest
import torch
from nnunetv2.training.logging import nnunet_logger
from nnunetv2.training.logging.nnunet_logger import LocalLogger
from small_networks import small_network
from tiny_trainers import initialized

from nnunet_attention.gates import AttentionGate
from nnunet_attention.recorder import mean_coefficients
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import load_checkpoint

# As `train` in conftest.py has it: two epochs.
NAME = "AttentionUNetTrainer"
# The smallest plans have three stages, and the skip of full resolution is not gated.
KEYS = {"attention/gate_0"}


class Tracker:
    """Keeps what it is told, in the place of nnU-Net's WandbLogger."""

    told: list

    def __init__(self, output_folder, resume):
        Tracker.told = []

    def update_config(self, config):
        pass

    def log(self, key, value, step):
        self.told.append((key, value, step))

    def log_summary(self, key, value):
        pass


@pytest.fixture
def tracker(monkeypatch):
    monkeypatch.setattr(nnunet_logger, "WandbLogger", Tracker)
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    return Tracker


def gates_told(tracker) -> list[tuple[str, int]]:
    return [(key, step) for key, _, step in tracker.told if key.startswith("attention/")]


def test_means_are_those_of_each_gates_coefficients():
    network = small_network()
    images = torch.randn(2, 1, 4, 8, 16)
    expected = []
    listeners = [
        module.register_forward_hook(lambda gate, inputs, output: expected.append(output[1].mean()))
        for module in network.modules()
        if isinstance(module, AttentionGate)
    ]
    with torch.no_grad():
        network(images)
    for listener in listeners:
        listener.remove()
    assert mean_coefficients(network, images) == pytest.approx([float(mean) for mean in expected])


def test_each_epoch_tells_the_tracker_once_for_each_gate(tracker, train):
    train(NAME)
    assert gates_told(tracker) == [(key, step) for step in (0, 1) for key in sorted(KEYS)]
    means = [value for key, value, _ in tracker.told if key.startswith("attention/")]
    assert all(type(mean) is float and 0 < mean < 1 for mean in means)


def test_a_compiled_networks_gates_are_told_too(tracker, build):
    trainer = initialized(build(AttentionUNetTrainer))
    network = trainer.network
    # Neither compiled, for it never runs, nor called: only the network inside tells its gates.
    trainer.network = torch.compile(network, backend="eager")
    trainer.network.forward = lambda images: [torch.zeros(2, 2, 4, 8, 16)]
    trainer.loss = lambda output, target: torch.zeros(())
    trainer.on_validation_epoch_start()
    images, labels = torch.randn(2, 1, 4, 8, 16), torch.ones(2, 1, 4, 8, 16)
    output = trainer.validation_step({"data": images, "target": [labels, labels]})
    trainer.on_validation_epoch_end([output])
    told = [value for key, value, _ in tracker.told if key in KEYS]
    assert told == pytest.approx(mean_coefficients(network, images))


def test_a_training_begun_without_a_tracker_goes_on_with_one(train, monkeypatch, tmp_path):
    first = train(NAME, epochs=1)
    assert first.logger.loggers == []
    # As it was when checkpoints were written by versions that told no tracker anything.
    log = load_checkpoint(Path(first.output_folder) / "checkpoint_final.pth")["logging"]
    assert log.keys() == LocalLogger().my_fantastic_logging.keys()
    monkeypatch.setattr(nnunet_logger, "WandbLogger", Tracker)
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    resumed = train(NAME, epochs=3, go_on=True)
    assert gates_told(Tracker) == [(key, step) for step in (1, 2) for key in sorted(KEYS)]
    # progress.png is drawn up to the end of the shortest of these lists.
    local = resumed.logger.local_logger.my_fantastic_logging
    assert {name: len(values) for name, values in local.items()} == dict.fromkeys(log, 3)


def test_checkpoints_and_weights_are_those_of_a_training_without_a_tracker(
    train, monkeypatch, tracker
):
    tracked = train(NAME, seed="3")
    monkeypatch.setenv("nnUNet_wandb_enabled", "0")
    alone = train(NAME, seed="3")
    weights, expected = tracked.network.state_dict(), alone.network.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    logs = [trainer.logger.get_checkpoint() for trainer in (tracked, alone)]
    assert logs[0].keys() == logs[1].keys()
    assert logs[0]["val_losses"] == logs[1]["val_losses"]


def test_without_a_tracker_no_pass_more_is_made(build, monkeypatch):
    trainer = initialized(build(AttentionUNetTrainer))
    passes = []
    trainer.network.register_forward_hook(lambda *_: passes.append(1))
    trainer.set_deep_supervision_enabled(True)
    batch = {
        "data": torch.randn(2, 1, 4, 8, 16),
        "target": [torch.zeros(2, 1, 4, 8, 16), torch.zeros(2, 1, 4, 4, 8)],
    }
    trainer.on_validation_epoch_start()
    with torch.no_grad():
        for _ in range(2):
            trainer.validation_step(batch)
    assert len(passes) == 2
