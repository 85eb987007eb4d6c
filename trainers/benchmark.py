"""Counterparts of nnU-Net's benchmark trainers: five epochs on a GPU, timed, nothing saved."""

from nnunetv2.training.nnUNetTrainer.variants.benchmarking.nnUNetTrainerBenchmark_5epochs import (
    nnUNetTrainerBenchmark_5epochs,
)
from nnunetv2.training.nnUNetTrainer.variants.benchmarking.nnUNetTrainerBenchmark_5epochs_noDataLoading import (  # noqa: E501 the module's name is that long
    nnUNetTrainerBenchmark_5epochs_noDataLoading,
)

from nnunet_attention.trainers.attention import AttentionUNetTrainer


class AttentionUNetTrainerBenchmark_5epochs(AttentionUNetTrainer, nnUNetTrainerBenchmark_5epochs):
    """Times five epochs with data loading."""


class AttentionUNetTrainerBenchmark_5epochs_noDataLoading(
    AttentionUNetTrainer, nnUNetTrainerBenchmark_5epochs_noDataLoading
):
    """Times five epochs on one random batch."""
