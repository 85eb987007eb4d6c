"""Looks up the names in a cross-validation first, so that it does not fail after hours."""

from __future__ import annotations

from nnunet_attention.crossval.plan import CrossvalPlan
from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json
from nnunet_attention.nnunet.dataset_json import read_dataset_json
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.lookups import check_network, check_trainers
from nnunet_attention.nnunet.plans import configuration_of


def check_names(plan: CrossvalPlan, folders: Folders) -> None:
    """Refuse trainers, and networks in existing plans, that nnU-Net will not find.

    Raises:
        CommandError: if there are any, with similar names; or if nnU-Net cannot read a data set's
            description.
    """
    check_trainers(trainer for trainer, _ in plan.models)
    for dataset in plan.datasets:
        for path in (folders.dataset_json(dataset), folders.raw_dataset_json(dataset)):
            if path.is_file():
                read_dataset_json(path, channels=True)
        for plans in dict.fromkeys(plans for _, plans in plan.models):
            path = folders.plans(dataset, plans)
            for configuration in plan.configurations:
                try:
                    content = configuration_of(read_json(path), configuration)
                    network = content["architecture"]["network_class_name"]
                except (CommandError, KeyError, TypeError, AttributeError):
                    continue  # Not planned yet, or plans that other checks refuse.
                check_network(network, f"{path}, configuration {configuration},")
