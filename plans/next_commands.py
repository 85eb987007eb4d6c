"""Lists the nnU-Net commands that come after planning."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_attention.nnunet.dataset_json import DATASET_JSON, number_of_cases, read_dataset_json
from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.datasets import needs_preprocessing
from nnunet_attention.nnunet.plans import read_plans


@dataclass(frozen=True)
class NextCommands:
    """Holds the commands to run after planning, and the data that are ready.

    Attributes:
        preprocessing: the command that makes the missing data; None if none are missing.
        preprocessed: the identifiers of the existing data, sorted.
        trainings: a command for the first fold of each configuration.
    """

    preprocessing: tuple[str, ...] | None
    preprocessed: tuple[str, ...]
    trainings: tuple[tuple[str, ...], ...]


def next_commands(folder: Path, plans_name: str, configurations: Sequence[str]) -> NextCommands:
    """Return the commands to run next with given plans.

    Args:
        folder: the data set's folder in nnUNet_preprocessed.
        plans_name: the name of the plans.
        configurations: the configurations to be trained.

    Raises:
        CommandError: if the plans or dataset.json cannot be read.
    """
    manager = PlansManager(read_plans(folder / f"{plans_name}.json"))
    description = folder / DATASET_JSON
    dataset_json = read_dataset_json(description, channels=True)
    cases = number_of_cases(dataset_json, str(description))
    resolved = {name: manager.get_configuration(name).configuration for name in configurations}
    # The cascade's data are those of the configuration that it inherits from.
    missing = {
        configuration["data_identifier"]: configuration.get("inherits_from", name)
        for name, configuration in resolved.items()
        if needs_preprocessing(folder, configuration, cases)
    }
    identifiers = {configuration["data_identifier"] for configuration in resolved.values()}
    number = str(int(number_of_dataset(folder.name)))
    preprocess = ("nnUNetv2_preprocess", "-d", number, "-plans_name", plans_name, "-c")
    return NextCommands(
        (*preprocess, *missing.values()) if missing else None,
        tuple(sorted(identifiers - set(missing))),
        # Even the default nnUNetTrainer trains the attention U-Net, as the plans name it.
        tuple(("nnUNetv2_train", number, name, "0", "-p", plans_name) for name in configurations),
    )
