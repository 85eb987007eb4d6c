"""Works out what the networks of a plans file cost."""

from collections.abc import Sequence
from pathlib import Path

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_attention.cost.measure import ConfigurationCost, configuration_cost
from nnunet_attention.errors import CommandError
from nnunet_attention.networks.trusted_plans import building
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, read_dataset_json
from nnunet_attention.nnunet.plans import read_plans


def costs_of_plans(
    path: Path, configurations: Sequence[str] | None = None
) -> list[ConfigurationCost]:
    """Measure the networks of some configurations of a plans file.

    Args:
        path: the plans file, which lies beside the data set's dataset.json.
        configurations: their names; None for all.

    Raises:
        CommandError: if anything is wrong with the plans file, which the message names.
    """
    plans = read_plans(path)
    dataset_json = read_dataset_json(path.with_name(DATASET_JSON), channels=True)
    names = list(plans["configurations"]) if configurations is None else configurations
    for name in names:
        if name not in plans["configurations"]:
            raise CommandError(
                f"-c {name}: {path} has no such configuration; it has "
                f"{', '.join(plans['configurations'])}"
            )
    manager = PlansManager(plans)
    costs = []
    try:
        for name in names:
            with building(name):
                costs.append(configuration_cost(manager, name, dataset_json))
    except CommandError as error:
        raise CommandError(f"{path}: {error}") from error
    return costs
