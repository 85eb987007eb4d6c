"""Adds gates to the networks of existing plans and leaves everything else as it is."""

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_attention.errors import CommandError
from nnunet_attention.networks import build_attention_network
from nnunet_attention.networks.trusted_plans import building, check_plans
from nnunet_attention.nnunet.plans import read_plans, save_plans
from nnunet_attention.plans.architecture import gated_architecture


def converted_plans(
    plans: Mapping,
    plans_name: str,
    *,
    gate_full_resolution: bool | None = None,
    output_transform: bool | None = None,
    gate_start: str | None = None,
) -> dict:
    """Copy plans under another name and add gates to the networks.

    Patch, batch, spacing and preprocessed data stay those of `plans`, so that any difference
    between models trained with the two is due to the gates. Configurations that inherit their
    network inherit the gated one.

    For the options, see `gated_architecture`.

    Raises:
        UnsupportedNetworkError: if there is no attention U-Net for a network of the plans.
        CommandError: if the plans name anything that must not be imported.
        ValueError: if a network has no skip connection to gate, or `gate_start` is unknown.
    """
    converted = {**copy.deepcopy(dict(plans)), "plans_name": plans_name}
    for configuration in converted["configurations"].values():
        if "architecture" in configuration:
            configuration["architecture"] = gated_architecture(
                configuration["architecture"],
                gate_full_resolution=gate_full_resolution,
                output_transform=output_transform,
                gate_start=gate_start,
            )
    manager = PlansManager(converted)
    for name in converted["configurations"]:
        check_plans(converted, name)
        # Built once, so that plans are not written if no network can be built from them.
        with torch.device("meta"):
            build_attention_network(manager.get_configuration(name), 1, 2)
    return converted


def convert_plans(
    folder: Path,
    source: str,
    target: str,
    *,
    gate_full_resolution: bool | None = None,
    output_transform: bool | None = None,
    gate_start: str | None = None,
) -> dict:
    """Convert a plans file of a data set.

    Args:
        folder: the data set's folder in nnUNet_preprocessed.
        source: the name of the plans to convert.
        target: the name of the plans to write.
        gate_full_resolution: see `gated_architecture`.
        output_transform: likewise.
        gate_start: likewise.

    Raises:
        CommandError: if `source` is absent or cannot be converted, or `target` exists with
            another content.
    """
    path = folder / f"{source}.json"
    if not path.is_file():
        names = sorted(found.stem for found in folder.glob("*Plans*.json"))
        there = f"there are: {', '.join(names)}" if names else "there are no plans; plan first"
        raise CommandError(f"--from {source}: no {path}; {there}")
    try:
        with building(source):
            plans = converted_plans(
                read_plans(path),
                target,
                gate_full_resolution=gate_full_resolution,
                output_transform=output_transform,
                gate_start=gate_start,
            )
    except CommandError as error:
        raise CommandError(f"{path}: {error}") from error
    save_plans(plans, folder / f"{target}.json")
    return plans
