"""Prepares the study's data, and keeps a folder to one design."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from benchmarks.machine import machine
from benchmarks.preparation import add_half_configuration, bring_data
from benchmarks.where_gates_help.design import (
    SHIFTED_CASES,
    TRAINED_CASES,
    VALIDATED_CASES,
    Data,
    Part,
)
from benchmarks.where_gates_help.phantom import write_distractors_task
from benchmarks.where_gates_help.places import folders, task_folder
from nnunet_attention.errors import CommandError
from nnunet_attention.files import NNUNET_LAYOUT, read_json, remove, write_json
from nnunet_attention.jobs.process import run_command
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.planners import STOCK_PLANS
from nnunet_attention.nnunet.workers import planning_environment

# Beside each fold, on which machine it was trained.
MACHINE_JSON = "machine.json"
_DESIGNS = "designs"


def prepare(part: Part, data: Data, work: Path, real_data: Path | None, processes: int) -> None:
    """Prepare a data set for trainings, except for preprocessing, which the cross-validation does.

    Raises:
        CommandError: if a command of nnU-Net fails, real data are wanted and not given, or the
            folder holds images or trainings of another design.
    """
    places = folders(work)
    check_design(part, data, work)
    for place in (places.raw, places.preprocessed, places.results):
        place.mkdir(parents=True, exist_ok=True)
    variables = planning_environment({**os.environ, **places.variables})
    log = work / "logs" / f"{data.dataset}.log"
    if not places.raw_dataset_json(data.dataset).is_file():
        source = _source(data, work, real_data)
        bring_data(source, places.raw, variables, log, processes)
    plans = places.plans(data.dataset, STOCK_PLANS)
    if not plans.is_file():
        number, several = str(data.number), str(processes)
        run_command(["nnUNetv2_extract_fingerprint", "-d", number, "-np", several], variables, log)
        run_command(["nnUNetv2_plan_experiment", "-d", number], variables, log)
    add_half_configuration(plans, part.configuration, part.planned, part.batch_size)
    splits = places.splits(data.dataset)
    if data.recipe is not None and not splits.is_file():
        write_json(splits, [phantom_split()], **NNUNET_LAYOUT)


def phantom_split() -> dict[str, list[str]]:
    """Return which cases of a phantom are trained on, and which are validated."""
    names = [f"distractors_{n:03d}" for n in range(1, TRAINED_CASES + VALIDATED_CASES + 1)]
    return {"train": names[:TRAINED_CASES], "val": names[TRAINED_CASES:]}


def check_design(part: Part, data: Data, work: Path) -> None:
    """Refuse a folder with images or trainings of another design; note that of a new one.

    Raises:
        CommandError: if the images of a phantom were drawn otherwise, or the part's trainings had
            another schedule.
    """
    begun = folders(work).raw_dataset(data.dataset).is_dir()
    if data.images is not None:
        # Images without a record are of a version that kept none.
        _check_record(work / _DESIGNS / f"{data.dataset}.json", data.images, begun,
                      f"the images of {data.dataset} were drawn otherwise")  # fmt: skip
    _check_record(work / _DESIGNS / f"{part.name}.json", part.schedule, False,
                  f"{part.name} was trained otherwise")  # fmt: skip


def _check_record(path: Path, wanted: dict, is_needed: bool, wrong: str) -> None:
    if path.is_file():
        if read_json(path) == wanted:
            return
    elif not is_needed:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, wanted)
        return
    raise CommandError(f"{path}: {wrong} than the study wants now; choose another folder with -w")


def start_on_this_machine(work: Path) -> None:
    """Note that whatever is trained from now on is trained on this machine."""
    note_machines(work)
    last = work / _DESIGNS / MACHINE_JSON
    last.parent.mkdir(parents=True, exist_ok=True)
    write_json(last, machine(torch.device("cpu")))


def note_machines(work: Path) -> None:
    """Write beside each new fold on which kind of machine it was trained.

    Every fold without this was begun after the last start, even if that run was killed.
    """
    last = work / _DESIGNS / MACHINE_JSON
    if last.is_file():
        for fold in (*work.glob("nnUNet_results/**/fold_*"), *work.glob("warm/**/fold_*")):
            if fold.is_dir() and not (fold / MACHINE_JSON).is_file():
                write_json(fold / MACHINE_JSON, read_json(last))


def _source(data: Data, work: Path, real_data: Path | None) -> Path:
    if data.recipe is None or data.shifted is None:
        if real_data is None or data.source is None:
            raise CommandError(f"{data.title}: give the folder with {data.source} with --data")
        source = real_data / data.source
        if not (source / DATASET_JSON).is_file():
            raise CommandError(f"--data {real_data}: it has no {data.source}/{DATASET_JSON}")
        return source
    task = task_folder(work, data)
    if not (task / DATASET_JSON).is_file():
        remove(task)
        write_distractors_task(
            task.parent,
            data.recipe,
            TRAINED_CASES + VALIDATED_CASES,
            # Different images in each data set.
            data.number,
            number=data.number,
            test_cases=SHIFTED_CASES,
            test_contrast=data.shifted.contrast,
            test_noise=data.shifted.noise,
        )
    return task
