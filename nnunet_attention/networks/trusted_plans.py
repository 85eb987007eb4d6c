"""Checks plans of unknown origin, whose names could run any code, and builds networks from them.

nnU-Net imports the objects that plans name and calls them with arguments from the plans: unchecked,
`"nonlin": "os.system"` would run a command.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_attention.errors import CommandError
from nnunet_attention.files import is_plain_name
from nnunet_attention.networks.plans_numbers import check_axes, check_sizes
from nnunet_attention.networks.trusted_names import (
    check_is_of_nnunet,
    check_layer,
    network_class,
)
from nnunet_attention.nnunet.dataset_json import check_dataset_json

# Other entries of plans that nnU-Net looks up by their bare name in one of its folders, and calls.
_OF_PLANS = {"image_reader_writer": "imageio", "label_manager": "utilities.label_handling"}
_OF_CONFIGURATION = {
    "preprocessor_name": "preprocessing",
    "normalization_schemes": "preprocessing.normalization",
    "resampling_fn_data": "preprocessing.resampling",
    "resampling_fn_seg": "preprocessing.resampling",
    "resampling_fn_probabilities": "preprocessing.resampling",
}
# These become names of folders and files.
_NAMES_OF_PLANS = ("dataset_name", "plans_name")

BuildNetwork = Callable[[PlansManager, ConfigurationManager, int, int], nn.Module]


def check_plans(plans: Mapping, configuration_name: str) -> None:
    """Check every name in one configuration of plans that nnU-Net would import or call.

    Raises:
        CommandError: if a name is neither that of a network or layer of torch,
            dynamic-network-architectures or this package, nor of an nnU-Net class or function, or
            if the plans are malformed.
    """
    with _as_command_error(f"the plans' configuration {configuration_name!r} cannot be read"):
        configuration = PlansManager(dict(plans)).get_configuration(configuration_name)
        content = configuration.configuration
        architecture = content["architecture"]
    check_architecture(architecture)
    check_axes(plans, content)
    for name in _NAMES_OF_PLANS:
        _check_is_plain_name(name, plans.get(name, "absent"))
    _check_is_plain_name("data_identifier", content.get("data_identifier"))
    for entries, places in ((plans, _OF_PLANS), (content, _OF_CONFIGURATION)):
        for name, package in places.items():
            values = entries.get(name, [])
            for value in values if isinstance(values, list) else [values]:
                check_is_of_nnunet(name, value, package)


def check_architecture(architecture: Mapping) -> None:
    """Check every name in the `architecture` of a configuration that would be imported.

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
    network_class(network_name)
    for name, path in imported.items():
        check_layer(name, path)
    with _as_command_error("the plans' architecture cannot be read"):
        check_sizes(arguments)


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
    """Build a network with nnU-Net's `get_network_from_plans`, after `check_architecture`.

    Args:
        path: the network's import path.
        arguments: the keyword arguments that the network is built with.
        imported: the names of those arguments that are import paths.
        num_input_channels: the input channels.
        num_output_channels: the output channels.
        initialize: False leaves the weights as torch initialises its layers.
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
    """Build a network from plans of unknown origin, with any trainer's function.

    Args:
        plans: content of plans.json; not changed.
        configuration_name: the configuration, such as 3d_fullres.
        dataset_json: the data set's description.
        build: for example a trainer's `build_network_architecture`; it gets its own plans and
            configuration managers, as some trainers edit them.

    Raises:
        CommandError: see `check_plans`; also if no network can be built.
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
    """Return the input and output channels of a configuration's network.

    Raises:
        CommandError: if dataset.json does not tell them.
    """
    check_dataset_json(dataset_json, "dataset.json", channels=True, ending=False)
    return (
        determine_num_input_channels(manager, configuration, dataset_json),
        manager.get_label_manager(dataset_json).num_segmentation_heads,
    )


def building(configuration_name: str) -> AbstractContextManager[None]:
    """Return a context that turns any error from malformed plans into a one-line CommandError."""
    return _as_command_error(
        f"no network can be built from the plans' configuration {configuration_name}"
    )


@contextmanager
def _as_command_error(what: str) -> Iterator[None]:
    try:
        yield
    except CommandError:
        raise
    except Exception as error:  # plans from elsewhere can fail in any way
        # torch explains a wrong argument with all of a function's signatures.
        reason = str(error).strip().partition("\n")[0]
        raise CommandError(f"{what}: {type(error).__name__}: {reason}") from error


def _check_is_plain_name(name: str, value: object) -> None:
    if not is_plain_name(value):
        raise CommandError(
            f"the plans have {value!r} for {name}; expected a name without folders, because data "
            "are written and deleted under it"
        )
