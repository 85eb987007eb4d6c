"""Trainers of the attention U-Net whose gates are supervised with the foreground."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from nnunetv2.training.nnUNetTrainer.variants.training_length.nnUNetTrainer_Xepochs import (
    nnUNetTrainer_1epoch,
    nnUNetTrainer_5epochs,
    nnUNetTrainer_10epochs,
    nnUNetTrainer_20epochs,
    nnUNetTrainer_50epochs,
    nnUNetTrainer_100epochs,
    nnUNetTrainer_250epochs,
    nnUNetTrainer_500epochs,
    nnUNetTrainer_750epochs,
    nnUNetTrainer_2000epochs,
    nnUNetTrainer_4000epochs,
    nnUNetTrainer_8000epochs,
)
from torch import nn

from nnunet_attention.networks.attention_decoder import AttentionDecoder
from nnunet_attention.networks.gate_supervision import SupervisedGatesLoss
from nnunet_attention.nnunet.supervision import (
    VARIABLE,
    Supervision,
    SupervisionRecord,
    check_same_supervision,
    read_supervision,
    supervision_from,
    write_supervision,
)
from nnunet_attention.trainers.attention import AttentionUNetTrainer
from nnunet_attention.trainers.foundation import bare_network
from nnunet_attention.trainers.short import AttentionUNetTrainer_short


def supervision_weight(first: float, epoch: int, number_of_epochs: int) -> float:
    """Return an epoch's weight, which falls linearly and is 0 from the middle of the training."""
    return max(0.0, first * (1 - 2 * epoch / number_of_epochs))


class AttentionUNetSupervisedTrainer(AttentionUNetTrainer):
    """Trains the attention U-Net with a loss on its gates' coefficients as well.

    In all epochs that begin in the first half of the training every gate is trained to be open on
    the foreground (all labels but background, or the union of the regions) with a border around it,
    and shut elsewhere; the weight of this loss falls from epoch to epoch, to 0. Prediction, plans
    and checkpoints are those of AttentionUNetTrainer.

    The environment variable NNUNET_ATTENTION_SUPERVISION sets the initial weight and the border, in
    voxels of a gate's grid (default 0.5,1). With weight 0 this is AttentionUNetTrainer. The setting
    is written beside the checkpoints, and a resumed training keeps it.
    """

    loss: SupervisedGatesLoss

    # The signature must be nnUNetTrainer's: it stores the arguments by the names found here.
    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 as in nnUNetTrainer
    ):
        # Checked first, as a bad setting must leave no folder.
        self._wanted = supervision_from(os.environ.get(VARIABLE))
        self._supervision = self._wanted or Supervision()
        super().__init__(plans, configuration, fold, dataset_json, device)

    def _build_loss(self) -> nn.Module:
        """Build nnU-Net's loss, with the gates' loss added."""
        return SupervisedGatesLoss(
            super()._build_loss(),
            border=self._supervision.border,
            over_batch=self.configuration_manager.batch_dice,
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
        )

    def run_training(self) -> None:
        """Train as nnU-Net does, with the supervision that the training was begun with.

        Raises:
            CommandError: if another one is set now.
        """
        self._settle_supervision()
        super().run_training()

    def _settle_supervision(self) -> None:
        """Determine the supervision of the training, and record it beside the checkpoints."""
        fold, epoch = Path(self.output_folder), self.current_epoch
        # In epoch 0 no checkpoint was loaded, and a record in the folder is another training's.
        record = read_supervision(fold) if epoch else None
        check_same_supervision(fold, record, self._wanted)
        record = record or SupervisionRecord(self._supervision, epoch)
        self._supervision = record.supervision
        self.with_first_checkpoint(lambda: write_supervision(fold, record))

    def on_train_epoch_start(self) -> None:
        """Start as nnU-Net does, with this epoch's weight of the gates' loss."""
        super().on_train_epoch_start()
        weight = supervision_weight(self._supervision.weight, self.current_epoch, self.num_epochs)
        # The border too: the loss of a resumed training was built before its record was read.
        self.loss.weight, self.loss.border = weight, self._supervision.border
        _decoder(self.network).coefficients_in_training = weight > 0
        if weight > 0:
            self.print_to_log_file(
                f"Weight of the gates' loss: {weight:.4g}, border: {self.loss.border}"
            )

    def on_train_epoch_end(self, train_outputs: Sequence[dict]) -> None:
        """End as nnU-Net does, and log the gates' loss."""
        super().on_train_epoch_end(train_outputs)
        gates_loss = self.loss.take_mean()
        if gates_loss is not None:
            self.print_to_log_file(f"gates' loss {gates_loss:.4f}")


def _decoder(network: nn.Module) -> AttentionDecoder:
    decoder = bare_network(network).decoder
    assert isinstance(decoder, AttentionDecoder)
    return decoder


class AttentionUNetSupervisedTrainer_1epoch(AttentionUNetSupervisedTrainer, nnUNetTrainer_1epoch):
    """Trains for one epoch."""


class AttentionUNetSupervisedTrainer_5epochs(AttentionUNetSupervisedTrainer, nnUNetTrainer_5epochs):
    """Trains for five epochs."""


class AttentionUNetSupervisedTrainer_10epochs(
    AttentionUNetSupervisedTrainer, nnUNetTrainer_10epochs
):
    """Trains for ten epochs."""


class AttentionUNetSupervisedTrainer_20epochs(
    AttentionUNetSupervisedTrainer, nnUNetTrainer_20epochs
):
    """Trains for 20 epochs."""


class AttentionUNetSupervisedTrainer_50epochs(
    AttentionUNetSupervisedTrainer, nnUNetTrainer_50epochs
):
    """Trains for 50 epochs."""


class AttentionUNetSupervisedTrainer_100epochs(
    AttentionUNetSupervisedTrainer, nnUNetTrainer_100epochs
):
    """Trains for 100 epochs."""


class AttentionUNetSupervisedTrainer_250epochs(
    AttentionUNetSupervisedTrainer, nnUNetTrainer_250epochs
):
    """Trains for 250 epochs."""


class AttentionUNetSupervisedTrainer_500epochs(
    AttentionUNetSupervisedTrainer, nnUNetTrainer_500epochs
):
    """Trains for 500 epochs."""


class AttentionUNetSupervisedTrainer_750epochs(
    AttentionUNetSupervisedTrainer, nnUNetTrainer_750epochs
):
    """Trains for 750 epochs."""


class AttentionUNetSupervisedTrainer_2000epochs(
    AttentionUNetSupervisedTrainer, nnUNetTrainer_2000epochs
):
    """Trains for 2,000 epochs."""


class AttentionUNetSupervisedTrainer_4000epochs(
    AttentionUNetSupervisedTrainer, nnUNetTrainer_4000epochs
):
    """Trains for 4,000 epochs."""


class AttentionUNetSupervisedTrainer_8000epochs(
    AttentionUNetSupervisedTrainer, nnUNetTrainer_8000epochs
):
    """Trains for 8,000 epochs."""


class AttentionUNetSupervisedTrainer_short(
    AttentionUNetSupervisedTrainer, AttentionUNetTrainer_short
):
    """Trains for a few short epochs, as long as `nnUNetTrainer_short`."""
