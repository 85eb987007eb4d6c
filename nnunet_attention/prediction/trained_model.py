"""Loads the model in one of nnU-Net's folders without executing its files' content."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nnunetv2.paths import nnUNet_results
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import Tensor, nn

from nnunet_attention.errors import CommandError
from nnunet_attention.networks.trusted_plans import build_from_plans, network_channels
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, read_dataset_json
from nnunet_attention.nnunet.datasets import dataset_name
from nnunet_attention.nnunet.lookups import find_trainer
from nnunet_attention.nnunet.model_folders import (
    ALL,
    PLANS_JSON,
    ModelName,
    fold_folder,
    fold_folders,
)
from nnunet_attention.nnunet.planners import STOCK_PLANS
from nnunet_attention.nnunet.plans import read_plans
from nnunet_attention.weights import load_checkpoint
from nnunet_attention.weights.checkpoint import load_weights
from nnunet_attention.weights.mirrored import AXES

Folds = Sequence[int | str] | str | int | None


@dataclass(frozen=True)
class TrainedModel:
    """A network and what nnU-Net's predictor needs to know about it.

    Attributes:
        network: the network, with the first fold's weights.
        plans_manager: its plans.
        configuration_manager: its configuration.
        weights: each fold's weights, names to tensors.
        dataset_json: the description of its data set.
        trainer_name: the name of the trainer that trained it.
        mirroring_axes: the axes along which its trainer allows mirroring; None for none.
        folds: the names of the folds.
        configuration_name: the configuration, such as 3d_fullres.
        input_channels: the network's input channels, in a cascade including the previous stage's.
    """

    network: nn.Module
    plans_manager: PlansManager
    configuration_manager: ConfigurationManager
    weights: list[dict[str, Tensor]]
    dataset_json: dict
    trainer_name: str
    mirroring_axes: tuple[int, ...] | None
    folds: tuple[str, ...]
    configuration_name: str
    input_channels: int


def load_trained_model(folder: Path, folds: Folds, checkpoint_name: str = FINAL) -> TrainedModel:
    """Load the model of some folds.

    Args:
        folder: the folder `TRAINER__PLANS__CONFIGURATION`.
        folds: one fold or several; None for all that have the checkpoint.
        checkpoint_name: the checkpoint's name in each fold's folder.

    Raises:
        CommandError: if folder, fold or checkpoint is missing or damaged, or a fold is named twice.
    """
    if not folder.is_dir():
        raise CommandError(
            f"{folder}: there is no such model folder; check -m, or -d, -c, -tr and -p"
        )
    plans = read_plans(folder / PLANS_JSON)
    dataset_json = read_dataset_json(folder / DATASET_JSON, channels=True)
    names = _folds_to_use(folder, folds, checkpoint_name)
    checkpoints = [load_checkpoint(fold_folder(folder, fold) / checkpoint_name) for fold in names]
    trainer_name = checkpoints[0]["trainer_name"]
    configuration_name = checkpoints[0]["init_args"]["configuration"]
    weights = [checkpoint["network_weights"] for checkpoint in checkpoints]
    try:
        trainer_class: type[nnUNetTrainer] = find_trainer(trainer_name)
        network = build_from_plans(
            plans,
            configuration_name,
            dataset_json,
            partial(trainer_class.build_network_architecture, enable_deep_supervision=False),
        )
        plans_manager = PlansManager(plans)
        configuration_manager = plans_manager.get_configuration(configuration_name)
        mirroring_axes = _mirroring_axes(
            checkpoints[0].get(AXES),
            len(configuration_manager.patch_size),
        )
        input_channels, _ = network_channels(plans_manager, configuration_manager, dataset_json)
        for fold, fold_weights in zip(names, weights, strict=True):
            load_weights(network, fold_weights, f"the network of the plans (fold {fold})")
        # As in nnU-Net, the network ends up with the first fold's weights.
        network.load_state_dict(weights[0])
    except CommandError as error:
        raise CommandError(f"{folder}: {error}") from error
    return TrainedModel(
        network=network,
        plans_manager=plans_manager,
        configuration_manager=configuration_manager,
        weights=weights,
        dataset_json=dataset_json,
        trainer_name=trainer_name,
        mirroring_axes=mirroring_axes,
        folds=tuple(names),
        configuration_name=configuration_name,
        input_channels=input_channels,
    )


def _mirroring_axes(value: Any, number_of_axes: int) -> tuple[int, ...] | None:
    """Return a checkpoint's mirroring axes; None if empty, as nnU-Net fails with an empty list.

    Raises:
        CommandError: if they are not axes of the patch.
    """
    if value is None or value == () or value == []:
        return None
    known = range(number_of_axes)
    if (
        not isinstance(value, (tuple, list))
        or any(type(axis) is not int or axis not in known for axis in value)
        or len(set(value)) < len(value)
    ):
        raise CommandError(
            f"the checkpoint has {value!r} for {AXES}; expected axes of the patch, 0 to "
            f"{number_of_axes - 1}; get it from its source again"
        )
    return tuple(value)


def trained_model_folder(
    dataset: str,
    configuration: str,
    trainer: str = "AttentionUNetTrainer",
    plans: str = STOCK_PLANS,
) -> Path:
    """Return the folder of a trained model in nnUNet_results; it need not exist.

    Args:
        dataset: the data set, by number or name.
        configuration: the configuration, such as 3d_fullres.
        trainer: the trainer's name.
        plans: the name of the plans.

    Raises:
        CommandError: if nnUNet_results is not set, or there is no such data set.
    """
    results = nnUNet_results.get()
    if not results:
        raise CommandError("the environment variable nnUNet_results is not set; set it, or use -m")
    return Path(results, dataset_name(dataset), ModelName(trainer, plans, configuration).folder)


def _folds_to_use(folder: Path, requested: Folds, checkpoint_name: str) -> list[str]:
    """Return the names of the folds to use.

    Raises:
        CommandError: if a requested fold is repeated, or missing, with those that exist.
    """
    present = [name for name, fold in fold_folders(folder) if (fold / checkpoint_name).is_file()]
    if requested is None:
        folds = [fold for fold in present if fold != ALL]
    elif isinstance(requested, (str, int)):
        folds = [str(requested)]
    else:
        folds = [str(fold) for fold in requested]
    repeated = [fold for fold, count in Counter(folds).items() if count > 1]
    if repeated:
        raise CommandError(
            f"-f {' '.join(folds)}: fold {' '.join(repeated)} would count more than the others; "
            "name each fold once"
        )
    missing = [fold for fold in folds if fold not in present]
    if missing or not folds:
        raise CommandError(
            f"{folder} has no {checkpoint_name} for fold {' '.join(missing) or '0 to 4'}; "
            + (f"folds that have one: -f {' '.join(present)}" if present else "no fold has one")
        )
    return folds
