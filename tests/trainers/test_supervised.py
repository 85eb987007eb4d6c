"""The supervised trainers differ from AttentionUNetTrainer in the gates' loss only."""

import json
import os
from pathlib import Path

import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tiny_trainers import initialized

from nnunet_attention import trainers
from nnunet_attention.errors import CommandError
from nnunet_attention.networks.gate_supervision import foreground_on_grid
from nnunet_attention.nnunet.supervision import VARIABLE
from nnunet_attention.trainers import precision
from nnunet_attention.trainers.supervised import supervision_weight

LENGTHS = {
    "AttentionUNetSupervisedTrainer": 1000,
    "AttentionUNetSupervisedTrainer_1epoch": 1,
    "AttentionUNetSupervisedTrainer_5epochs": 5,
    "AttentionUNetSupervisedTrainer_10epochs": 10,
    "AttentionUNetSupervisedTrainer_20epochs": 20,
    "AttentionUNetSupervisedTrainer_50epochs": 50,
    "AttentionUNetSupervisedTrainer_100epochs": 100,
    "AttentionUNetSupervisedTrainer_250epochs": 250,
    "AttentionUNetSupervisedTrainer_500epochs": 500,
    "AttentionUNetSupervisedTrainer_750epochs": 750,
    "AttentionUNetSupervisedTrainer_2000epochs": 2000,
    "AttentionUNetSupervisedTrainer_4000epochs": 4000,
    "AttentionUNetSupervisedTrainer_8000epochs": 8000,
    "AttentionUNetSupervisedTrainer_short": 10,
}
NAME = "AttentionUNetSupervisedTrainer"


@pytest.mark.parametrize(("name", "epochs"), LENGTHS.items())
def test_lengths_are_nnunets(name, epochs, build):
    trainer = build(getattr(trainers, name))
    assert trainer.num_epochs == epochs
    assert isinstance(trainer, trainers.AttentionUNetTrainer)
    assert name in trainers.__all__


def test_the_weight_falls_to_zero_in_the_first_half_of_the_training():
    weights = [supervision_weight(0.5, epoch, 10) for epoch in range(10)]
    assert weights == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0, 0, 0, 0, 0])
    assert supervision_weight(0.5, 0, 1) == 0.5


def test_a_malformed_weight_is_refused_and_no_folder_made(build, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "much")
    with pytest.raises(CommandError, match=VARIABLE):
        build(getattr(trainers, NAME))
    assert not list((tmp_path / "nnUNet_results").iterdir())


def weights(trainer) -> dict:
    return {key: value.clone() for key, value in trainer.network.state_dict().items()}


def same(first: dict, second: dict) -> bool:
    return set(first) == set(second) and all(torch.equal(first[k], second[k]) for k in first)


def test_with_weight_zero_the_training_is_attention_unet_trainers_to_the_last_bit(
    train, monkeypatch
):
    unsupervised = weights(train("AttentionUNetTrainer", "7"))
    monkeypatch.setenv(VARIABLE, "0")
    assert same(weights(train(NAME, "7")), unsupervised)
    monkeypatch.setenv(VARIABLE, "0.5")
    assert not same(weights(train(NAME, "7")), unsupervised)


def test_an_interrupted_training_goes_on_with_the_weight_of_its_epoch(train, monkeypatch):
    whole = train(NAME, "7", epochs=4)
    log = "".join(path.read_text() for path in Path(whole.output_folder).glob("*.txt"))
    assert "Weight of the gates' loss: 0.5, border: 1" in log
    assert "Weight of the gates' loss: 0.25, border: 1" in log
    assert log.count("gates' loss 0.") == 2

    def stop(trainer):
        raise KeyboardInterrupt("a kill after the first epoch's checkpoint")

    with monkeypatch.context() as patch:
        start = trainers.AttentionUNetSupervisedTrainer.on_epoch_start
        patch.setattr(
            trainers.AttentionUNetSupervisedTrainer,
            "on_epoch_start",
            lambda trainer: stop(trainer) if trainer.current_epoch == 1 else start(trainer),
        )
        with pytest.raises(KeyboardInterrupt):
            train(NAME, "7", epochs=4)
    fold = Path(whole.output_folder)
    os.replace(fold / "checkpoint_latest.pth", fold / "checkpoint_final.pth")
    assert same(weights(train(NAME, "7", epochs=4, go_on=True)), weights(whole))


def record(trainer) -> dict:
    return json.loads((Path(trainer.output_folder) / "supervision.json").read_text())


def test_a_training_keeps_its_supervision_and_is_not_gone_on_with_another(train, monkeypatch):
    monkeypatch.setenv(VARIABLE, "0.25,2")
    assert record(train(NAME, "7", epochs=1)) == {"weight": 0.25, "border": 2, "first_epoch": 0}
    monkeypatch.delenv(VARIABLE)
    resumed = train(NAME, "7", epochs=4, go_on=True)
    assert (resumed._supervision.weight, resumed.loss.border) == (0.25, 2)
    assert record(resumed) == {"weight": 0.25, "border": 2, "first_epoch": 0}
    fold = Path(resumed.output_folder)
    log = "".join(path.read_text() for path in fold.glob("*.txt"))
    assert "Weight of the gates' loss: 0.125, border: 2" in log
    before = (fold / "checkpoint_final.pth").read_bytes()
    monkeypatch.setenv(VARIABLE, "0.5")
    with pytest.raises(
        CommandError, match=r"with NNUNET_ATTENTION_SUPERVISION=0\.25,2, and 0\.5,1"
    ):
        train(NAME, "7", epochs=5, go_on=True)
    assert (fold / "checkpoint_final.pth").read_bytes() == before
    # Begun anew, it is another training.
    assert record(train(NAME, "7", epochs=1)) == {"weight": 0.5, "border": 1, "first_epoch": 0}


