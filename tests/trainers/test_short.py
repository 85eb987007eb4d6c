"""Short trainers read schedule and seed, and repeat what a seed gives."""

import random

import numpy as np
import pytest
import torch
from tiny_trainers import initialized

from nnunet_attention import trainers
from nnunet_attention.trainers.short import (
    SCHEDULE_VARIABLE,
    SEED_VARIABLE,
    short_schedule,
    short_seed,
)


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
