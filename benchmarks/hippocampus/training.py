"""Trains from a folder of data to finished folds, with nnU-Net's commands and `crossval`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import preparation
from benchmarks.hippocampus.schedules import (
    VARIANTS,
    Schedule,
    Variant,
    training_environment,
)
from benchmarks.machine import machine
from benchmarks.preparation import bring_data, plan_and_preprocess, run_shown
from nnunet_attention.files import write_json
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.model_folders import fold_folder, validation_summaries
from nnunet_attention.nnunet.planners import STOCK_PLANS
from nnunet_attention.nnunet.workers import planning_environment

# Beside a fold's checkpoints: the kind of machine that trained it.
MACHINE_JSON = "machine.json"


def train(
    schedule: Schedule,
    data: Path,
    work: Path,
    runs: Sequence[tuple[str, int]],
    processes: int,
    results: Path | None = None,
) -> int:
    """Run the missing steps.

    Args:
        schedule: how it is trained.
        data: a task folder of the Decathlon, or a data set in nnU-Net's raw format.
        work: the folder for all output.
        runs: the wanted runs of the schedule, in their order.
        processes: number of processes of conversion and preprocessing.
        results: folder of collected runs, which need not be trained again; None for none.

    Returns:
        The exit code of the command that failed, or 0.

    Raises:
        CommandError: if the data cannot be used.
    """
    for folder in folders(work).values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    variables = planning_environment({**os.environ, **folders(work)})
    _prepare(schedule, data, work, processes, variables)
    for number, (name, seed) in enumerate(runs, 1):
        variant = VARIANTS[name]
        title = f"{number} of {len(runs)}: {variant.name}, seed {seed}"
        if results is not None and is_collected(schedule, results, name, seed):
            print(f"{title}: already collected (--again trains it anew)", flush=True)
            continue
        print(title, flush=True)
        Path(folders(work, seed)["nnUNet_results"]).mkdir(parents=True, exist_ok=True)
        code = _plan_variant(schedule, variant, work, variables) or run_shown(
            ["nnunet-attention", *schedule.crossval_arguments(variant, processes)],
            training_environment(schedule, variant, seed, {**os.environ, **folders(work, seed)}),
        )
        if code:
            return code
        _note_machine(schedule, trained_model(schedule, work, name, seed))
    return 0


def trained_model(schedule: Schedule, work: Path, variant: str, seed: int) -> Path:
    """Return nnU-Net's folder of one of the models that are compared."""
    results = Path(folders(work, seed)["nnUNet_results"], schedule.dataset)
    return results / VARIANTS[variant].model_name(schedule)


def _note_machine(schedule: Schedule, model: Path) -> None:
    """Write beside each new fold on which kind of machine it was trained."""
    for fold in schedule.folds:
        folder = fold_folder(model, fold)
        if folder.is_dir() and not (folder / MACHINE_JSON).is_file():
            write_json(folder / MACHINE_JSON, machine(torch.device(schedule.device)))


def is_collected(schedule: Schedule, results: Path, variant: str, seed: int) -> bool:
    """Tell whether every fold of a run is among the results."""
    model = collected_model(schedule, results, variant, seed)
    return all(path.is_file() for path in validation_summaries(model, schedule.folds))


def collected_model(schedule: Schedule, results: Path, variant: str, seed: int) -> Path:
    """Return the folder with what was collected of one run."""
    return results / variant / f"seed_{seed}" / schedule.dataset / schedule.configuration


def folders(work: Path, seed: int = 0) -> dict[str, str]:
    """Return nnU-Net's three folders; each seed has results of its own."""
    results = work / f"nnUNet_results_seed{seed}"
    return Folders(work / "nnUNet_raw", work / "nnUNet_preprocessed", results).variables


def add_configuration(schedule: Schedule, plans: Path) -> None:
    """Add a configuration with a smaller batch, if the schedule asks for one."""
    if schedule.batch_size is not None:
        preparation.add_configuration(
            plans, schedule.configuration, schedule.planned, batch_size=schedule.batch_size
        )


def _prepare(
    schedule: Schedule, data: Path, work: Path, processes: int, variables: dict[str, str]
) -> None:
    raw, preprocessed = work / "nnUNet_raw", work / "nnUNet_preprocessed" / schedule.dataset
    log = work / "logs" / "preparation.log"
    if not (raw / schedule.dataset / DATASET_JSON).is_file():
        print(f"converting {data} to nnU-Net's format; log: {log}", flush=True)
        bring_data(data, raw, variables, log, processes)
    if not (preprocessed / f"{STOCK_PLANS}_{schedule.planned}").is_dir():
        print(f"planning and preprocessing {schedule.dataset}; log: {log}", flush=True)
        plan_and_preprocess(schedule.dataset, schedule.planned, variables, log, processes)
    add_configuration(schedule, preprocessed / f"{STOCK_PLANS}.json")


def _plan_variant(
    schedule: Schedule, variant: Variant, work: Path, variables: dict[str, str]
) -> int:
    preprocessed = work / "nnUNet_preprocessed" / schedule.dataset
    if (preprocessed / f"{variant.plans}.json").is_file():
        return 0
    command = ["nnunet-attention", "plan", "-d", schedule.dataset, "--from", STOCK_PLANS]
    command += ["-overwrite_plans_name", variant.plans, "-c", schedule.configuration]
    return run_shown([*command, *variant.plan_options], variables)
