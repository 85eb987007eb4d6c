"""Makes a checkpoint for a training with given plans to start from, from one of other plans."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_attention.errors import CommandError
from nnunet_attention.networks import build_attention_network
from nnunet_attention.networks.trusted_plans import build_from_plans
from nnunet_attention.networks.wide import build_plain_network
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, channel_names, read_dataset_json
from nnunet_attention.nnunet.plans import configuration_of, read_plans
from nnunet_attention.nnunet.pretraining import CITATIONS
from nnunet_attention.weights.adaptation import Adaptation, adapt, load_adapted
from nnunet_attention.weights.checkpoint import load_weights
from nnunet_attention.weights.image_notes import image_notes
from nnunet_attention.weights.source import PRETRAINED_FROM, PretrainedSource, without_gates
from nnunet_attention.weights.upgrade import (
    SEED,
    build_as_trained,
    difference_of_logits,
    quiet,
)

GATED_TRAINER, PLAIN_TRAINER = "AttentionUNetFinetuneTrainer", "PlainUNetFinetuneTrainer"


@dataclass(frozen=True)
class PretrainedStart:
    """Holds a network that is ready to be trained further, and how it was made.

    Attributes:
        source: the weights that it starts from.
        adaptation: what became of each tensor.
        network: the network of the plans, with these weights.
        difference: the largest difference between its logits and those of the source's network on
            random input, if both are the same but for gates; else None.
    """

    source: PretrainedSource
    adaptation: Adaptation
    network: nn.Module
    difference: float | None


@dataclass(frozen=True)
class TargetPlans:
    """Holds the plans that a training will have.

    Attributes:
        path: the path of the plans file.
        plans: its content.
        configuration: the name of one of its configurations.
        dataset_json: the data set's description.
    """

    path: Path
    plans: dict
    configuration: str
    dataset_json: dict

    @property
    def image_channels(self) -> int:
        """Count the channels of the images; a cascade's network has further ones."""
        return len(channel_names(self.dataset_json))


def read_target(path: Path, configuration: str) -> TargetPlans:
    """Read plans, and the data set's description beside them.

    Raises:
        CommandError: if one of them cannot be read, or there is no such configuration.
    """
    plans = read_plans(path)
    configuration_of(plans, configuration)
    dataset_json = read_dataset_json(path.with_name(DATASET_JSON), channels=True)
    return TargetPlans(path, plans, configuration, dataset_json)


def start_from(
    source: PretrainedSource, target: TargetPlans, *, gated: bool = True
) -> PretrainedStart:
    """Build the network of plans with the source's weights, as far as they fit.

    All other weights are initialised as in nnU-Net, from a fixed seed: the networks with and
    without gates have the same plain weights, and compute the same.

    Args:
        source: the weights.
        target: the plans; they may name the plain or the gated network.
        gated: whether to build the network with gates.

    Raises:
        CommandError: if no network can be built; also see `adapt`.
    """
    dtypes = [value.dtype for value in source.weights.values() if value.is_floating_point()]
    dtype = torch.float64 if torch.float64 in dtypes else torch.float32
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(SEED)
        try:
            network = _built(target, gated).to(dtype)
            adaptation = adapt(source, network, target.image_channels)
        except CommandError as error:
            raise CommandError(f"{target.path}: {error}") from error
        load_adapted(network, adaptation)
        names = channel_names(target.dataset_json)
        told = image_notes(source.settings, _configuration(target), names)
        if source.mirroring_note is not None:
            told.append(source.mirroring_note)
        adaptation = replace(adaptation, notes=(*adaptation.notes, *told))
        difference = None
        if adaptation.is_whole and _same_architecture(source, target):
            try:
                difference = _difference(source, target, network)
            except CommandError as error:
                adaptation = replace(adaptation, notes=(*adaptation.notes, str(error)))
    return PretrainedStart(source, adaptation, network, difference)


def adaptation_to(
    source: PretrainedSource, target: TargetPlans, *, gated: bool = True
) -> Adaptation:
    """Find which weights the network of plans can start with, without allocating it.

    Args:
        source: the weights.
        target: the plans.
        gated: whether it is the network with gates.

    Raises:
        CommandError: see `start_from`.
    """
    with quiet(), torch.device("meta"):
        network = _built(target, gated)
    return adapt(source, network, target.image_channels)


def check_share(adaptation: Adaptation, source: PretrainedSource, least: float | None) -> None:
    """Refuse to start where too little of the encoder comes from the source.

    Args:
        adaptation: what became of each tensor.
        source: the weights.
        least: the smallest allowed share of the encoder's numbers, 0 to 1; None for any above 0.

    Raises:
        CommandError: with the share, and what to do.
    """
    share = adaptation.encoder_share
    if share == 0:
        raise CommandError(
            f"nothing in {source.path} fits the encoder of the plans' network, so training from it "
            "would be training from scratch; plan with the architecture of the source "
            "(nnunet-attention plan --like), or choose other weights"
        )
    if least is not None and share < least:
        raise CommandError(
            f"--least {least:g}: only {share:.1%} of the encoder's weights come from "
            f"{source.path}; the table says why the others do not. Plan with the architecture of "
            "the source (nnunet-attention plan --like), or lower --least"
        )


def start_checkpoint(start: PretrainedStart, target: TargetPlans, *, gated: bool = True) -> dict:
    """Return the checkpoint that `nnUNetv2_train -pretrained_weights` takes for the plans."""
    return {
        "network_weights": start.network.state_dict(),
        "trainer_name": GATED_TRAINER if gated else PLAIN_TRAINER,
        "init_args": {
            "plans": target.plans,
            "configuration": target.configuration,
            "dataset_json": target.dataset_json,
        },
        PRETRAINED_FROM: {
            "checkpoint": str(start.source.path.absolute()),
            "kind": start.source.kind,
            "encoder_share": start.adaptation.encoder_share,
            CITATIONS: list(start.source.citations),
        },
    }


def _built(target: TargetPlans, gated: bool) -> nn.Module:
    def build(manager: PlansManager, configuration, inputs: int, outputs: int) -> nn.Module:
        builder = build_attention_network if gated else build_plain_network
        return builder(configuration, inputs, outputs)

    return build_from_plans(target.plans, target.configuration, target.dataset_json, build)


def _difference(source: PretrainedSource, target: TargetPlans, network: nn.Module) -> float:
    """Compare the network with the source's network, built as it was trained."""
    plain = {**_configuration(target), "architecture": source.plain_architecture}
    plans = {**target.plans, "configurations": {target.configuration: plain}}
    build = partial(build_as_trained, source.trainer or "")
    trained = build_from_plans(plans, target.configuration, target.dataset_json, build)
    trained = trained.to(next(network.parameters()).dtype)
    load_weights(trained, source.weights, f"the network of {target.path}")
    return difference_of_logits(trained.eval(), network.eval())


def _same_architecture(source: PretrainedSource, target: TargetPlans) -> bool:
    here = without_gates(_configuration(target)["architecture"])
    return _text(source.plain_architecture) == _text(here)


def _configuration(target: TargetPlans) -> dict:
    """Return the configuration with inherited entries, under the names that nnU-Net uses today."""
    return PlansManager(target.plans).get_configuration(target.configuration).configuration


def _text(architecture: Mapping) -> str:
    arguments = architecture["arch_kwargs"]
    return json.dumps([architecture["network_class_name"], arguments], sort_keys=True, default=str)
