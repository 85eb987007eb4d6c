"""Names the networks that are measured, each with the one without gates as its baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Variant:
    """Holds a network, and the name of its baseline for ratios."""

    name: str
    baseline: str
    build: Callable[[Case], nn.Module]
    deep_supervision: bool = True


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
    Variant(MONAI_PLAIN, MONAI_PLAIN, lambda case: without_gates(_monai(case)), False),
    Variant("MONAI AttentionUnet", MONAI_PLAIN, _monai, False),
)
