"""The plain network of the plans, and a wider one with as many parameters as the gated network."""

import json
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from math import sqrt
from typing import Any, NamedTuple

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch import nn

from nnunet_attention.networks.from_plans import attention_class_path, build_attention_network
from nnunet_attention.networks.trusted_plans import build_named_network

_PLAIN_PATH_OF = {
    "nnunet_attention.networks.AttentionUNet": (
        "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    ),
    "nnunet_attention.networks.AttentionResidualEncoderUNet": (
        "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    ),
}
# The arguments that only the gated networks have.
GATE_OPTIONS = ("gate_full_resolution", "output_transform", "gate_start")

# As a share of the gated network's parameters.
WIDE_TOLERANCE = 0.01


def plain_class_path(attention_path: str) -> str:
    """Return the import path of the network to which a gated one adds its gates."""
    return _PLAIN_PATH_OF[attention_path]


def build_plain_network(
    configuration: ConfigurationManager,
    num_input_channels: int,
    num_output_channels: int,
    deep_supervision: bool = True,
    features_per_stage: Sequence[int] | None = None,
    initialize: bool = True,
) -> nn.Module:
    """Build and initialise the network of the plans without gates.

    Args:
        configuration: its network may be plain or gated.
        num_input_channels: image channels, plus those of the previous stage in a cascade.
        num_output_channels: segmentation heads.
        deep_supervision: whether to return the logits of all resolutions.
        features_per_stage: channels per stage to use instead of those in the plans.
        initialize: False leaves the weights as torch initialises its layers, which is five times
            faster.

    Raises:
        UnsupportedNetworkError: see `attention_class_path`.
        CommandError: see `build_attention_network`.
    """
    arguments = {
        name: value
        for name, value in configuration.network_arch_init_kwargs.items()
        if name not in GATE_OPTIONS
    }
    if features_per_stage is not None:
        arguments["features_per_stage"] = list(features_per_stage)
    return build_named_network(
        plain_class_path(attention_class_path(configuration.network_arch_class_name)),
        arguments,
        configuration.network_arch_init_kwargs_req_import,
        num_input_channels,
        num_output_channels,
        initialize=initialize,
        deep_supervision=deep_supervision,
    )


def build_wide_network(
    configuration: ConfigurationManager,
    num_input_channels: int,
    num_output_channels: int,
    deep_supervision: bool = True,
) -> nn.Module:
    """Build and initialise the plain network, widened to the size of the gated one.

    Arguments and errors are as for `build_attention_network`; the channels are those of
    `wide_features_per_stage`.
    """
    return build_plain_network(
        configuration,
        num_input_channels,
        num_output_channels,
        deep_supervision,
        wide_features_per_stage(configuration, num_input_channels, num_output_channels),
    )


def wide_features_per_stage(
    configuration: ConfigurationManager, num_input_channels: int, num_output_channels: int
) -> tuple[int, ...]:
    """Return the channels per stage that give the plain network as many parameters as the gated.

    All stages are widened in proportion. Stages of equal width stay equal, as a residual encoder
    has a projection wherever the width changes. The result depends only on the arguments, so that
    training and prediction build the same network.

    Raises:
        UnsupportedNetworkError: see `attention_class_path`.
    """
    return _match(configuration, num_input_channels, num_output_channels).features


def wide_mismatch(
    configuration: ConfigurationManager, num_input_channels: int, num_output_channels: int
) -> float:
    """Return how many more parameters the wide network has, as a share of the gated one's.

    The result exceeds `WIDE_TOLERANCE` only in small networks, where one channel is a large step.

    Raises:
        UnsupportedNetworkError: see `attention_class_path`.
    """
    match = _match(configuration, num_input_channels, num_output_channels)
    return match.parameters / match.wanted - 1


def wide_mismatch_in_words(mismatch: float) -> str:
    """Return a sentence for users, who expect networks of equal size, on the `wide_mismatch`."""
    return (
        f"the wide U-Net has {abs(mismatch):.1%} {'more' if mismatch > 0 else 'fewer'} parameters "
        "than the attention U-Net: with the channels of these plans, no size within "
        f"{WIDE_TOLERANCE:.0%} is possible"
    )


class _Match(NamedTuple):
    """The channels per stage, the number of parameters that they give, and the wanted number."""

    features: tuple[int, ...]
    parameters: int
    wanted: int


def _match(configuration: ConfigurationManager, inputs: int, outputs: int) -> _Match:
    architecture = configuration.configuration["architecture"]
    return _matching_features(json.dumps(architecture, sort_keys=True), inputs, outputs)


@lru_cache(maxsize=128)
def _matching_features(
    architecture: str, num_input_channels: int, num_output_channels: int
) -> _Match:
    configuration = ConfigurationManager({"architecture": json.loads(architecture)})
    channels = (num_input_channels, num_output_channels)

    def plain_parameters(features: Sequence[int]) -> int:
        with torch.device("meta"):
            network = build_plain_network(
                configuration, *channels, features_per_stage=features, initialize=False
            )
        return count_parameters(network)

    with torch.device("meta"):
        target = count_parameters(build_attention_network(configuration, *channels))
        plain = build_plain_network(configuration, *channels, initialize=False)
    encoder: Any = plain.encoder  # nnU-Net's networks have no types
    features = nearest_features(target, encoder.output_channels, plain_parameters)
    return _Match(features, plain_parameters(features), target)


def nearest_features(
    target: int, features: Sequence[int], parameters: Callable[[Sequence[int]], int]
) -> tuple[int, ...]:
    """Widen `features` in proportion until `parameters(features)` is closest to `target`.

    A step adds one channel to the widest stages, and to the others in proportion; the step closest
    to the target is taken. Then each width, the widest first, gets one more channel if this comes
    closer.

    Args:
        target: the wanted number of parameters, at least that of `features`.
        features: channels per stage to begin with.
        parameters: returns a network's number of parameters for these features; it must grow with
            each of them.
    """
    widest = max(features)

    @cache
    def error(candidate: tuple[int, ...]) -> int:
        return parameters(candidate) - target

    def widened(extra: int) -> tuple[int, ...]:
        # In whole numbers, rounded half up, so that no width depends on a platform's floats.
        return tuple((2 * width * (widest + extra) + widest) // (2 * widest) for width in features)

    # Parameters grow roughly with the square of the width, so this first guess is seldom far off.
    extra = int(widest * (sqrt(target / parameters(features)) - 1))
    while extra > 0 and error(widened(extra)) > 0:
        extra -= 1
    while error(widened(extra + 1)) <= 0:
        extra += 1
    nearest = min(widened(extra), widened(extra + 1), key=lambda features: abs(error(features)))
    for width in sorted(set(nearest), reverse=True):
        wider = tuple(own + (own == width) for own in nearest)
        nearest = min(nearest, wider, key=lambda features: abs(error(features)))
    return nearest


def count_parameters(network: nn.Module) -> int:
    """Count the elements of all parameters, each tensor once."""
    return sum(parameter.numel() for parameter in network.parameters())