def test_without_a_record_a_resumed_training_says_since_when_its_supervision_is_known(train):
    begun = train(NAME, "7", epochs=1)
    (Path(begun.output_folder) / "supervision.json").unlink()
    assert record(train(NAME, "7", epochs=2, go_on=True))["first_epoch"] == 1


@pytest.mark.parametrize(
    ("first", "second"), [(NAME, "AttentionUNetTrainer"), ("AttentionUNetTrainer", NAME)]
)
def test_checkpoints_are_interchangeable(first, second, train, build):
    trained = train(first, "7", epochs=1)
    other = initialized(build(getattr(trainers, second)))
    other.load_checkpoint(str(Path(trained.output_folder) / "checkpoint_final.pth"))
    assert same(weights(other), weights(trained))


def test_a_network_built_for_prediction_gives_out_logits_alone(minimal_plans):
    manager = PlansManager(minimal_plans)
    network = getattr(trainers, NAME).build_network_architecture(
        manager, manager.get_configuration("3d_fullres"), 1, 2, False
    )
    assert network(torch.rand(1, 1, 4, 8, 16)).shape == (1, 2, 4, 8, 16)


def batch() -> dict:
    """Two images of noise, brighter in a box that is elsewhere in each."""
    labels = torch.zeros(2, 1, 4, 8, 16)
    labels[0, 0, 1:3, 2:5, 3:6] = labels[1, 0, 2:4, 4:7, 9:12] = 1
    noise = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0))
    return {"data": noise + labels, "target": [labels, labels[..., ::2, ::2].clone()]}


def steps(trainer, epochs) -> list[float]:
    """Train one batch in each of some epochs; return the losses, validation's last."""
    trainer.set_deep_supervision_enabled(True)
    losses = []
    for trainer.current_epoch in epochs:
        trainer.on_train_epoch_start()
        losses.append(float(trainer.train_step(batch())["loss"]))
    trainer.on_validation_epoch_start()
    losses.append(float(trainer.validation_step(batch())["loss"]))
    return losses


@pytest.fixture
def start(build, monkeypatch, one_thread):
    """Returns a function that builds a trainer of ten epochs, always with the same weights."""

    def started(name=NAME):
        torch.manual_seed(5)
        trainer = initialized(build(getattr(trainers, name)))
        trainer.num_epochs = 10
        return trainer

    return started


@pytest.mark.parametrize(("epoch", "weight"), [(0, 0.5), (4, 0.1), (5, 0.0), (9, 0.0)])
def test_the_loss_has_the_gates_part_while_the_weight_lasts(epoch, weight, start):
    supervised, plain = start(), start("AttentionUNetTrainer")
    gained = steps(supervised, [epoch])[0] - steps(plain, [epoch])[0]
    # The gates start with .5 everywhere: -log(.001 + .999 * .5) on both sides.
    assert gained == pytest.approx(weight * 0.69215, abs=1e-5)
    assert (supervised.loss.take_mean() is None) == (weight == 0)


def test_a_compiled_network_is_supervised_too(start):
    eager = steps(start(), [0, 4, 5, 6])
    trainer = start()
    trainer.network = torch.compile(trainer.network, backend="eager")
    assert steps(trainer, [0, 4, 5, 6]) == pytest.approx(eager, rel=1e-5)


def test_a_distributed_network_is_supervised_too(start, tmp_path):
    alone = steps(start(), [0, 4, 5, 6])
    # Built first: where processes talk to each other, nnU-Net expects GPUs.
    trainer = start()
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        trainer.network = torch.nn.parallel.DistributedDataParallel(trainer.network)
        trainer.is_ddp = True
        # In which no output of deep supervision has the weight 0, but one of a millionth.
        trainer.loss = trainer._build_loss()
        assert steps(trainer, [0, 4, 5, 6]) == pytest.approx(alone, rel=1e-4)
    finally:
        torch.distributed.destroy_process_group()


def test_a_network_in_bfloat16_is_supervised_too(start, monkeypatch):
    in_32_bits = steps(start(), [0, 4, 5, 6])
    # Whatever processor this is: torch computes the same, slowly.
    monkeypatch.setattr(precision, "why_no_bfloat16", lambda: None)
    monkeypatch.setenv(precision.VARIABLE, "1")
    losses = steps(start(), [0, 4, 5, 6])
    assert losses != in_32_bits
    assert losses == pytest.approx(in_32_bits, abs=0.05)


def test_gates_learn_where_the_foreground_is(start):
    trainer = start()
    trainer.num_epochs = 200
    steps(trainer, range(60))
    example = batch()
    with torch.no_grad():
        _, coefficients = trainer.network(example["data"], True)
    finest = coefficients[-1]
    inside, outside = foreground_on_grid(example["target"][0] > 0, None, finest.shape[2:], 1)
    assert finest[inside > 0].mean() - finest[outside > 0].mean() > 0.3
