"""Runs nnU-Net's own commands one after the other, and continues after the last finished one."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from nnunet_attention import doorway
from nnunet_attention.demo.folder import DemoFolder, remove
from nnunet_attention.demo.phantom import TASK_NAME, write_phantom_task
from nnunet_attention.demo.results import Results, collect_results, write_results
from nnunet_attention.demo.settings import DEFAULT_CASES, MODELS, DemoSettings, Model
from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.process import last_epoch, run_command, termination_as_interrupt
from nnunet_attention.msd.task_folder import Division, MsdTask, divide, lay_out, read_msd_task
from nnunet_attention.pace import Pace, TimeLeft, duration

# Keeps up with a CPU: augmenting a batch takes a tenth of a training step.
_AUGMENTATION_PROCESSES = "2"
# nnU-Net's three folders, in version 2 and in version 1.
_FOLDER_VARIABLES = (
    "nnUNet_raw",
    "nnUNet_preprocessed",
    "nnUNet_results",
    "nnUNet_raw_data_base",
    "RESULTS_FOLDER",
)


@dataclass(frozen=True)
class Step:
    """One command of nnU-Net.

    Attributes:
        name: unique in the demo; names the log.
        title: for the progress line.
        command: the command and its arguments, made when the step's turn has come.
        makes: what an interrupted attempt may have left half done; removed before another one.
        epochs: of a training, for the progress line.
    """

    name: str
    title: str
    command: Callable[[], list[str]]
    makes: tuple[Path, ...] = ()
    epochs: int | None = None


def run_demo(
    settings: DemoSettings, root: Path, overwrite: bool = False, console: Console | None = None
) -> Results:
    """Makes or copies the data, trains and tests both networks, writes table and picture.

    Args:
        settings: what to do.
        root: the demo's folder; nothing outside it is written.
        overwrite: start afresh where the folder holds a demo.
        console: gets the progress lines; default: stderr.

    Raises:
        CommandError: if the input is not fit, or a command of nnU-Net fails.
    """
    console = console or Console(stderr=True)
    source, division = _plan_data(settings, root)
    with termination_as_interrupt():
        folder = DemoFolder.open(root, settings, overwrite)
        progress = Progress(console, folder)
        if "data" not in folder.finished:
            with progress.step("data", "make the data set" if source is None else "copy the cases"):
                remove(folder.phantom)
                remove(folder.task)
                task = source or _make_phantom(folder, settings)
                lay_out(task, division, folder.task)
            folder.finish("data")
        # The layout is an MSD task folder itself: from here on it is all that counts.
        name = TASK_NAME if source is None else source.folder_name
        task = read_msd_task(folder.task / name)
        steps = nnunet_steps(folder, task, settings)
        run_steps(steps, folder, subprocess_environment(folder, settings), progress)
        with progress.step("results", "write the table and the picture"):
            results = collect_results(folder, task, settings)
            write_results(folder, task, results)
    return results


def run_steps(
    steps: list[Step], folder: DemoFolder, environment: Mapping[str, str], progress: "Progress"
) -> None:
    """Runs the steps that are not done yet.

    Raises:
        CommandError: if a command fails; the steps before it stay done.
    """
    for step in steps:
        if step.name in folder.finished:
            continue
        for path in step.makes:
            remove(path)
        log = folder.log(step.name)
        with progress.step(step.name, step.title) as update:
            left = TimeLeft()

            def report(step=step, log=log, update=update, left=left):
                epoch = last_epoch(log) if step.epochs else None
                if epoch is None:
                    update("")
                    return
                seconds = left(epoch, step.epochs)
                text = "" if seconds is None else f", about {duration(seconds)} left"
                update(f", epoch {epoch + 1} of {step.epochs}{text}")

            run_command(step.command(), environment, log, report)
        folder.finish(step.name)


def nnunet_steps(folder: DemoFolder, task: MsdTask, settings: DemoSettings) -> list[Step]:
    """The commands from the task folder to both networks' summaries, in order."""
    number, data_set = str(task.number), task.dataset_name
    processes = settings.processes
    memory = settings.planned_memory_gb
    steps = [
        Step(
            "convert",
            "convert the data set",
            lambda: ["nnUNetv2_convert_MSD_dataset", "-i", str(task.folder), "-np", processes],
            makes=(folder.raw / data_set,),
        ),
        Step(
            "plan",
            "plan and preprocess",
            lambda: [
                *("nnUNetv2_plan_and_preprocess", "-d", number, "-c", settings.configuration),
                *("-npfp", processes, "-np", processes, "--verify_dataset_integrity"),
                *(() if memory is None else ("-gpu_memory_target", str(memory))),
            ],
            makes=(folder.preprocessed / data_set,),
        ),
    ]
    for model in MODELS:
        steps += [_training(folder, task, settings, model, fold) for fold in settings.folds]
    for model in MODELS:
        steps += _testing(folder, task, settings, model)
    return steps


