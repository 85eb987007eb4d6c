"""From the Decathlon's folder to finished folds, by nnU-Net's commands and `crossval`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.hippocampus.schedules import CONTROLS, DATASET, MODELS, Schedule, environment
from nnunet_attention.files import read_json, write_text

BIN = Path(sys.executable).parent


def train(schedule: Schedule, data: Path, work: Path, processes: int) -> int:
    """Does what is missing; the exit code of the command that failed, or 0."""
    variables = environment(schedule, {**os.environ, **folders(work)})
    for folder in folders(work).values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    raw, preprocessed = work / "nnUNet_raw" / DATASET, work / "nnUNet_preprocessed" / DATASET
    number = [str(int(DATASET[7:10])), "-c", "3d_fullres", "-np", str(processes)]
    if not (raw / "dataset.json").is_file():
        # nnU-Net asks for a folder of test images, which are not used here.
        source = work / "source" / data.name
        shutil.copytree(data, source, dirs_exist_ok=True)
        (source / "imagesTs").mkdir(exist_ok=True)
        code = _run(
            ["nnUNetv2_convert_MSD_dataset", "-i", str(source), "-np", str(processes)], variables
        )
        if code:
            return code
    if not (preprocessed / "nnUNetPlans_3d_fullres").is_dir():
        code = _run(["nnUNetv2_plan_and_preprocess", "-d", *number], variables)
        if code:
            return code
    add_configuration(schedule, preprocessed / "nnUNetPlans.json")
    arguments = schedule.crossval_arguments(MODELS.values(), processes)
    code = _run(["nnunet-attention", *arguments], variables)
    if code:
        return code
    schedule = schedule.of_controls()
    variables = environment(schedule, {**os.environ, **folders(work, controls=True)})
    arguments = schedule.crossval_arguments(CONTROLS.values(), processes)
    return _run(["nnunet-attention", *arguments], variables)


def folders(work: Path, controls: bool = False) -> dict[str, str]:
    """nnU-Net's three; the controls' results have a folder of their own."""
    return {
        "nnUNet_raw": str(work / "nnUNet_raw"),
        "nnUNet_preprocessed": str(work / "nnUNet_preprocessed"),
        "nnUNet_results": str(work / ("nnUNet_results_control" if controls else "nnUNet_results")),
    }


def add_configuration(schedule: Schedule, plans: Path) -> None:
    """A smaller batch is nnU-Net's configuration with another batch size, as its manual has it."""
    content = read_json(plans)
    if schedule.batch_size is None or schedule.configuration in content["configurations"]:
        return
    content["configurations"][schedule.configuration] = {
        "inherits_from": "3d_fullres",
        "batch_size": schedule.batch_size,
    }

    # In the plans' own order.
    write_text(plans, json.dumps(content, indent=4))


def _run(command: list[str], variables: dict[str, str]) -> int:
    print(shlex.join(command), flush=True)
    return subprocess.run([BIN / command[0], *command[1:]], env=variables, check=False).returncode
