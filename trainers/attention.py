"""nnU-Net's trainer with the attention U-Net, in nnU-Net's training lengths."""

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
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
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_attention.networks import build_attention_network


class AttentionUNetTrainer(nnUNetTrainer):
    """Trains the plans' U-Net with attention gates; all else is stock nnU-Net."""

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The gated counterpart of the network that the plans name.

        Raises:
            UnsupportedNetworkError: if the plans name neither PlainConvUNet nor
                ResidualEncoderUNet.
        """
        return build_attention_network(
            configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )


class AttentionUNetTrainer_1epoch(AttentionUNetTrainer, nnUNetTrainer_1epoch):
    """One epoch."""


class AttentionUNetTrainer_5epochs(AttentionUNetTrainer, nnUNetTrainer_5epochs):
    """Five epochs."""


class AttentionUNetTrainer_10epochs(AttentionUNetTrainer, nnUNetTrainer_10epochs):
    """Ten epochs."""


class AttentionUNetTrainer_20epochs(AttentionUNetTrainer, nnUNetTrainer_20epochs):
    """20 epochs."""


class AttentionUNetTrainer_50epochs(AttentionUNetTrainer, nnUNetTrainer_50epochs):
    """50 epochs."""


class AttentionUNetTrainer_100epochs(AttentionUNetTrainer, nnUNetTrainer_100epochs):
    """100 epochs."""


class AttentionUNetTrainer_250epochs(AttentionUNetTrainer, nnUNetTrainer_250epochs):
    """250 epochs."""


class AttentionUNetTrainer_500epochs(AttentionUNetTrainer, nnUNetTrainer_500epochs):
    """500 epochs."""