def _training(
    folder: DemoFolder, task: MsdTask, settings: DemoSettings, model: Model, fold: str
) -> Step:
    output = (
        folder.nnunet_results
        / task.dataset_name
        / f"{model.trainer}__nnUNetPlans__{settings.configuration}"
        / f"fold_{fold}"
    )

    def command() -> list[str]:
        _require_configuration(folder, task, settings.configuration)
        return [
            *("nnUNetv2_train", str(task.number), settings.configuration, fold),
            *("-tr", model.trainer, "-device", settings.device),
            *(["--c"] if any(output.glob("checkpoint_*.pth")) else []),
        ]

    return Step(
        f"train {model.trainer} fold {fold}",
        f"train the {model.name}, fold {fold}",
        command,
        epochs=settings.epochs,
    )


def _testing(folder: DemoFolder, task: MsdTask, settings: DemoSettings, model: Model) -> list[Step]:
    predictions = folder.predictions(model.trainer)
    return [
        Step(
            f"predict {model.trainer}",
            f"predict with the {model.name}",
            lambda: [
                *("nnUNetv2_predict", "-i", str(folder.raw / task.dataset_name / "imagesTs")),
                *("-o", str(predictions), "-d", str(task.number), "-tr", model.trainer),
                *("-c", settings.configuration, "-f", *settings.folds),
                # Each process more starts torch anew, which takes longer than a small case.
                *("-npp", "1", "-nps", "1", "-device", settings.device),
                "--disable_progress_bar",
            ],
            makes=(predictions,),
        ),
        Step(
            f"evaluate {model.trainer}",
            f"evaluate the {model.name}",
            lambda: [
                *("nnUNetv2_evaluate_folder", str(task.folder / "labelsTs"), str(predictions)),
                *("-djfile", str(folder.raw / task.dataset_name / "dataset.json")),
                *("-pfile", str(folder.plans(task.dataset_name)), "-np", settings.processes),
            ],
        ),
    ]


def subprocess_environment(folder: DemoFolder, settings: DemoSettings) -> dict[str, str]:
    """This process's environment with the demo's folders, and only those, as nnU-Net's."""
    # The trainers import torch; whoever only mistyped a path has not waited for it.
    from nnunet_attention.trainers.short import SCHEDULE_VARIABLE

    environment = {k: v for k, v in os.environ.items() if k not in _FOLDER_VARIABLES}
    return environment | {
        "nnUNet_raw": str(folder.raw),
        "nnUNet_preprocessed": str(folder.preprocessed),
        "nnUNet_results": str(folder.nnunet_results),
        # Ours alone: a broken module in a user's folder would stop the trainer search.
        doorway.SEARCH_PATH_VARIABLE: doorway.directory(),
        "nnUNet_n_proc_DA": _AUGMENTATION_PROCESSES,
        "nnUNet_def_n_proc": settings.processes,
        "nnUNet_wandb_enabled": "0",
        SCHEDULE_VARIABLE: settings.schedule,
        "MPLBACKEND": "Agg",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
    }


def _plan_data(settings: DemoSettings, root: Path) -> tuple[MsdTask | None, Division]:
    """The user's task, or None for the phantom, and its division; nothing is written."""
    if settings.data is None:
        cases = settings.cases or DEFAULT_CASES
        names = tuple(f"phantom_{number:03d}" for number in range(1, cases + 1))
        return None, divide(names, cases, settings.folds, settings.seed)
    source = read_msd_task(Path(settings.data))
    if root.resolve().is_relative_to(source.folder.resolve()):
        raise CommandError(
            f"the demo folder {root} lies in the data folder {source.folder}, which is only read; "
            "choose another one with -o"
        )
    return source, divide(source.cases, settings.cases, settings.folds, settings.seed)


def _make_phantom(folder: DemoFolder, settings: DemoSettings) -> MsdTask:
    write_phantom_task(folder.phantom, settings.cases or DEFAULT_CASES, settings.seed)
    return read_msd_task(folder.phantom / TASK_NAME)


def _require_configuration(folder: DemoFolder, task: MsdTask, configuration: str) -> None:
    planned = folder.read_plans(task.dataset_name)["configurations"]
    if configuration not in planned:
        raise CommandError(
            f"-c {configuration}: nnU-Net planned only {', '.join(sorted(planned))} for "
            f"{task.dataset_name}; choose one of these and another folder with -o"
        )


class Progress:
    """Shows which step runs and how long it takes, and adds its time to the folder's state.

    Where there is no terminal a step that takes long says so now and then.
    """

    def __init__(self, console: Console, folder: DemoFolder):
        self._console = console
        self._folder = folder

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[Callable[[str], None]]:
        start = time.monotonic()
        pace = Pace()
        with self._console.status(title) as status:

            def update(detail: str) -> None:
                text = f"{title}{detail} ({time.monotonic() - start:.0f} s)"
                status.update(text)
                if not self._console.is_terminal and pace.is_due():
                    self._console.print(f"           {text}", highlight=False)

            try:
                yield update
            except BaseException:
                self._folder.add_seconds(name, time.monotonic() - start)
                raise
        seconds = time.monotonic() - start
        self._folder.add_seconds(name, seconds)
        self._console.print(f"{seconds:7.1f} s  {title}", highlight=False)
