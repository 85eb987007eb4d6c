"""Trains what is compared, from a folder of data, with `nnunet-attention experiment finetune`."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.preparation import (
    add_half_configuration,
    bring_data,
    plan_and_preprocess,
    run_shown,
)
from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.divided import Divide, divide
from nnunet_attention.files import read_json
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.planners import STOCK_PLANS
from nnunet_attention.nnunet.precision import VARIABLE as BFLOAT16_VARIABLE
from nnunet_attention.nnunet.workers import WORKERS_VARIABLE, planning_environment

DATASET = "Dataset004_Hippocampus"
CONFIGURATION = "3d_fullres_half"
_PLANNED = "3d_fullres"
_BATCH_SIZE = 2
TRAINERS = (
    "nnUNetTrainer_short",
    "PlainUNetFinetuneTrainer_short",
    "PlainUNetFinetuneTrainer_decoderFirst_short",
    "AttentionUNetFinetuneTrainer_short",
    "AttentionUNetFinetuneTrainer_decoderFirst_short",
)
# 750 steps, of which the first two epochs are the warm-up. After 300 steps Dice was still 0
# for both labels from scratch, and for one of them from pretrained weights.
_SCHEDULE = "25,30,5"


def folders(work: Path) -> Folders:
    """Return nnU-Net's folders."""
    return Folders(work / "nnUNet_raw", work / "nnUNet_preprocessed", work / "nnUNet_results")


def experiment(work: Path) -> Path:
    """Return the folder of the experiment, where its table is."""
    return work / "experiment"


def train(data: Path, work: Path, bfloat16: bool, processes: int, repeats: int) -> int:
    """Run the missing steps.

    Args:
        data: task folder of the Decathlon, or the data set in nnU-Net's raw format.
        work: folder for all output.
        bfloat16: whether to train in bfloat16.
        processes: number of processes of conversion and preprocessing.
        repeats: number of trainings of each network, each with a pretraining of its own.

    Returns:
        The exit code of the command that failed, or 0.

    Raises:
        CommandError: if the data cannot be used.
    """
    places = folders(work)
    for folder in (places.raw, places.preprocessed, places.results):
        folder.mkdir(parents=True, exist_ok=True)
    variables = planning_environment({**os.environ, **places.variables})
    _prepare(data, work, variables, processes)
    command = ["nnunet-attention", "experiment", "finetune", "-d", DATASET, "-c", CONFIGURATION]
    command += ["-tr", *TRAINERS, "--repeats", str(repeats), "--seed", "0"]
    command += ["-device", "cpu", "-np", str(processes), "-o", str(experiment(work))]
    chosen = {
        "NNUNET_ATTENTION_SHORT_SCHEDULE": _SCHEDULE,
        # More take longer to start than they save.
        WORKERS_VARIABLE: "2",
        BFLOAT16_VARIABLE: str(int(bfloat16)),
    }
    return run_shown(command, {**os.environ, **places.variables, **chosen})


def _prepare(data: Path, work: Path, variables: dict[str, str], processes: int) -> None:
    """Divide the data, and plan the part that is fine-tuned on with a smaller network."""
    places = folders(work)
    log = work / "logs" / "preparation.log"
    if not places.raw_dataset_json(DATASET).is_file():
        if "file_ending" in read_json(data / DATASET_JSON) and data.name != DATASET:
            raise CommandError(
                f"{data}: the benchmark is of {DATASET}; give that data set's folder"
            )
        print(f"converting {data} to nnU-Net's format; log: {log}", flush=True)
        bring_data(data, places.raw, variables, log, processes)
    division = divide(places, DATASET)
    action = Divide(places, division)
    if not action.is_done():
        action.do(log)
    plans = places.plans(division.target, STOCK_PLANS)
    if not (plans.parent / f"{STOCK_PLANS}_{_PLANNED}").is_dir():
        print(f"planning and preprocessing {division.target}; log: {log}", flush=True)
        plan_and_preprocess(division.target, _PLANNED, variables, log, processes)
    add_half_configuration(plans, CONFIGURATION, _PLANNED, _BATCH_SIZE)
