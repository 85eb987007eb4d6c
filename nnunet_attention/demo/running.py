"""Runs the demo from data to table and picture, with the engine that real studies use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.demo.division import divide, names_of_folds
from nnunet_attention.demo.environment import demo_environment
from nnunet_attention.demo.folder import DemoFolder
from nnunet_attention.demo.phantom import TASK_NAME, phantom_cases, write_phantom_task
from nnunet_attention.demo.settings import DEFAULT_CASES, MODELS, PLANS, DemoSettings
from nnunet_attention.errors import CommandError
from nnunet_attention.files import NNUNET_LAYOUT, remove, write_json
from nnunet_attention.jobs.process import run_command, termination_as_interrupt
from nnunet_attention.msd import MsdTask, convert, copy_cases, read_msd_task
from nnunet_attention.nnunet.plans import whole_plans

if TYPE_CHECKING:
    from nnunet_attention.crossval import CrossvalPlan
    from nnunet_attention.demo.results import Results
    from nnunet_attention.jobs.launch import View

# Shows that the step with the given title is in progress.
ShowStep = Callable[[str], AbstractContextManager[object]]


def run(
    settings: DemoSettings,
    output: Path,
    *,
    overwrite: bool = False,
    show_step: ShowStep = lambda title: nullcontext(),
    new_view: Callable[[], AbstractContextManager[View]] | None = None,
) -> Results:
    """Train and test the plain and the attention U-Net, and write a table and a picture.

    The data are converted like those of the Decathlon, and cross-validated with `crossval.run`; the
    cases that a fold holds out are its validation cases. A repeated call resumes the demo.

    Args:
        settings: The demo's settings.
        output: The demo's folder; nothing outside it is written.
        overwrite: Whether to start afresh if the folder holds a demo.
        show_step: Shows each step before and after the cross-validation.
        new_view: Creates the view of the cross-validation, such as a
            `nnunet_attention.jobs.view.Status`; by default nothing is shown.

    Returns:
        The results, as written to the folder.

    Raises:
        CommandError: If the input is unsuitable, or a command of nnU-Net fails.
        KeyboardInterrupt: After Ctrl-C or SIGTERM; what is finished is kept.

    Examples:
        >>> from nnunet_attention import demo
        >>> results = demo.run(demo.DemoSettings(cases=10), Path("demo"))  # doctest: +SKIP
        >>> results.comparison  # doctest: +SKIP
        PosixPath('/home/me/demo/comparison.png')
    """
    source, splits = _plan_data(settings, output)
    with termination_as_interrupt():
        folder = DemoFolder.open(output, settings, overwrite)
        if not folder.task.is_dir():
            with show_step("make the data set" if source is None else "copy the cases"):
                _lay_task(folder, source, splits, settings)
        # The copy is a task folder itself; from here on only the copy is used.
        name = TASK_NAME if source is None else source.folder_name
        task = read_msd_task(folder.task / name)
        with demo_environment(folder.nnunet, settings):
            _prepare(folder, task, splits, settings, show_step)
            _cross_validate(folder, task, settings, new_view)
            with show_step("write the table and the picture"):
                from nnunet_attention.demo.results import collect_results, write_results

                results = collect_results(folder, task, splits, settings)
                write_results(folder, results)
    return results


def crossval_plan(task: MsdTask, settings: DemoSettings) -> CrossvalPlan:
    """Return the plan of the trainings: both networks on the chosen folds."""
    from nnunet_attention.crossval import CrossvalPlan

    return CrossvalPlan(
        datasets=(task.dataset_name,),
        configurations=(settings.configuration,),
        models=tuple((model.trainer, PLANS) for model in MODELS),
        folds=names_of_folds(settings.folds),
        device=settings.device,
        processes=settings.processes,
    )


def _plan_data(settings: DemoSettings, output: Path) -> tuple[MsdTask | None, list[dict]]:
    """Return the user's task, or None for the phantom, and its splits; nothing is written."""
    if settings.data is None:
        cases = settings.cases or DEFAULT_CASES
        return None, divide(phantom_cases(cases), cases, settings.folds, settings.seed)
    source = read_msd_task(Path(settings.data))
    if output.resolve().is_relative_to(source.folder.resolve()):
        raise CommandError(
            f"the demo folder {output} lies in the data folder {source.folder}, which is only "
            "read; choose another one with -o"
        )
    return source, divide(source.cases, settings.cases, settings.folds, settings.seed)


def _lay_task(
    folder: DemoFolder, source: MsdTask | None, splits: list[dict], settings: DemoSettings
) -> None:
    """Put a task folder with the chosen cases into the demo's folder, whole or not at all."""
    beside = folder.unfinished_task
    remove(beside)
    cases = sorted({case for part in splits[0].values() for case in part})
    if source is None:
        write_phantom_task(beside, len(cases), settings.seed)
    else:
        copy_cases(source, cases, beside)
    beside.rename(folder.task)


def _prepare(
    folder: DemoFolder,
    task: MsdTask,
    splits: list[dict],
    settings: DemoSettings,
    show_step: ShowStep,
) -> None:
    """Make nnU-Net's data set and splits, as far as the cross-validation would not do so."""
    from nnunet_attention.jobs.local import command_environment
    from nnunet_attention.msd.conversion import is_converted

    nnunet, environment = folder.nnunet, command_environment()
    if not is_converted(nnunet.raw, task.dataset_name):
        nnunet.raw.mkdir(exist_ok=True)
        with show_step("convert the data set"):
            log = folder.logs / "convert.log"
            convert(task.folder, nnunet.raw, environment, log, settings.processes)
    nnunet.dataset(task.dataset_name).mkdir(parents=True, exist_ok=True)
    if not nnunet.splits(task.dataset_name).is_file():
        write_json(nnunet.splits(task.dataset_name), splits, **NNUNET_LAYOUT)
    plans = nnunet.plans(task.dataset_name, PLANS)
    if settings.planned_memory_gb is not None and whole_plans(plans) is None:
        with show_step("plan small patches"):
            for command in planning_commands(task, settings):
                run_command(command, environment, folder.logs / "plan.log")


def planning_commands(task: MsdTask, settings: DemoSettings) -> list[list[str]]:
    """Return nnU-Net's commands that plan for a memory size other than its default."""
    number, processes = str(task.number), str(settings.processes)
    return [
        [
            *("nnUNetv2_extract_fingerprint", "-d", number, "-np", processes),
            *("--verify_dataset_integrity", "--clean"),
        ],
        [
            *("nnUNetv2_plan_experiment", "-d", number),
            *("-gpu_memory_target", str(settings.planned_memory_gb)),
        ],
    ]


def _cross_validate(
    folder: DemoFolder,
    task: MsdTask,
    settings: DemoSettings,
    new_view: Callable[[], AbstractContextManager[View]] | None,
) -> None:
    from nnunet_attention.crossval import missing_steps
    from nnunet_attention.crossval import run as cross_validate

    plan = crossval_plan(task, settings)
    if not missing_steps(plan, folder.nnunet):
        return
    with nullcontext() if new_view is None else new_view() as view:
        outcome = cross_validate(plan, folders=folder.nnunet, output=folder.root, view=view)
    if not outcome.ok:
        message = next(iter(outcome.failed.values()))
        raise CommandError(
            f"{message.splitlines()[0]}. The full output is in {folder.logs}; finished work is "
            "kept, so run the demo again to continue"
        )
