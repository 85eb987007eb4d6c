"""Takes tasks of the Decathlon from download to cross-validation, as far as that is not done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.files import require_writable
from nnunet_attention.msd.archives import BASE_URL, fetch, find_local, locate
from nnunet_attention.msd.conversion import conversion_command, convert, is_converted
from nnunet_attention.msd.download import OnProgress
from nnunet_attention.msd.task_folder import is_task_folder
from nnunet_attention.msd.tasks import Task

if TYPE_CHECKING:
    from nnunet_attention.crossval import CrossvalPlan, Folders, Outcome, SlurmSettings
    from nnunet_attention.jobs.launch import View

# Shows a download: given a task, it gives a function that is told how far the download is.
ShowDownload = Callable[[Task], AbstractContextManager[OnProgress]]
# Shows that a task is being converted.
ShowConversion = Callable[[Task], AbstractContextManager[object]]


@dataclass(frozen=True)
class TaskSource:
    """Where task folders come from.

    Attributes:
        data: Folder that gets what is downloaded or unpacked.
        local: Folder that has the tasks' folders or archives, so that nothing is downloaded; None
            where they are to be downloaded.
        base_url: Address that has the archives.
        keep_archive: Whether to keep a downloaded archive once it is unpacked.
    """

    data: Path = field(default_factory=lambda: Path("msd"))
    local: Path | None = None
    base_url: str = BASE_URL
    keep_archive: bool = False


def run(
    tasks: Sequence[Task],
    plan: CrossvalPlan,
    *,
    source: TaskSource | None = None,
    folders: Folders | None = None,
    output: Path | None = None,
    at_once: int = 1,
    slurm: SlurmSettings | None = None,
    view: View | None = None,
) -> Outcome:
    """Fetch and convert tasks, and cross-validate models on them, as far as that is not done.

    Args:
        tasks: The tasks, see `find_task`.
        plan: What to train; its data sets become those of the tasks.
        source: Where the task folders come from; by default they are downloaded to ./msd.
        folders: nnU-Net's folders; by default those that its variables name.
        output: Folder for logs and manifest, as for `crossval.run`.
        at_once: How many folds run side by side where the device is not a GPU.
        slurm: How to submit everything as jobs of SLURM; by default all runs on this machine.
        view: Shows what happens; by default nothing is shown.

    Returns:
        What has become of the cross-validation.

    Raises:
        CommandError: If a trainer is unknown, a task cannot be had or converted, or the
            cross-validation cannot be begun.

    Examples:
        >>> from nnunet_attention import msd
        >>> from nnunet_attention.crossval import CrossvalPlan
        >>> models = (("nnUNetTrainer", "nnUNetPlans"), ("AttentionUNetTrainer", "nnUNetPlans"))
        >>> plan = CrossvalPlan(datasets=(), configurations=("3d_fullres",), models=models)
        >>> msd.run([msd.find_task("4")], plan).ok  # doctest: +SKIP
        True
    """
    from nnunet_attention.crossval import Folders
    from nnunet_attention.crossval import run as cross_validate
    from nnunet_attention.nnunet.lookups import check_trainers

    folders = folders or Folders.from_environment()
    # Before a download, which may take hours.
    check_trainers(trainer for trainer, _ in plan.models)
    datasets = [prepare(task, folders, source, processes=plan.processes) for task in tasks]
    return cross_validate(
        replace(plan, datasets=tuple(datasets)),
        folders=folders,
        output=output,
        at_once=at_once,
        slurm=slurm,
        view=view,
    )


def prepare(
    task: Task,
    folders: Folders,
    source: TaskSource | None = None,
    *,
    processes: int = 2,
    show_download: ShowDownload = lambda task: nullcontext(lambda done, total: None),
    show_conversion: ShowConversion = lambda task: nullcontext(),
) -> str:
    """Make a task a data set of nnU-Net, if it is not one yet.

    Args:
        task: The task, see `find_task`.
        folders: nnU-Net's folders.
        source: Where the task folder comes from; by default it is downloaded to ./msd.
        processes: How many processes convert at a time.
        show_download: Shows how far a download is.
        show_conversion: Shows that the task is being converted.

    Returns:
        The data set's name.

    Raises:
        CommandError: If the task cannot be had or converted.
    """
    from nnunet_attention.jobs.local import command_environment

    if is_converted(folders.raw, task.dataset_name):
        return task.dataset_name
    source = source or TaskSource()
    require_writable(folders.raw)
    if source.local is not None:
        folder = find_local(task, source.local, source.data)
    else:
        require_writable(source.data, "--data")
        with show_download(task) as on_progress:
            folder = fetch(task, source.data, source.base_url, source.keep_archive, on_progress)
    log = source.data.absolute() / "logs" / f"convert_{task.name}.log"
    with show_conversion(task):
        return convert(folder, folders.raw, command_environment(), log, processes)


def missing_preparation(task: Task, folders: Folders, source: TaskSource) -> list[str]:
    """List what `prepare` would do, in words and commands; nothing where the data set is there.

    Args:
        task: The task.
        folders: nnU-Net's folders.
        source: Where the task folder comes from.

    Returns:
        A line for each step.

    Raises:
        CommandError: If a local copy is not there.
    """
    if is_converted(folders.raw, task.dataset_name):
        return []
    steps = []
    folder = source.data / task.name
    if source.local is not None:
        copy = locate(task, source.local)
        if copy.is_dir():
            folder = copy
        else:
            steps.append(f"unpack {copy} to {folder}")
    elif not is_task_folder(folder):
        steps.append(f"download {source.base_url}/{task.archive_name} to {folder}")
    return [*steps, " ".join(conversion_command(folder))]
