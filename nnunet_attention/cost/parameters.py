"""How many numbers the network of a trainer learns."""

from collections.abc import Mapping
from pathlib import Path

import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_attention import trainers
from nnunet_attention.files import read_json


def count_parameters(trainer: str, plans: Mapping, dataset_json: Path, configuration: str) -> int:
    """Builds the trainer's network without memory for it, and counts.

    A checkpoint cannot tell: nnU-Net's state dicts hold the same tensor under several names.

    Args:
        trainer: name of a class that nnU-Net finds.
        plans: content of plans.json.
        dataset_json: of the data set.
        configuration: such as 3d_fullres.
    """
    found = getattr(trainers, trainer, None) or recursive_find_trainer_class_by_name(trainer)
    description = read_json(dataset_json)
    manager = PlansManager(dict(plans))
    configuration_manager = manager.get_configuration(configuration)
    with torch.device("meta"):
        network = found.build_network_architecture(
            manager,
            configuration_manager,
            determine_num_input_channels(manager, configuration_manager, description),
            manager.get_label_manager(description).num_segmentation_heads,
            True,
        )
    return sum(parameter.numel() for parameter in network.parameters())
