"""Our trainers keep freed memory on a CPU, once nnU-Net's worker processes are there."""

from types import SimpleNamespace

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_attention import trainers
from nnunet_attention.trainers import memory, wide


@pytest.fixture
def done(monkeypatch):
    happened = []
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda _: happened.append("started"))
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: happened.append("kept") or True)
    monkeypatch.setattr(wide, "wide_mismatch", lambda *_: 0.0)
    monkeypatch.setattr(
        nnUNetTrainer, "print_to_log_file", lambda _, text: happened.append(text), raising=True
    )
    return happened


def started(name, device):
    trainer = object.__new__(getattr(trainers, name))
    trainer.device = torch.device(device)
    # What the wide network's size is compared by.
    trainer.configuration_manager = trainer.num_input_channels = None
    trainer.label_manager = SimpleNamespace(num_segmentation_heads=2)
    # What fine-tuning starts from, and what it cites.
    trainer.was_initialized = trainer._was_loaded = True
    trainer.plans_manager = SimpleNamespace(plans={})
    # What it sets aside of an earlier training.
    trainer.current_epoch, trainer.output_folder = 0, "nowhere"
    trainer.on_train_start()


@pytest.mark.parametrize("name", trainers.__all__)
def test_every_trainer_keeps_memory_on_a_cpu_after_nnunets_start(name, done):
    started(name, "cpu")
    assert done[:2] == ["started", "kept"]
    assert "NNUNET_ATTENTION_KEEP_MEMORY=0" in done[2]


@pytest.mark.parametrize("name", ["AttentionUNetTrainer", "WideUNetTrainer", "nnUNetTrainer_short"])
def test_with_a_gpu_the_allocator_is_left_as_it_is(name, done):
    started(name, "cuda")
    assert done == ["started"]


def test_what_could_not_be_done_is_not_told(done, monkeypatch):
    monkeypatch.setattr(memory, "keep_freed_memory", lambda: False)
    started("AttentionUNetTrainer", "cpu")
    assert done == ["started"]
