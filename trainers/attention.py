"""nnU-Net's trainer with the attention U-Net, in nnU-Net's training lengths."""

from pathlib import Path

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
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_attention.maps.training_record import (
    epochs_to_record,
    record_epoch,
    set_recordings_aside,
)
from nnunet_attention.networks import build_attention_network
from nnunet_attention.networks.normalisation import without_views
from nnunet_attention.trainers.foundation import FoundationTrainer
from nnunet_attention.trainers.tracking import TracksGates


class AttentionUNetTrainer(TracksGates, FoundationTrainer):
    """Trains the plans' U-Net with attention gates; everything else is stock nnU-Net.

    If the environment variable `nnUNet_attention_epochs` is set, for example to 3,6,10,60,150, the
    coefficients on fixed patches are recorded after those epochs, for `nnunet-attention evolution`.
    If nnU-Net logs to Weights & Biases (nnUNet_wandb_enabled=1), the gates' means are logged too.
    """

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Build the gated counterpart of the network that the plans name.

        Its normalisations are replaced here, before nnU-Net compiles or distributes the network.

        Raises:
            UnsupportedNetworkError: if the plans name neither PlainConvUNet nor
                ResidualEncoderUNet.
        """
        network = build_attention_network(
            configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        return without_views(network)

    def on_train_start(self) -> None:
        """Start as nnU-Net does, after checking early which epochs are to be recorded.

        Raises:
            CommandError: if nnUNet_attention_epochs is malformed.
        """
        epochs_to_record()
        if self.current_epoch == 0:
            self.with_first_checkpoint(self._set_recordings_aside)
        super().on_train_start()

    def _set_recordings_aside(self) -> None:
        try:
            set_recordings_aside(Path(self.output_folder))
        except OSError as error:
            # No more than a full disk may they end a training.
            self.print_to_log_file(
                f"attention maps of an earlier training could not be set aside: {error}"
            )

    def on_epoch_end(self) -> None:
        """End as nnU-Net does, and record the coefficients if this epoch is to be recorded."""
        super().on_epoch_end()
        if self.local_rank == 0 and self.current_epoch in epochs_to_record():
            try:
                self.print_to_log_file("attention maps:", record_epoch(self))
            except OSError as error:
                # A full disk must not end a training just because of an attention map.
                self.print_to_log_file(f"attention maps could not be recorded: {error}")


class AttentionUNetTrainer_1epoch(AttentionUNetTrainer, nnUNetTrainer_1epoch):
    """Trains for one epoch."""


class AttentionUNetTrainer_5epochs(AttentionUNetTrainer, nnUNetTrainer_5epochs):
    """Trains for five epochs."""


class AttentionUNetTrainer_10epochs(AttentionUNetTrainer, nnUNetTrainer_10epochs):
    """Trains for ten epochs."""


class AttentionUNetTrainer_20epochs(AttentionUNetTrainer, nnUNetTrainer_20epochs):
    """Trains for 20 epochs."""


class AttentionUNetTrainer_50epochs(AttentionUNetTrainer, nnUNetTrainer_50epochs):
    """Trains for 50 epochs."""


class AttentionUNetTrainer_100epochs(AttentionUNetTrainer, nnUNetTrainer_100epochs):
    """Trains for 100 epochs."""


class AttentionUNetTrainer_250epochs(AttentionUNetTrainer, nnUNetTrainer_250epochs):
    """Trains for 250 epochs."""


class AttentionUNetTrainer_500epochs(AttentionUNetTrainer, nnUNetTrainer_500epochs):
    """Trains for 500 epochs."""


class AttentionUNetTrainer_750epochs(AttentionUNetTrainer, nnUNetTrainer_750epochs):
    """Trains for 750 epochs."""


class AttentionUNetTrainer_2000epochs(AttentionUNetTrainer, nnUNetTrainer_2000epochs):
    """Trains for 2,000 epochs."""


class AttentionUNetTrainer_4000epochs(AttentionUNetTrainer, nnUNetTrainer_4000epochs):
    """Trains for 4,000 epochs."""


class AttentionUNetTrainer_8000epochs(AttentionUNetTrainer, nnUNetTrainer_8000epochs):
    """Trains for 8,000 epochs."""
