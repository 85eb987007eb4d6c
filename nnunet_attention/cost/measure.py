"""Measures the plain, attention and wide networks of plans: size, computation, memory."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_attention.cost.saved import saved_activations
from nnunet_attention.cost.vram import vram_reference
from nnunet_attention.gates import AttentionGate
from nnunet_attention.networks import attention_class_path, build_attention_network
from nnunet_attention.networks.trusted_plans import check_plans, network_channels
from nnunet_attention.networks.wide import (
    build_plain_network,
    build_wide_network,
    count_parameters,
)

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "plain": build_plain_network,
    "attention": build_attention_network,
    "wide": build_wide_network,
}


@dataclass(frozen=True)
class NetworkCost:
    """Holds what one network costs.

    Attributes:
        features_per_stage: channels of the encoder's stages, highest resolution first.
        parameters: number of parameters, all of them trainable.
        flops: of one forward pass of one patch; a multiplication and the addition after it count
            as two. Only convolutions are counted; they are nearly all of the computation.
        saved_bytes: size of what a forward pass of a batch keeps for the backward pass, in 32-bit
            numbers, with deep supervision, without parameters. Mixed precision keeps about half.
        vram_gb: the planner's estimate for the batch.
    """

    features_per_stage: tuple[int, ...]
    parameters: int
    flops: int
    saved_bytes: int
    vram_gb: float


@dataclass(frozen=True)
class GateCost:
    """Holds the size and cost of one gate of the attention network.

    Attributes:
        stage: the encoder's stage whose skip is gated; 0 is the full resolution.
        skip_channels: channels that are gated.
        gating_channels: channels of the gating signal, from one level below.
        inter_channels: channels inside the gate.
        stride: from the skip's grid to the gating signal's, per axis, (z, y, x) or (y, x).
        parameters: number of the gate's parameters.
        parameter_share: the gate's share of the network's parameters, 0 to 1.
        flops: as in `NetworkCost`.
        flop_share: the gate's share of the network's FLOPs, 0 to 1.
    """

    stage: int
    skip_channels: int
    gating_channels: int
    inter_channels: int
    stride: tuple[int, ...]
    parameters: int
    parameter_share: float
    flops: int
    flop_share: float


@dataclass(frozen=True)
class ConfigurationCost:
    """Holds the costs of one configuration's networks, by name: plain, attention and wide.

    Attributes:
        configuration: its name in the plans.
        patch_size: in voxels, per axis, (z, y, x) or (y, x).
        batch_size: from the plans.
        networks: the cost of each network, by name.
        gates: gates of the attention network, highest resolution first.
        gate_start: how these gates are initialised in a new training, see `start_gates`.
        output_transform: whether a convolution and a norm follow each gate's product.
    """

    configuration: str
    patch_size: tuple[int, ...]
    batch_size: int
    networks: dict[str, NetworkCost]
    gates: tuple[GateCost, ...]
    gate_start: str
    output_transform: bool

    @property
    def wide_mismatch(self) -> float:
        """The relative difference in parameters; see `networks.wide.wide_mismatch`."""
        return self.networks["wide"].parameters / self.networks["attention"].parameters - 1


@dataclass(frozen=True)
class _Measurement:
    """Holds the part of the costs that does not depend on batch size and planner."""

    features_per_stage: tuple[int, ...]
    parameters: int
    flops: int
    saved_bytes_per_case: int
    values_per_case: int
    gates: tuple[GateCost, ...]
    gate_start: str
    output_transform: bool


def configuration_cost(plans: PlansManager, name: str, dataset_json: Mapping) -> ConfigurationCost:
    """Measure the networks of one configuration on torch's meta device, without computing.

    Args:
        plans: plain or gated; the wide network matches the attention network in either case.
        name: a configuration of the plans.
        dataset_json: nnU-Net's, for the channels and labels.

    Raises:
        UnsupportedNetworkError: if there is no attention U-Net for the network of the plans.
        CommandError: if the plans name something that must not be imported.
        ValueError: if the network has no skip connection to gate.
    """
    configuration = plans.get_configuration(name)
    attention_class_path(configuration.network_arch_class_name)
    check_plans(plans.plans, name)
    channels = network_channels(plans, configuration, dataset_json)
    patch_size = tuple(int(size) for size in configuration.patch_size)
    architecture = json.dumps(configuration.configuration["architecture"], sort_keys=True)
    measured = {kind: _measure(kind, architecture, *channels, patch_size) for kind in _BUILDERS}
    reference = vram_reference(plans.experiment_planner_name, configuration.network_arch_class_name)
    batch_size = int(configuration.batch_size)
    return ConfigurationCost(
        name,
        patch_size,
        batch_size,
        {
            kind: NetworkCost(
                found.features_per_stage,
                found.parameters,
                found.flops,
                found.saved_bytes_per_case * batch_size,
                reference.vram_gb(found.values_per_case, batch_size, len(patch_size)),
            )
            for kind, found in measured.items()
        },
        measured["attention"].gates,
        measured["attention"].gate_start,
        measured["attention"].output_transform,
    )


@lru_cache(maxsize=256)
def _measure(
    kind: str,
    architecture: str,
    num_input_channels: int,
    num_output_channels: int,
    patch_size: tuple[int, ...],
) -> _Measurement:
    configuration = ConfigurationManager({"architecture": json.loads(architecture)})
    with torch.device("meta"):
        # Any: nnU-Net's network classes are untyped, so type checkers do not know the attributes.
        network: Any = _BUILDERS[kind](configuration, num_input_channels, num_output_channels)
        patch = torch.empty(1, num_input_channels, *patch_size)
    flops, saved_bytes, flops_of_gates = _forward(network, patch)
    parameters = count_parameters(network)
    return _Measurement(
        tuple(network.encoder.output_channels),
        parameters,
        flops,
        saved_bytes,
        int(network.compute_conv_feature_map_size(patch_size)),
        tuple(
            GateCost(
                # Gates are counted from the bottleneck up, stages from the full resolution down.
                stage=len(network.encoder.strides) - 2 - number,
                skip_channels=gate.skip_channels,
                gating_channels=gate.gating_channels,
                inter_channels=gate.inter_channels,
                stride=gate.stride,
                parameters=count_parameters(gate),
                parameter_share=count_parameters(gate) / parameters,
                flops=flops_of_gates[number],
                flop_share=flops_of_gates[number] / flops,
            )
            for number, gate in reversed(list(enumerate(_gates(network))))
        ),
        getattr(network.decoder, "gate_start", ""),
        any(gate.output_transform is not None for gate in _gates(network)),
    )


def _gates(network: Any) -> list[AttentionGate]:
    return list(getattr(network.decoder, "gates", ()))


def _forward(network: nn.Module, patch: torch.Tensor) -> tuple[int, int, list[int]]:
    """Return FLOPs, saved bytes, and the FLOPs of each gate of one training forward pass."""
    marks: list[list[int]] = []
    with (
        FlopCounterMode(display=False) as counter,
        saved_activations(network) as saved_bytes,
    ):
        hooks = []
        for gate in _gates(network):
            marks.append([])
            for register in (gate.register_forward_pre_hook, gate.register_forward_hook):
                hooks.append(
                    register(lambda *_, mark=marks[-1]: mark.append(counter.get_total_flops()))
                )
        outputs = network(patch)
        for hook in hooks:
            hook.remove()
    saved = saved_bytes()
    del outputs
    return counter.get_total_flops(), saved, [after - before for before, after in marks]
