"""Resolves names in plans, and imports only classes and functions of nnU-Net, torch and ours."""

import pydoc
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TypeGuard

import nnunetv2
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from torch import nn

from nnunet_attention.errors import CommandError

_ARCHITECTURES = "dynamic_network_architectures.architectures."
_NETWORK_PACKAGES = (_ARCHITECTURES, "nnunet_attention.networks.")
_LAYER_PACKAGES = ("torch.nn.", "dynamic_network_architectures.")


def network_class(path: str) -> type[nn.Module]:
    """Import the network that plans name, from dynamic-network-architectures or this package.

    A class that has moved within its package is found by the last part of its path, as in nnU-Net.

    Args:
        path: the plans' `network_class_name`.

    Raises:
        CommandError: if it names anything else, which is then not imported.
    """
    if _is_below(path, _NETWORK_PACKAGES):
        network = _located(path, _NETWORK_PACKAGES)
        if network is None:
            # The module that holds nnU-Net's networks today.
            network = _located(f"{_ARCHITECTURES}unet.{path.split('.')[-1]}", _NETWORK_PACKAGES)
        if _is_network_part(network, _NETWORK_PACKAGES):
            return network
    raise CommandError(
        f"the plans name the network {path}, which will not be imported: expected a network of "
        "dynamic_network_architectures or nnunet_attention, such as nnU-Net's PlainConvUNet and "
        "ResidualEncoderUNet, as loading anything else could execute code"
    )


def check_layer(name: str, path: object) -> None:
    """Check that an argument of a network names a layer.

    Args:
        name: the argument's name.
        path: its value.

    Raises:
        CommandError: if it names anything else, which is then not imported.
    """
    if not _is_network_part(_located(path, _LAYER_PACKAGES), _LAYER_PACKAGES):
        raise CommandError(
            f"the plans name {path} for {name}, which will not be imported: expected a layer of "
            f"{' or '.join(package.rstrip('.') for package in _LAYER_PACKAGES)}, as loading "
            "anything else could execute code"
        )


def check_is_of_nnunet(name: str, value: object, package: str) -> None:
    """Check that an entry of plans names a class or function in one of nnU-Net's packages.

    Args:
        name: the entry's name.
        value: the entry's value, a bare name.
        package: the package below nnunetv2 in which nnU-Net looks for it.

    Raises:
        CommandError: if nnU-Net would find nothing, or something from elsewhere.
    """
    found = None
    home = f"nnunetv2.{package}."
    if isinstance(value, str):
        folder = Path(nnunetv2.__path__[0], *package.split("."))
        with redirect_stdout(StringIO()):
            found = recursive_find_python_class(str(folder), value, home.rstrip("."))
    is_function = name.startswith("resampling_fn")
    fits = callable(found) if is_function else isinstance(found, type)
    if name == "label_manager":
        fits = isinstance(found, type) and issubclass(found, LabelManager)
    if not fits or not str(getattr(found, "__module__", "")).startswith(home):
        raise CommandError(
            f"the plans name {value!r} for {name}; expected "
            f"{'a function' if is_function else 'a class'} of {home.rstrip('.')}"
        )


def _located(path: object, packages: tuple[str, ...]) -> object:
    """Import the object at a path below one of the packages; return None for any other path."""
    try:
        return pydoc.locate(path) if _is_below(path, packages) else None
    except pydoc.ErrorDuringImport:
        return None


def _is_network_part(found: object, packages: tuple[str, ...]) -> TypeGuard[type[nn.Module]]:
    # Its `__module__` is checked too, as attributes of allowed modules lead anywhere, such as
    # `torch.nn.init.torch.jit`.
    return (
        isinstance(found, type)
        and issubclass(found, nn.Module)
        and _is_below(found.__module__, packages)
    )


def _is_below(path: object, packages: tuple[str, ...]) -> TypeGuard[str]:
    return isinstance(path, str) and path.startswith(packages)
