"""Writes plans with gates for a data set, with one of our planners or by conversion."""

import contextlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
    ExperimentPlanner,
)
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
)

from nnunet_attention.errors import CommandError
from nnunet_attention.files import is_plain_name, require_writable
from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.datasets import dataset_folder, raw_folder
from nnunet_attention.nnunet.model_folders import SEPARATOR
from nnunet_attention.nnunet.planners import DEFAULT_PLANNER, converted_name
from nnunet_attention.plans.architecture import GateOptions
from nnunet_attention.plans.conversion import convert_plans
from nnunet_attention.plans.planners import PLANNERS


def plan_dataset(
    name: str,
    planner_class: Callable[..., ExperimentPlanner],
    *,
    gpu_memory_target_gb: float | None = None,
    plans_name: str | None = None,
    num_processes: int = 8,
    gate_full_resolution: bool = False,
    output_transform: bool = False,
    gate_start: str | None = None,
) -> tuple[dict, str]:
    """Plan a data set, after extracting its fingerprint if there is none.

    nnU-Net's output during planning goes to stderr.

    Args:
        name: DatasetXXX_Name, in nnUNet_raw.
        planner_class: one of `PLANNERS`.
        gpu_memory_target_gb: the memory target; None for the planner's own.
        plans_name: the name of the plans; None for the planner's own.
        num_processes: the number of processes for the fingerprint.
        gate_full_resolution: see `gated_architecture`.
        output_transform: likewise.
        gate_start: likewise.

    Returns:
        The plans, and their name.

    Raises:
        CommandError: if the data set is absent, no network with gates can be planned, or a plans
            file of that name exists with other content.
    """
    raw_folder(name)
    folder = dataset_folder(name)
    require_writable(folder)
    planner = partial(
        planner_class,
        gate_full_resolution=gate_full_resolution,
        output_transform=output_transform,
        gate_start=gate_start,
    )
    with contextlib.redirect_stdout(sys.stderr):
        if not (folder / "dataset_fingerprint.json").is_file():
            extract_fingerprint_dataset(
                int(number_of_dataset(name)), num_processes=num_processes, verbose=False
            )
        try:
            return plan_experiment_dataset(
                name,
                planner,
                gpu_memory_target_in_gb=gpu_memory_target_gb,
                overwrite_plans_name=plans_name,
            )
        except ValueError as error:
            raise CommandError(f"{name} cannot be planned: {error}") from error


def plan_or_convert(
    name: str,
    *,
    source: str | None = None,
    planner: str | None = None,
    gpu_memory_target_gb: float | None = None,
    plans_name: str | None = None,
    num_processes: int = 8,
    gate_full_resolution: bool | None = None,
    output_transform: bool | None = None,
    gate_start: str | None = None,
) -> Path:
    """Write plans with gates for a data set: new ones, or `source` with gates added.

    Args:
        name: DatasetXXX_Name.
        source: the name of the plans to convert; None plans anew.
        planner: the name of one of our planners; None for the default. Conversion ignores it,
            `gpu_memory_target_gb` and `num_processes`.
        gpu_memory_target_gb: see `plan_dataset`.
        num_processes: see `plan_dataset`.
        plans_name: the name of the plans to write; None for the default name of the planner or the
            conversion.
        gate_full_resolution: see `gated_architecture`.
        output_transform: likewise.
        gate_start: likewise.

    Returns:
        The path of the plans file.

    Raises:
        CommandError: see `plan_dataset` and `convert_plans`; also if nnU-Net does not allow the
            name.
    """
    for given in (plans_name, source):
        if given is not None:
            check_plans_name(given)
    folder = dataset_folder(name)
    if source is not None:
        written = plans_name or converted_name(source)
        convert_plans(
            folder,
            source,
            written,
            gate_full_resolution=gate_full_resolution,
            output_transform=output_transform,
            gate_start=gate_start,
        )
    else:
        options: GateOptions = {
            "gate_full_resolution": bool(gate_full_resolution),
            "output_transform": bool(output_transform),
            "gate_start": gate_start,
        }
        _, written = plan_dataset(
            name,
            PLANNERS[planner or DEFAULT_PLANNER],
            gpu_memory_target_gb=gpu_memory_target_gb,
            plans_name=plans_name,
            num_processes=num_processes,
            **options,
        )
    return folder / f"{written}.json"


def check_plans_name(name: str) -> None:
    """Check that nnU-Net allows a name of plans.

    Raises:
        CommandError: with an example.
    """
    if SEPARATOR in name or not is_plain_name(name):
        raise CommandError(
            f"plans name {name!r}: nnU-Net allows neither two underscores in a row nor a "
            "folder; give a name such as AttentionUNetPlans"
        )
