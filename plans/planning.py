"""Runs a planner of ours on a data set through nnU-Net's Python API."""

import contextlib
import sys
from functools import partial

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
    ExperimentPlanner,
)
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprint_dataset,
    plan_experiment_dataset,
)

from nnunet_attention.errors import CommandError
from nnunet_attention.files import require_writable
from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.datasets import dataset_folder, raw_folder


def plan_dataset(
    name: str,
    planner_class: type[ExperimentPlanner],
    *,
    gpu_memory_target_gb: float | None = None,
    plans_name: str | None = None,
    num_processes: int = 8,
    **options: bool | str | None,
) -> tuple[dict, str]:
    """Plans a data set, extracting its fingerprint first if there is none.

    nnU-Net prints while it plans: that goes to stderr.

    Args:
        name: DatasetXXX_Name, in nnUNet_raw.
        planner_class: one of `PLANNERS`.
        gpu_memory_target_gb: None for the planner's own.
        plans_name: None for the planner's own.
        num_processes: for the fingerprint.
        **options: `gate_full_resolution`, `output_transform` and `gate_start` of the network.

    Returns:
        the plans, and their name.

    Raises:
        CommandError: if the data set is absent, no network with gates can be planned, or a plans
            file of that name exists with another content.
    """
    raw_folder(name)
    folder = dataset_folder(name)
    require_writable(folder)
    with contextlib.redirect_stdout(sys.stderr):
        if not (folder / "dataset_fingerprint.json").is_file():
            extract_fingerprint_dataset(
                int(number_of_dataset(name)), num_processes=num_processes, verbose=False
            )
        try:
            return plan_experiment_dataset(
                name,
                partial(planner_class, **options),
                gpu_memory_target_in_gb=gpu_memory_target_gb,
                overwrite_plans_name=plans_name,
            )
        except ValueError as error:
            raise CommandError(f"{name} cannot be planned: {error}") from error
