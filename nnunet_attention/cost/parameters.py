"""Counts the trainable parameters of a trainer's network."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from nnunet_attention import trainers
from nnunet_attention.networks.trusted_plans import build_from_plans
from nnunet_attention.networks.wide import count_parameters as parameters_of
from nnunet_attention.nnunet.dataset_json import read_dataset_json
from nnunet_attention.nnunet.lookups import find_trainer


def count_parameters(trainer: str, plans: Mapping, dataset_json: Path, configuration: str) -> int:
    """Build the trainer's network without allocating memory for it, and count its parameters.

    A checkpoint does not give the count: nnU-Net's state dicts hold the same tensor under several
    names.

    Args:
        trainer: the name of a class that nnU-Net finds.
        plans: the content of plans.json.
        dataset_json: path of the data set's dataset.json.
        configuration: such as 3d_fullres.

    Raises:
        CommandError: if the plans name something that must not be imported, or no network can be
            built.
    """
    trainer_class = getattr(trainers, trainer, None) or find_trainer(trainer)
    description = read_dataset_json(dataset_json, channels=True, ending=False)
    build = partial(trainer_class.build_network_architecture, enable_deep_supervision=True)
    with torch.device("meta"):
        network = build_from_plans(plans, configuration, description, build)
    return parameters_of(network)
