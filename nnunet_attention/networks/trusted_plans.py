"""Builds networks from plans of unknown origin, whose names could run any code, after a check.

nnU-Net imports what plans name and calls it with arguments from the plans: unchecked,
`"nonlin": "os.system"` would run a command.
"""

import math
import pydoc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import nnunetv2
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import (
    LabelManager,
    determine_num_input_channels,
)
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_attention.errors import CommandError
from nnunet_attention.files import is_plain_name
from nnunet_attention.nnunet.dataset_json import check_dataset_json

_ARCHITECTURES = "dynamic_network_architectures.architectures."
_NETWORK_PACKAGES = (_ARCHITECTURES, "nnunet_attention.networks.")
_LAYER_PACKAGES = ("torch.nn.", "dynamic_network_architectures.")
# What else in plans is looked up in a folder of nnU-Net's by its bare name, and called.
_OF_PLANS = {"image_reader_writer": "imageio", "label_manager": "utilities.label_handling"}
_OF_CONFIGURATION = {
    "preprocessor_name": "preprocessing",
    "normalization_schemes": "preprocessing.normalization",
    "resampling_fn_data": "preprocessing.resampling",
    "resampling_fn_seg": "preprocessing.resampling",
    "resampling_fn_probabilities": "preprocessing.resampling",
}
# Become names of folders and files.
_NAMES_OF_PLANS = ("dataset_name", "plans_name")
# Larger numbers, of a damaged file, would fill the memory or take hours before they are refused:
# of stages, blocks and convolutions, and of channels and all else.
_MOST_LAYERS, _MOST_CHANNELS = 128, 2**16

BuildNetwork = Callable[[PlansManager, ConfigurationManager, int, int], nn.Module]


def check_plans(plans: Mapping, configuration_name: str) -> None:
    """Checks every name in one configuration of plans that nnU-Net would import or call.

    Raises:
        CommandError: if a name is not that of a network or layer of torch,
            dynamic-network-architectures or this package, or of a class of nnU-Net's, or if the
            plans are malformed.
    """
    with _as_command_error(f"the plans' configuration {configuration_name!r} cannot be read"):
        configuration = PlansManager(dict(plans)).get_configuration(configuration_name)
        content = configuration.configuration
        architecture = content["architecture"]
    check_architecture(architecture)
    _check_axes(plans, content)
    for name in _NAMES_OF_PLANS:
        _check_is_plain_name(name, plans.get(name, "absent"))
    _check_is_plain_name("data_identifier", content.get("data_identifier"))
    for found, places in ((plans, _OF_PLANS), (content, _OF_CONFIGURATION)):
        for name, package in places.items():
            values = found.get(name, [])
            for value in values if isinstance(values, list) else [values]:
                _check_is_of_nnunet(name, value, package)


def check_architecture(architecture: Mapping) -> None:
    """Checks every name in the `architecture` of a configuration that would be imported.

    Raises:
        CommandError: see `check_plans`.
    """
    with _as_command_error("the plans' architecture cannot be read"):
        network_name = architecture["network_class_name"]
        arguments = architecture["arch_kwargs"]
        imported = {
            name: arguments[name]
            for name in architecture["_kw_requires_import"]
            if arguments[name] is not None
        }
        numbers = [(name, one) for name, value in arguments.items() for one in _numbers(value)]
    network_class(network_name)
    for name, path in imported.items():
        if not _is_module_of(_located(path, _LAYER_PACKAGES), _LAYER_PACKAGES):
            raise CommandError(
                f"the plans name {path} for {name}, which is not imported: wanted is a layer of "
                f"{' or '.join(package.rstrip('.') for package in _LAYER_PACKAGES)}, as loading "
                f"anything else could execute code"
            )
    for name, number in numbers:
        if number > (_MOST_LAYERS if name.startswith("n_") else _MOST_CHANNELS):
            raise CommandError(
                f"the plans have {number} for {name}; no network is that large: they are damaged"
            )


def network_class(path: str) -> type[nn.Module]:
    """The class that plans name, imported from dynamic-network-architectures or this package.

    Where the class has moved within its package, it is found by its last name, as nnU-Net does.

    Args:
        path: the plans' `network_class_name`.

    Raises:
        CommandError: if it is the name of anything else, which is then not imported.
    """
    if _is_below(path, _NETWORK_PACKAGES):
        found = _located(path, _NETWORK_PACKAGES)
        if found is None:
            # Where nnU-Net's networks are today.
            found = _located(f"{_ARCHITECTURES}unet.{path.split('.')[-1]}", _NETWORK_PACKAGES)
        if _is_module_of(found, _NETWORK_PACKAGES):
            return found
    raise CommandError(
        f"the plans name the network {path}, which is not imported: wanted is a network of "
        f"dynamic_network_architectures or nnunet_attention, such as nnU-Net's PlainConvUNet and "
        f"ResidualEncoderUNet, as loading anything else could execute code"
    )


def build_named_network(
    path: str,
    arguments: Mapping,
    imported: Sequence[str],
    num_input_channels: int,
    num_output_channels: int,
    *,
    initialize: bool = True,
    deep_supervision: bool = True,
) -> nn.Module:
    """nnU-Net's `get_network_from_plans` after `check_architecture`.

    Args:
        path: the network's import path.
        arguments: of the network.
        imported: those of them that are import paths.
        num_input_channels: of the network.
        num_output_channels: of the network.
        initialize: False leaves the weights as torch's layers have them.
        deep_supervision: whether to return the logits of all resolutions.

    Raises:
        CommandError: see `check_plans`.
    """
    check_architecture(
        {"network_class_name": path, "arch_kwargs": arguments, "_kw_requires_import": imported}
    )
    return get_network_from_plans(
        path,
        arguments,
        imported,
        num_input_channels,
        num_output_channels,
        allow_init=initialize,
        deep_supervision=deep_supervision,
    )


