"""Checks that building a network from plans of unknown origin calls nothing but layers."""

import pydoc
from collections.abc import Mapping

from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_attention.errors import CommandError

_NETWORK_PACKAGES = ("dynamic_network_architectures.", "nnunet_attention.networks.")
_LAYER_PACKAGES = ("torch.nn.", "dynamic_network_architectures.")


def check_plans(plans: Mapping, configuration_name: str) -> None:
    """Checks every name in one configuration of plans that building its network would import.

    nnU-Net imports and calls what the plans name, with arguments from the plans: without this
    check, `"nonlin": "os.system"` would run a command.

    Raises:
        CommandError: if a name is not that of a network or layer of torch or
            dynamic-network-architectures, or if the plans are malformed.
    """
    try:
        manager = PlansManager(dict(plans))
        architecture = manager.get_configuration(configuration_name).configuration["architecture"]
        network_name = architecture["network_class_name"]
        arguments = architecture["arch_kwargs"]
        imported = {
            name: arguments[name]
            for name in architecture["_kw_requires_import"]
            if arguments[name] is not None
        }
        label_manager = manager.label_manager_class
    except Exception as error:  # plans from elsewhere can fail in any way
        raise CommandError(
            f"the plans' configuration {configuration_name!r} cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not _is_below(network_name, _NETWORK_PACKAGES):
        raise CommandError(
            f"the plans name the network {network_name}, which is not imported: only nnU-Net's "
            f"PlainConvUNet and ResidualEncoderUNet can be upgraded"
        )
    for name, path in imported.items():
        layer = pydoc.locate(path) if _is_below(path, _LAYER_PACKAGES) else None
        if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
            raise CommandError(
                f"the plans name {path} for {name}, which is not imported: wanted is a layer of "
                f"{' or '.join(package.rstrip('.') for package in _LAYER_PACKAGES)}, as loading "
                f"anything else could execute code"
            )
    if not (isinstance(label_manager, type) and issubclass(label_manager, LabelManager)):
        raise CommandError(
            f"the plans name {plans['label_manager']!r} for label_manager; "
            f"wanted is nnU-Net's LabelManager"
        )


def _is_below(path, packages: tuple[str, ...]) -> bool:
    return isinstance(path, str) and path.startswith(packages)
