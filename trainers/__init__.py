"""Trainers for `nnUNetv2_train -tr`; every name in `__all__` is found by nnU-Net.

The names are written into checkpoints and results folders: they stay.
"""

from nnunet_attention.trainers.attention import (
    AttentionUNetTrainer,
    AttentionUNetTrainer_1epoch,
    AttentionUNetTrainer_5epochs,
    AttentionUNetTrainer_10epochs,
    AttentionUNetTrainer_20epochs,
    AttentionUNetTrainer_50epochs,
    AttentionUNetTrainer_100epochs,
    AttentionUNetTrainer_250epochs,
    AttentionUNetTrainer_500epochs,
)
from nnunet_attention.trainers.benchmark import (
    AttentionUNetTrainerBenchmark_5epochs,
    AttentionUNetTrainerBenchmark_5epochs_noDataLoading,
)
from nnunet_attention.trainers.short import AttentionUNetTrainer_short, nnUNetTrainer_short
from nnunet_attention.trainers.supervised import (
    AttentionUNetSupervisedTrainer,
    AttentionUNetSupervisedTrainer_1epoch,
    AttentionUNetSupervisedTrainer_5epochs,
    AttentionUNetSupervisedTrainer_10epochs,
    AttentionUNetSupervisedTrainer_20epochs,
    AttentionUNetSupervisedTrainer_50epochs,
    AttentionUNetSupervisedTrainer_100epochs,
    AttentionUNetSupervisedTrainer_250epochs,
    AttentionUNetSupervisedTrainer_500epochs,
    AttentionUNetSupervisedTrainer_short,
)
from nnunet_attention.trainers.wide import (
    WideUNetTrainer,
    WideUNetTrainer_1epoch,
    WideUNetTrainer_5epochs,
    WideUNetTrainer_10epochs,
    WideUNetTrainer_20epochs,
    WideUNetTrainer_50epochs,
    WideUNetTrainer_100epochs,
    WideUNetTrainer_250epochs,
    WideUNetTrainer_500epochs,
    WideUNetTrainer_short,
)

__all__ = [
    "AttentionUNetSupervisedTrainer",
    "AttentionUNetSupervisedTrainer_1epoch",
    "AttentionUNetSupervisedTrainer_5epochs",
    "AttentionUNetSupervisedTrainer_10epochs",
    "AttentionUNetSupervisedTrainer_20epochs",
    "AttentionUNetSupervisedTrainer_50epochs",
    "AttentionUNetSupervisedTrainer_100epochs",
    "AttentionUNetSupervisedTrainer_250epochs",
    "AttentionUNetSupervisedTrainer_500epochs",
    "AttentionUNetSupervisedTrainer_short",
    "AttentionUNetTrainer",
    "AttentionUNetTrainerBenchmark_5epochs",
    "AttentionUNetTrainerBenchmark_5epochs_noDataLoading",
    "AttentionUNetTrainer_1epoch",
    "AttentionUNetTrainer_5epochs",
    "AttentionUNetTrainer_10epochs",
    "AttentionUNetTrainer_20epochs",
    "AttentionUNetTrainer_50epochs",
    "AttentionUNetTrainer_100epochs",
    "AttentionUNetTrainer_250epochs",
    "AttentionUNetTrainer_500epochs",
    "AttentionUNetTrainer_short",
    "WideUNetTrainer",
    "WideUNetTrainer_1epoch",
    "WideUNetTrainer_5epochs",
    "WideUNetTrainer_10epochs",
    "WideUNetTrainer_20epochs",
    "WideUNetTrainer_50epochs",
    "WideUNetTrainer_100epochs",
    "WideUNetTrainer_250epochs",
    "WideUNetTrainer_500epochs",
    "WideUNetTrainer_short",
    "nnUNetTrainer_short",
]