def build_from_plans(
    plans: Mapping, configuration_name: str, dataset_json: Mapping, build: BuildNetwork
) -> nn.Module:
    """Builds a network from plans of unknown origin, whatever trainer builds it.

    Args:
        plans: content of plans.json; not changed.
        configuration_name: such as 3d_fullres.
        dataset_json: of the data set.
        build: such as a trainer's `build_network_architecture`; given managers of its own, as some
            trainers edit them.

    Raises:
        CommandError: see `check_plans`, or if no network can be built.
    """
    check_plans(plans, configuration_name)
    with building(configuration_name):
        manager = PlansManager(dict(plans))
        configuration = manager.get_configuration(configuration_name)
        channels = network_channels(manager, configuration, dataset_json)
        return build(manager, configuration, *channels)


def network_channels(
    manager: PlansManager, configuration: ConfigurationManager, dataset_json: Mapping
) -> tuple[int, int]:
    """Input and output channels of a configuration's network.

    Raises:
        CommandError: if dataset.json does not say.
    """
    check_dataset_json(dataset_json, "dataset.json", channels=True, ending=False)
    return (
        determine_num_input_channels(manager, configuration, dataset_json),
        manager.get_label_manager(dataset_json).num_segmentation_heads,
    )


def building(configuration_name: str):
    """Context in which whatever malformed plans raise becomes one line."""
    return _as_command_error(
        f"no network can be built from the plans' configuration {configuration_name}"
    )


@contextmanager
def _as_command_error(what: str):
    try:
        yield
    except CommandError:
        raise
    except Exception as error:  # plans from elsewhere can fail in any way
        # torch explains a wrong argument with all of a function's signatures.
        reason = str(error).strip().partition("\n")[0]
        raise CommandError(f"{what}: {type(error).__name__}: {reason}") from error


def _located(path, packages: tuple[str, ...]):
    """What an import path below one of the packages names; None elsewhere, without importing."""
    try:
        return pydoc.locate(path) if _is_below(path, packages) else None
    except pydoc.ErrorDuringImport:
        return None


def _is_module_of(found, packages: tuple[str, ...]) -> bool:
    # Its home is asked too: attributes of allowed modules lead anywhere, `torch.nn.init.torch.jit`.
    return (
        isinstance(found, type)
        and issubclass(found, nn.Module)
        and _is_below(found.__module__, packages)
    )


def _check_axes(plans: Mapping, configuration: Mapping) -> None:
    """Checks that axes are turned into axes, and that patch and strides have as many."""
    for name in ("transpose_forward", "transpose_backward"):
        axes = plans.get(name, [0, 1, 2])
        if not _are_whole(axes, 0) or sorted(axes) != [0, 1, 2]:
            raise CommandError(
                f"the plans have {axes!r} for {name}; wanted is an order of the axes 0, 1 and 2"
            )
    patch_size = configuration.get("patch_size", [1, 1, 1])
    if not _are_whole(patch_size, 1) or len(patch_size) not in (2, 3):
        raise CommandError(
            f"the plans have {patch_size!r} for patch_size; wanted are 2 or 3 whole numbers above 0"
        )
    spacing_mm = configuration.get("spacing", [1.0] * len(patch_size))
    if not (
        isinstance(spacing_mm, (list, tuple))
        and all(isinstance(step, (int, float)) and 0 < step < math.inf for step in spacing_mm)
    ):
        raise CommandError(
            f"the plans have {spacing_mm!r} for spacing; wanted is a positive number for each axis"
        )
    arguments = configuration["architecture"]["arch_kwargs"]
    for name in ("strides", "kernel_sizes"):
        rows = arguments.get(name, [])
        for row in rows if isinstance(rows, (list, tuple)) else [rows]:
            sizes = row if isinstance(row, (list, tuple)) else [row] * len(patch_size)
            if not _are_whole(sizes, 1) or len(sizes) != len(patch_size):
                raise CommandError(
                    f"the plans have {row!r} among {name}; wanted are {len(patch_size)} positive "
                    f"whole numbers, as many as the patch has axes"
                )


def _are_whole(values, least: int) -> bool:
    return isinstance(values, (list, tuple)) and all(
        isinstance(value, int) and not isinstance(value, bool) and value >= least
        for value in values
    )


def _numbers(value) -> Iterator[float]:
    """All numbers in lists of lists."""
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, (int, float)):
        yield value


def _is_below(path, packages: tuple[str, ...]) -> bool:
    return isinstance(path, str) and path.startswith(packages)


def _check_is_plain_name(name: str, value) -> None:
    if not is_plain_name(value):
        raise CommandError(
            f"the plans have {value!r} for {name}; wanted is a name without folders, as data are "
            f"written and deleted under it"
        )


def _check_is_of_nnunet(name: str, value, package: str) -> None:
    found = None
    home = f"nnunetv2.{package}."
    if isinstance(value, str):
        folder = Path(nnunetv2.__path__[0], *package.split("."))
        with redirect_stdout(StringIO()):
            found = recursive_find_python_class(str(folder), value, home.rstrip("."))
    is_function = name.startswith("resampling_fn")
    wanted = callable(found) if is_function else isinstance(found, type)
    if name == "label_manager":
        wanted = wanted and issubclass(found, LabelManager)
    if not wanted or not str(getattr(found, "__module__", "")).startswith(home):
        raise CommandError(
            f"the plans name {value!r} for {name}; wanted is "
            f"{'a function' if is_function else 'a class'} of {home.rstrip('.')}"
        )
