"""Trainers of the attention U-Net whose gates are supervised with the foreground."""

import os
from collections.abc import Sequence

from nnunetv2.training.nnUNetTrainer.variants.training_length.nnUNetTrainer_Xepochs import (
    nnUNetTrainer_1epoch,
    nnUNetTrainer_5epochs,
    nnUNetTrainer_10epochs,
    nnUNetTrainer_20epochs,
    nnUNetTrainer_50epochs,
    nnUNetTrainer_100epochs,
    nnUNetTrainer_250epochs,
    nnUNetTrainer_500epochs,
)
from torch import nn

from nnunet_attention.errors import CommandError
from nnunet_attention.networks.attention_decoder import AttentionDecoder
from nnunet_attention.networks.gate_supervision import SupervisedGatesLoss
from nnunet_attention.trainers.attention import AttentionUNetTrainer
from nnunet_attention.trainers.foundation import bare_network
from nnunet_attention.trainers.short import AttentionUNetTrainer_short

SUPERVISION_VARIABLE = "NNUNET_ATTENTION_SUPERVISION"
# The initial weight of the gates' loss; the border of the foreground, in voxels of a gate's grid.
DEFAULT_SUPERVISION = (0.5, 1)


def supervision(text: str | None) -> tuple[float, int]:
    """Read `WEIGHT` or `WEIGHT,BORDER`; None and "" give the default, 0.5,1.

    Raises:
        CommandError: if the weight is not a number from 0 to 100, or the border not a whole number
            from 0 to 16.
    """
    if not text:
        return DEFAULT_SUPERVISION
    weight_text, comma, border_text = text.partition(",")
    try:
        weight, border = float(weight_text), int(border_text) if comma else DEFAULT_SUPERVISION[1]
    except ValueError:
        weight, border = -1.0, -1
    # Written so that nan is refused too.
    if not (0 <= weight <= 100 and 0 <= border <= 16):
        raise CommandError(
            f"{SUPERVISION_VARIABLE}={text!r} must be WEIGHT or WEIGHT,BORDER, such as 0.5,1: a "
            "weight from 0 to 100 and a border of 0 to 16 voxels"
        )
    return weight, border


def supervision_weight(first: float, epoch: int, number_of_epochs: int) -> float:
    """Return an epoch's weight, which falls linearly to 0 over the first half of the training."""
    return max(0.0, first * (1 - 2 * epoch / number_of_epochs))


class AttentionUNetSupervisedTrainer(AttentionUNetTrainer):
    """Trains the attention U-Net with a loss on its gates' coefficients as well.

    In the first half of the training every gate is trained to be open on the foreground (all labels
    but background, or the union of the regions) with a border around it, and shut elsewhere; the
    weight of this loss falls to 0. Prediction, plans and checkpoints are those of
    AttentionUNetTrainer.

    The environment variable NNUNET_ATTENTION_SUPERVISION sets the initial weight and the border, in
    voxels of a gate's grid (default 0.5,1). With weight 0 this is AttentionUNetTrainer.
    """

    loss: SupervisedGatesLoss

    def _build_loss(self) -> nn.Module:
        """Build nnU-Net's loss, with the gates' loss added.

        Raises:
            CommandError: if NNUNET_ATTENTION_SUPERVISION is malformed.
        """
        _, border = supervision(os.environ.get(SUPERVISION_VARIABLE))
        return SupervisedGatesLoss(
            super()._build_loss(),
            border=border,
            over_batch=self.configuration_manager.batch_dice,
            regions=self.label_manager.has_regions,
            ignore_label=self.label_manager.ignore_label,
        )

    def on_train_epoch_start(self) -> None:
        """Start as nnU-Net does, with this epoch's weight of the gates' loss."""
        super().on_train_epoch_start()
        first, border = supervision(os.environ.get(SUPERVISION_VARIABLE))
        weight = supervision_weight(first, self.current_epoch, self.num_epochs)
        self.loss.weight = weight
        _decoder(self.network).coefficients_in_training = weight > 0
        if weight > 0:
            self.print_to_log_file(f"Weight of the gates' loss: {weight:.4g}, border: {border}")

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


class AttentionUNetSupervisedTrainer_short(
    AttentionUNetSupervisedTrainer, AttentionUNetTrainer_short
):
    """Trains for a few short epochs, as long as `nnUNetTrainer_short`."""
