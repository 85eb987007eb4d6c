"""Converts task folders of the Decathlon into data sets of nnU-Net."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import link, remove
from nnunet_attention.jobs.process import run_command
from nnunet_attention.msd.archives import one_at_a_time
from nnunet_attention.msd.task_folder import MsdTask, read_msd_task
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.dataset_names import full_dataset_name
from nnunet_attention.nnunet.folders import Folders


def convert(
    task_folder: Path,
    raw: Path,
    environment: Mapping[str, str],
    log: Path,
    processes: int = 2,
) -> str:
    """Convert a task folder with nnUNetv2_convert_MSD_dataset, if that is not done yet.

    The data set is made in a temporary folder and renamed: `nnUNet_raw` has all of it or nothing.

    Args:
        task_folder: A task folder of the Decathlon; it is only read.
        raw: The folder nnUNet_raw.
        environment: The environment of the command.
        log: File for the command's output.
        processes: How many processes work at a time.

    Returns:
        The data set's name.

    Raises:
        CommandError: If the task folder is not complete, its number is taken by another data set,
            or the command fails.

    Examples:
        >>> convert(
        ...     Path("msd/Task04_Hippocampus"),
        ...     Path(os.environ["nnUNet_raw"]),
        ...     os.environ,
        ...     Path("conversion.log"),
        ... )  # doctest: +SKIP
        'Dataset004_Hippocampus'
    """
    task = read_msd_task(task_folder)
    name = task.dataset_name
    with one_at_a_time(raw / name):
        if not is_converted(raw, name):
            _require_free_number(task, raw, environment)
            _convert(task, raw, environment, log, processes)
    return name


def is_converted(raw: Path, dataset: str) -> bool:
    """Tell whether nnUNet_raw has a data set, which `convert` puts there as a whole."""
    return (raw / dataset / DATASET_JSON).is_file()


def conversion_command(task_folder: Path, processes: int | None = None) -> list[str]:
    """Return nnU-Net's command that converts a task folder.

    Args:
        task_folder: The task folder.
        processes: How many processes work at a time; None leaves it to nnU-Net.
    """
    command = ["nnUNetv2_convert_MSD_dataset", "-i", str(task_folder)]
    return command if processes is None else [*command, "-np", str(processes)]


def _convert(
    task: MsdTask, raw: Path, environment: Mapping[str, str], log: Path, processes: int
) -> None:
    target = raw / task.dataset_name
    beside = raw / f".{task.dataset_name}.part"
    remove(beside)
    try:
        with _with_test_folder(task, beside / "task") as source:
            (beside / "raw").mkdir(parents=True)
            # The command refuses a number that any folder knows, and would write beside it.
            folders = Folders(beside / "raw", beside / "preprocessed", beside / "results")
            variables = {**environment, **folders.variables}
            run_command(conversion_command(source, processes), variables, log)
        os.replace(beside / "raw" / target.name, target)
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error}") from error
    finally:
        remove(beside)


@contextmanager
def _with_test_folder(task: MsdTask, folder: Path) -> Iterator[Path]:
    """Yield the task's own folder or, if it lacks the imagesTs that nnU-Net needs, one of links."""
    if (task.folder / "imagesTs").is_dir() and task.folder.name == task.folder_name:
        yield task.folder
        return
    linked = folder / task.folder_name
    (linked / "imagesTs").mkdir(parents=True)
    for name in ("imagesTr", "labelsTr", DATASET_JSON):
        link(linked / name, task.folder / name, to_folder=name != DATASET_JSON)
    yield linked


def _require_free_number(task: MsdTask, raw: Path, environment: Mapping[str, str]) -> None:
    start = full_dataset_name(task.number, "")
    variables = ("nnUNet_preprocessed", "nnUNet_results")
    others = [Path(environment[name]) for name in variables if environment.get(name)]
    for place in (raw, *others):
        present = place.glob(f"{start}*") if place.is_dir() else ()
        taken = [path for path in present if path.name != task.dataset_name or place == raw]
        if taken:
            raise CommandError(
                f"data set number {task.number} is taken by {taken[0]}, so {task.dataset_name} "
                "would clash with it in nnU-Net; move it away, or set other nnU-Net folders"
            )
