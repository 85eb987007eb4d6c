"""Prepares a folder of data for nnU-Net's trainings: converts, plans and preprocesses it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunet_attention.files import read_json, write_text
from nnunet_attention.jobs.process import run_command
from nnunet_attention.msd import convert
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.dataset_names import number_of_dataset

BIN = Path(sys.executable).parent


def bring_data(
    data: Path, raw: Path, variables: Mapping[str, str], log: Path, processes: int
) -> str:
    """Convert data to a data set of nnU-Net, if it is not one yet.

    Args:
        data: a task folder of the Decathlon, which is converted, or a data set in nnU-Net's raw
            format, which is copied.
        raw: nnUNet_raw.
        variables: the environment of nnU-Net's command.
        log: receives the command's output.
        processes: number of processes of the conversion.

    Returns:
        The data set's name.

    Raises:
        CommandError: if the data cannot be converted.
    """
    if "file_ending" not in read_json(data / DATASET_JSON):
        return convert(data, raw, variables, log, processes)
    # dataset.json is copied last: it marks the copy as complete.
    ignored = shutil.ignore_patterns(DATASET_JSON)
    shutil.copytree(data, raw / data.name, dirs_exist_ok=True, ignore=ignored)
    shutil.copy(data / DATASET_JSON, raw / data.name)
    return data.name


def plan_and_preprocess(
    dataset: str,
    configuration: str,
    variables: Mapping[str, str],
    log: Path,
    processes: int,
    options: Sequence[str] = (),
) -> None:
    """Plan a data set with nnU-Net's own planner, and preprocess it for one configuration.

    Args:
        dataset: full name.
        configuration: such as 3d_fullres.
        variables: the environment of nnU-Net's command; see `planning_environment`.
        log: receives the command's output.
        processes: number of processes of fingerprint extraction and preprocessing.
        options: further options of nnUNetv2_plan_and_preprocess.

    Raises:
        CommandError: if the command fails.
    """
    number = str(int(number_of_dataset(dataset)))
    command = ["nnUNetv2_plan_and_preprocess", "-d", number, "-c", configuration]
    command += ["-np", str(processes), "-npfp", str(processes), *options]
    run_command(command, variables, log)


def add_configuration(plans: Path, name: str, planned: str, **changes: object) -> None:
    """Add a configuration that inherits from a planned one, as nnU-Net's manual has it.

    Args:
        plans: the plans file; if it already has the configuration, it stays as it is.
        name: name of the new configuration.
        planned: the configuration that it inherits from.
        **changes: what differs, such as `batch_size`.
    """
    content = read_json(plans)
    if name in content["configurations"]:
        return
    content["configurations"][name] = {"inherits_from": planned, **changes}
    # Keeps the plans' own order.
    write_text(plans, json.dumps(content, indent=4))


def add_half_configuration(plans: Path, name: str, planned: str, batch_size: int) -> None:
    """Add a configuration whose network has half the channels of the planned one.

    Args:
        plans: the plans file; if it already has the configuration, it stays as it is.
        name: name of the new configuration.
        planned: the configuration that it inherits from.
        batch_size: its batch size.
    """
    architecture = read_json(plans)["configurations"][planned]["architecture"]
    arguments = architecture["arch_kwargs"]
    halved = [number // 2 for number in arguments["features_per_stage"]]
    add_configuration(
        plans,
        name,
        planned,
        batch_size=batch_size,
        architecture={
            **architecture,
            "arch_kwargs": {**arguments, "features_per_stage": halved},
        },
    )


def run_shown(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Print a command, run it with its output shown, and return its exit code."""
    print(shlex.join(command), flush=True)
    return subprocess.run([BIN / command[0], *command[1:]], env=variables, check=False).returncode
