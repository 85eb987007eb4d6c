"""Trainers of all lengths repeat what a seed gives, and keep the seed that they began with."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_trainers import initialized

from nnunet_attention import trainers
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.seeds import VARIABLE

# Of each kind, and of each length's way to be made.
SOME = [
    *("AttentionUNetTrainer", "AttentionUNetTrainer_5epochs", "AttentionUNetTrainer_short"),
    *("WideUNetTrainer", "WideUNetTrainer_250epochs", "WideUNetTrainer_short"),
    "nnUNetTrainer_short",
]
# The benchmarks refuse to be built without a GPU.
ALL = [name for name in trainers.__all__ if "Benchmark" not in name]
FIRST_KERNEL = "encoder.stages.0.0.convs.0.conv.weight"


@pytest.mark.parametrize("name", ALL)
def test_every_trainer_takes_the_seed_and_is_as_ever_without(name, build, monkeypatch):
    assert _seeded(build, monkeypatch, name, "7")._seed == 7
    monkeypatch.delenv(VARIABLE)
    assert build(getattr(trainers, name))._seed is None


@pytest.mark.parametrize("name", SOME)
def test_a_seed_repeats_the_initial_weights(name, build, monkeypatch):
    first, again = (_initialized(build, monkeypatch, name, "7").state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_another_seed_and_none_give_other_initial_weights(build, monkeypatch):
    weights = [
        _initialized(build, monkeypatch, "AttentionUNetTrainer", seed).state_dict()[FIRST_KERNEL]
        for seed in ("7", "8", "", "")
    ]
    assert len({weight.sum().item() for weight in weights}) == 4


def test_without_a_seed_no_random_number_is_touched(build, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    trainer = initialized(build(trainers.AttentionUNetTrainer))
    torch.manual_seed(3)
    trainer.on_epoch_start()
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), drawn)


def test_with_one_seed_plain_and_attention_unet_begin_alike(build, monkeypatch):
    plain = _initialized(build, monkeypatch, "nnUNetTrainer_short", "7").state_dict()
    attention = _initialized(build, monkeypatch, "AttentionUNetTrainer", "7").state_dict()
    # The skip's half of the convolution behind a gate is doubled, as the gate starts with 0.5.
    doubled = "decoder.stages.0.convs.0."
    for key, value in plain.items():
        begun = attention[key].clone()
        if key.startswith(doubled) and value.ndim == 5:
            begun[:, value.shape[1] // 2 :] /= 2
        assert torch.equal(begun, value), key


def test_a_seed_gives_all_trainers_the_same_random_numbers_in_an_epoch(build, monkeypatch):
    drawn = []
    for name in SOME:
        trainer = _seeded(build, monkeypatch, name, "7")
        # What happened before, such as another number of initial weights, must not matter.
        torch.rand(len(drawn)), np.random.rand(len(drawn)), [random.random() for _ in drawn]
        trainer.current_epoch = 3
        trainer.on_epoch_start()
        drawn.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert len(set(drawn)) == 1


def test_every_epoch_and_gpu_of_a_seed_draws_other_random_numbers(build, monkeypatch):
    drawn = []
    for rank in range(2):
        trainer = _seeded(build, monkeypatch, "AttentionUNetTrainer", "7")
        trainer.local_rank = rank
        for trainer.current_epoch in range(4):
            trainer.on_epoch_start()
            drawn.append((torch.rand(1).item(), np.random.rand(), random.random()))
    assert all(len(set(numbers)) == 8 for numbers in zip(*drawn, strict=True))


@pytest.mark.parametrize("name", ["AttentionUNetTrainer", "nnUNetTrainer_short"])
def test_a_bad_seed_is_refused_and_no_folder_made(name, build, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=f"{VARIABLE}='1.5' must be a whole number"):
        _seeded(build, monkeypatch, name, "1.5")
    assert not list((tmp_path / "nnUNet_results").iterdir())


def weights(trainer) -> dict:
    return {key: value.clone() for key, value in trainer.network.state_dict().items()}


def same(first: dict, second: dict) -> bool:
    return all(torch.equal(first[key], second[key]) for key in first)


def fold_of(trainer) -> Path:
    return Path(trainer.output_folder)


@pytest.mark.parametrize("name", ["AttentionUNetTrainer_short", "AttentionUNetTrainer"])
def test_a_seed_repeats_a_training_to_the_last_bit(name, train):
    first, again, other = (weights(train(name, seed)) for seed in ("7", "7", "8"))
    assert same(first, again)
    assert not torch.equal(first[FIRST_KERNEL], other[FIRST_KERNEL])


def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(train):
    whole = weights(train("AttentionUNetTrainer", "7", epochs=3))
    train("AttentionUNetTrainer", "7", epochs=1)
    assert same(whole, weights(train("AttentionUNetTrainer", "7", epochs=3, go_on=True)))


def test_a_training_with_one_worker_is_repeated_too(train, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    first, again = (weights(train("WideUNetTrainer", "7")) for _ in range(2))
    assert same(first, again)


def test_workers_get_different_seeds_and_again_the_same(build, monkeypatch):
    loaders = [NonDetMultiThreadedAugmenter(None, None, number) for number in (3, 2)]
    monkeypatch.setattr(nnUNetTrainer, "get_dataloaders", lambda _: tuple(loaders))
    restarted = []
    monkeypatch.setattr(
        NonDetMultiThreadedAugmenter, "restart", lambda loader: restarted.append(loader)
    )

    def seeds(seed, rank=0, epoch=0):
        trainer = _seeded(build, monkeypatch, "AttentionUNetTrainer", seed)
        trainer.local_rank, trainer.current_epoch = rank, epoch
        trainer.get_dataloaders()
        return [seed for loader in loaders for seed in loader.seeds]

    assert seeds("") == [None] * 5
    assert restarted == []
    found = [seeds("7"), seeds("8"), seeds("7", rank=1), seeds("7", epoch=1)]
    assert restarted == loaders * 4
    assert len({seed for some in found for seed in some}) == 20
    assert seeds("7") == found[0]


def test_the_seed_stands_in_the_folder_and_the_log(train):
    fold = fold_of(train("AttentionUNetTrainer", "7", epochs=1))
    assert json.loads((fold / "seed.json").read_text()) == {"seed": 7, "first_epoch": 0}
    assert json.loads((fold / "debug.json").read_text())["_seed"] == "7"
    (log,) = fold.glob("training_log_*.txt")
    assert "The training is seeded with 7 (NNUNET_ATTENTION_SEED)" in log.read_text()


def test_a_training_begun_anew_without_a_seed_leaves_no_seed_of_an_earlier_one(train):
    train("AttentionUNetTrainer", "7", epochs=1)
    fold = fold_of(train("AttentionUNetTrainer", "", epochs=1))
    assert not (fold / "seed.json").exists()


def test_a_training_goes_on_with_its_seed_where_none_is_given(train):
    whole = weights(train("AttentionUNetTrainer", "7", epochs=3))
    train("AttentionUNetTrainer", "7", epochs=1)
    again = train("AttentionUNetTrainer", "", epochs=3, go_on=True)
    assert same(whole, weights(again))
    assert json.loads((fold_of(again) / "seed.json").read_text())["seed"] == 7


def test_a_training_that_was_begun_with_another_seed_is_refused(train):
    fold = fold_of(train("AttentionUNetTrainer", "7", epochs=1))
    before = {path: path.read_bytes() for path in fold.glob("*.pth")}
    with pytest.raises(CommandError, match="was trained with the seed 7, but 8 was requested"):
        train("AttentionUNetTrainer", "8", epochs=3, go_on=True)
    assert {path: path.read_bytes() for path in fold.glob("*.pth")} == before
    assert json.loads((fold / "seed.json").read_text())["seed"] == 7


def test_a_training_that_was_begun_without_a_seed_says_since_when_it_has_one(train):
    train("AttentionUNetTrainer", "", epochs=1)
    trainer = train("AttentionUNetTrainer", "7", epochs=2, go_on=True)
    assert json.loads((fold_of(trainer) / "seed.json").read_text()) == {
        "seed": 7,
        "first_epoch": 1,
    }
    assert "seeded with 7 since epoch 1" in Path(trainer.log_file).read_text()


def _seeded(build, monkeypatch, name, seed):
    monkeypatch.setenv(VARIABLE, seed)
    return build(getattr(trainers, name))


def _initialized(build, monkeypatch, name, seed):
    return initialized(_seeded(build, monkeypatch, name, seed)).network
