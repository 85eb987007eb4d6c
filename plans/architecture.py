"""The entry of nnU-Net's plans that names the network."""

from collections.abc import Mapping

from nnunet_attention.networks import attention_class_path


def gated_architecture(
    architecture: Mapping, *, gate_full_resolution: bool = False, output_transform: bool = False
) -> dict:
    """The `architecture` of a configuration with the gated network in place of the plain one.

    Args:
        architecture: with `network_class_name`, `arch_kwargs` and `_kw_requires_import`; unchanged.
        gate_full_resolution: an option of the network, written into `arch_kwargs`.
        output_transform: likewise.

    Raises:
        UnsupportedNetworkError: if there is no attention U-Net for this network.
    """
    return {
        **architecture,
        "network_class_name": attention_class_path(architecture["network_class_name"]),
        "arch_kwargs": {
            **architecture["arch_kwargs"],
            "gate_full_resolution": gate_full_resolution,
            "output_transform": output_transform,
        },
    }
