"""Finds and builds the gated counterpart of the network that nnU-Net's plans name."""

from importlib.util import find_spec

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch import nn

from nnunet_attention.errors import CommandError
from nnunet_attention.networks.attention_unet import AttentionResidualEncoderUNet, AttentionUNet
from nnunet_attention.networks.trusted_plans import build_named_network, network_class
from nnunet_attention.nnunet.planners import STOCK_PLANS

# The paths on the right are written into plans and must always stay importable.
_GATED_PATH_OF = {
    PlainConvUNet: "nnunet_attention.networks.AttentionUNet",
    ResidualEncoderUNet: "nnunet_attention.networks.AttentionResidualEncoderUNet",
    AttentionUNet: "nnunet_attention.networks.AttentionUNet",
    AttentionResidualEncoderUNet: "nnunet_attention.networks.AttentionResidualEncoderUNet",
}


class UnsupportedNetworkError(CommandError, ValueError):
    """The plans name a network for which there is no attention U-Net."""


def attention_class_path(network_class_name: str) -> str:
    """Return the import path of the gated counterpart of a network named in plans.

    Args:
        network_class_name: the plans' `network_class_name`; a gated network is its own counterpart.

    Raises:
        UnsupportedNetworkError: if it is not nnU-Net's PlainConvUNet or ResidualEncoderUNet, or the
            gated form of one; it is not imported.
    """
    plain: type[nn.Module] | None
    try:
        plain = network_class(network_class_name)
    except CommandError:
        plain = _by_last_name(network_class_name)
    if plain not in _GATED_PATH_OF:
        supported = ", ".join(known.__name__ for known in _GATED_PATH_OF)
        raise UnsupportedNetworkError(
            f"the plans name the network {network_class_name}; attention gates are supported on "
            f"{supported}. Choose plans with one of these (-p {STOCK_PLANS} or "
            f"-p nnUNetResEncUNetLPlans) or another trainer."
        )
    return _GATED_PATH_OF[plain]


def _by_last_name(path: str) -> type[nn.Module] | None:
    """Return the network class that has moved to another package, or None if none matches."""
    try:
        if find_spec(path.partition(".")[0]) is not None:
            return None
    except (AttributeError, ImportError, ValueError):
        return None
    return next((known for known in _GATED_PATH_OF if known.__name__ == path.split(".")[-1]), None)


def build_attention_network(
    configuration: ConfigurationManager,
    num_input_channels: int,
    num_output_channels: int,
    deep_supervision: bool = True,
) -> nn.Module:
    """Build and initialise the attention U-Net for one configuration of an nnU-Net plans file.

    Args:
        configuration: from `PlansManager(plans).get_configuration(name)`; its network may be plain
            or already gated, in which case its options are kept.
        num_input_channels: image channels, plus those of the previous stage in a cascade.
        num_output_channels: segmentation heads.
        deep_supervision: whether to return the logits of all resolutions.

    Raises:
        UnsupportedNetworkError: see `attention_class_path`.
        CommandError: if the plans name as a layer something that is not one; see `check_plans`.
    """
    return build_named_network(
        attention_class_path(configuration.network_arch_class_name),
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        num_input_channels,
        num_output_channels,
        deep_supervision=deep_supervision,
    )
