"""The benchmark trainers are nnU-Net's, with the attention U-Net."""

import pytest
import torch

from nnunet_attention import trainers


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
