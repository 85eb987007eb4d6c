"""The capacity-matched baseline: the plain U-Net with the attention U-Net's number of parameters.

One trainer serves both kinds of plans: if they name the residual encoder U-Net, it is widened.
"""

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

from nnunet_attention.networks.normalisation import without_views
from nnunet_attention.networks.wide import (
    WIDE_TOLERANCE,
    build_wide_network,
    wide_mismatch,
    wide_mismatch_in_words,
)
from nnunet_attention.trainers.foundation import FoundationTrainer
from nnunet_attention.trainers.short import nnUNetTrainer_short


class WideUNetTrainer(FoundationTrainer):
    """Trains the plans' U-Net without gates, widened until it has as many parameters as with gates.

    If the plans name the attention U-Net, its size, with its options, is matched.
    """

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """Build the widened counterpart of the network that the plans name.

        Its normalisations are those of the attention U-Net, with which it is compared.

        Raises:
            UnsupportedNetworkError: if the plans name neither PlainConvUNet nor
                ResidualEncoderUNet.
        """
        network = build_wide_network(
            configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        return without_views(network)

    def on_train_start(self) -> None:
        """Start as nnU-Net does, and log a size that differs from the attention U-Net's."""
        super().on_train_start()
        mismatch = wide_mismatch(
            self.configuration_manager,
            self.num_input_channels,
            self.label_manager.num_segmentation_heads,
        )
        if abs(mismatch) > WIDE_TOLERANCE:
            self.print_to_log_file(wide_mismatch_in_words(mismatch))


class WideUNetTrainer_1epoch(WideUNetTrainer, nnUNetTrainer_1epoch):
    """Trains for one epoch."""


class WideUNetTrainer_5epochs(WideUNetTrainer, nnUNetTrainer_5epochs):
    """Trains for five epochs."""


class WideUNetTrainer_10epochs(WideUNetTrainer, nnUNetTrainer_10epochs):
    """Trains for ten epochs."""


class WideUNetTrainer_20epochs(WideUNetTrainer, nnUNetTrainer_20epochs):
    """Trains for 20 epochs."""


class WideUNetTrainer_50epochs(WideUNetTrainer, nnUNetTrainer_50epochs):
    """Trains for 50 epochs."""


class WideUNetTrainer_100epochs(WideUNetTrainer, nnUNetTrainer_100epochs):
    """Trains for 100 epochs."""


class WideUNetTrainer_250epochs(WideUNetTrainer, nnUNetTrainer_250epochs):
    """Trains for 250 epochs."""


class WideUNetTrainer_500epochs(WideUNetTrainer, nnUNetTrainer_500epochs):
    """Trains for 500 epochs."""


class WideUNetTrainer_750epochs(WideUNetTrainer, nnUNetTrainer_750epochs):
    """Trains for 750 epochs."""


class WideUNetTrainer_2000epochs(WideUNetTrainer, nnUNetTrainer_2000epochs):
    """Trains for 2,000 epochs."""


class WideUNetTrainer_4000epochs(WideUNetTrainer, nnUNetTrainer_4000epochs):
    """Trains for 4,000 epochs."""


class WideUNetTrainer_8000epochs(WideUNetTrainer, nnUNetTrainer_8000epochs):
    """Trains for 8,000 epochs."""


class WideUNetTrainer_short(WideUNetTrainer, nnUNetTrainer_short):
    """Trains for a few short epochs, as long as `nnUNetTrainer_short`."""
