"""Names the networks that are measured, each with the one without gates as its baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import nn

from benchmarks.performance.cases import Case
from benchmarks.performance.peers import (
    UpsampleFirstDecoder,
    monai_attention_unet,
    without_gates,
)
from nnunet_attention.networks import build_attention_network
from nnunet_attention.networks.normalisation import without_views
from nnunet_attention.networks.wide import build_plain_network, build_wide_network
from nnunet_attention.processor import why_no_bfloat16
from nnunet_attention.trainers.precision import in_bfloat16


@dataclass(frozen=True)
class Variant:
    """Holds a network, and the name of its baseline for ratios.

    With `bfloat16` it is trained in mixed precision on a CPU, which not every processor can.
    """

    name: str
    baseline: str
    build: Callable[[Case], nn.Module]
    deep_supervision: bool = True
    bfloat16: bool = False


def _attention(case: Case, **options: bool) -> nn.Module:
    configuration = case.configuration
    configuration.configuration["architecture"]["arch_kwargs"] |= options
    return build_attention_network(configuration, case.input_channels, case.classes)


def _as_trained(case: Case, **options: bool) -> nn.Module:
    """Build the network as `AttentionUNetTrainer` has it; what `_attention` adds are the gates."""
    return without_views(_attention(case, **options))


def _plain(case: Case) -> nn.Module:
    return build_plain_network(case.configuration, case.input_channels, case.classes)


def _wide(case: Case) -> nn.Module:
    network = build_wide_network(case.configuration, case.input_channels, case.classes)
    return without_views(network)


def _upsample_first(case: Case, norms: bool) -> nn.Module:
    network = _plain(case)
    norm_op = network.encoder.norm_op if norms else None
    network.decoder = UpsampleFirstDecoder(network.decoder, norm_op)
    return network


def _channels_last(network: nn.Module) -> nn.Module:
    # On a GPU, convolutions then return this layout; instance normalisation returns the usual one.
    return network.to(memory_format=torch.channels_last_3d)


def _in_bfloat16(network: nn.Module) -> nn.Module:
    network.forward = in_bfloat16(network.forward)
    return network


def _monai(case: Case) -> nn.Module:
    return monai_attention_unet(case.input_channels, case.classes, case.features, case.strides)


PLAIN, CONTROL, ATTENTION = "plain", "plain again (control)", "attention"
MONAI_PLAIN = "MONAI without gates"
VARIANTS = (
    Variant(PLAIN, PLAIN, _plain),
    Variant(CONTROL, PLAIN, _plain),
    Variant(ATTENTION, PLAIN, _as_trained),
    Variant("attention, torch's norms", PLAIN, _attention),
    Variant("plain, our norms", PLAIN, lambda case: without_views(_plain(case))),
    Variant(
        "attention, full resolution gated",
        PLAIN,
        lambda case: _as_trained(case, gate_full_resolution=True),
    ),
    Variant(
        "attention, output transform", PLAIN, lambda case: _as_trained(case, output_transform=True)
    ),
    Variant("wide", PLAIN, _wide),
    Variant("upsample first", PLAIN, lambda case: _upsample_first(case, norms=False)),
    Variant("upsample first, norms", PLAIN, lambda case: _upsample_first(case, norms=True)),
    Variant("plain, channels last", PLAIN, lambda case: _channels_last(_plain(case))),
    Variant("attention, channels last", PLAIN, lambda case: _channels_last(_as_trained(case))),
    Variant("plain, bfloat16", PLAIN, lambda case: _in_bfloat16(_plain(case)), bfloat16=True),
    Variant(
        "attention, bfloat16", PLAIN, lambda case: _in_bfloat16(_as_trained(case)), bfloat16=True
    ),
    Variant(MONAI_PLAIN, MONAI_PLAIN, lambda case: without_gates(_monai(case)), False),
    Variant("MONAI AttentionUnet", MONAI_PLAIN, _monai, False),
)


def runnable(device: torch.device) -> tuple[list[Variant], list[str]]:
    """Return the networks that can be measured here, and why others cannot, a reason each."""
    reasons = []
    without_bfloat16 = "on a GPU all networks are in mixed precision"
    if device.type == "cpu":
        without_bfloat16 = why_no_bfloat16()
    if without_bfloat16:
        reasons.append(f"networks in bfloat16: {without_bfloat16}")
    monai = find_spec("monai") is not None
    if not monai:
        reasons.append("MONAI's networks: MONAI is not installed")
    return [
        variant
        for variant in VARIANTS
        if not (variant.bfloat16 and without_bfloat16)
        and (monai or not variant.name.startswith("MONAI"))
    ], reasons
