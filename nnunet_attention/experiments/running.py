"""Runs an experiment of the paper: all stages that are not done, and then the table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.crossval import (
    CrossvalPlan,
    Folders,
    FoldState,
    Outcome,
    SlurmSettings,
    all_runs,
    check_names,
    command_text,
    missing_steps,
)
from nnunet_attention.crossval import run as cross_validate
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation import DEFAULT_POLICY
from nnunet_attention.experiments.capacity import capacity
from nnunet_attention.experiments.collecting import collect, paper_table
from nnunet_attention.experiments.finetune import finetune
from nnunet_attention.experiments.paper_table import PaperTable, write_paper_table
from nnunet_attention.experiments.stages import (
    CAPACITY,
    EXPERIMENTS,
    FINETUNE,
    TRAINING_SIZE,
    TRANSFER,
    Action,
    Experiment,
    Trainings,
)
from nnunet_attention.experiments.training_size import training_size
from nnunet_attention.experiments.transfer import transfer
from nnunet_attention.files import require_writable
from nnunet_attention.jobs.lock import Lock
from nnunet_attention.jobs.output import file_name_of
from nnunet_attention.jobs.process import termination_as_interrupt
from nnunet_attention.nnunet.dataset_names import number_of_dataset

if TYPE_CHECKING:
    from nnunet_attention.evaluation.leaderboard.collect import CountParameters
    from nnunet_attention.jobs.launch import View

# Called with the number of a stage, how many there are, and the stage's name.
OnStage = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Result:
    """The result of an experiment.

    Attributes:
        table: The table.
        files: Files that the table was written to.
    """

    table: PaperTable
    files: tuple[Path, ...]


class StageFailedError(CommandError):
    """The error of a stage whose cross-validation did not succeed.

    Attributes:
        outcome: What has become of its steps.
        output: Folder of its logs.
    """

    def __init__(self, stage: str, outcome: Outcome, output: Path):
        reasons = "; ".join(message.splitlines()[0] for message in outcome.failed.values())
        left = f" (not run as a result: {', '.join(outcome.left)})" if outcome.left else ""
        super().__init__(
            f"stage {stage}: {reasons}. {len(outcome.failed)} step(s) failed{left}, "
            f"{len(outcome.done)} done; the logs are in {output / 'logs'}. Finished work is kept, "
            "so run the experiment again to continue"
        )
        self.outcome = outcome
        self.output = output


def run(
    name: str,
    plan: CrossvalPlan,
    *,
    folders: Folders | None = None,
    output: Path | None = None,
    derived_number: int | None = None,
    policy: str = DEFAULT_POLICY,
    seed: int = 0,
    at_once: int = 1,
    slurm: SlurmSettings | None = None,
    count_parameters: CountParameters | None = None,
    new_view: Callable[[], AbstractContextManager[View]] | None = None,
    on_stage: OnStage = lambda number, stages, name: None,
    new_progress: Callable[[], AbstractContextManager[Callable[[int, int], None]]] | None = None,
) -> Result:
    """Run an experiment of the paper, and write its table.

    Stages that are done, by whatever command, are not done again: called after a failure, it
    resumes. A stage that fails ends the experiment, after its other folds have finished.

    Args:
        name: One of `EXPERIMENTS`: capacity, training-size, transfer or finetune.
        plan: Data sets, one configuration, models, the baseline first, folds, repeats, and how
            they are run. Training size takes one fold, transfer two data sets. Groups are those
            of the data sets that are divided into folds: of transfer's second one.
        folders: nnU-Net's folders; by default those that its variables name.
        output: Folder for logs, manifests and table.json, .md and .tex; by default the one of
            `default_output`.
        derived_number: Number of the data set that training size makes; by default the first free
            one from 900 on.
        policy: Policy for undefined values, one of `evaluation.POLICIES`.
        seed: Seed of all bootstraps.
        at_once: How many folds run side by side where the device is not a GPU.
        slurm: How to submit trainings as jobs of SLURM; by default all runs on this machine.
        count_parameters: Counts the parameters of a trainer's network for the table, see
            `evaluation.leaderboard.collect`; without it they are not known.
        new_view: Makes what shows a cross-validation, such as a `nnunet_attention.jobs.view.Status`
            for each; by default nothing is shown.
        on_stage: Function that is told which stage begins.
        new_progress: Makes what shows how many cases are measured, and of how many; by default
            nothing is shown.

    Returns:
        The table and its files.

    Raises:
        CommandError: If the experiment cannot be run with this plan, or something is missing.
        StageFailedError: If trainings fail.
        KeyboardInterrupt: After Ctrl-C or SIGTERM; what is finished is kept.

    Examples:
        >>> from nnunet_attention import experiments
        >>> from nnunet_attention.crossval import CrossvalPlan
        >>> plan = CrossvalPlan(
        ...     datasets=("Dataset004_Hippocampus",),
        ...     configurations=("3d_fullres",),
        ...     models=(("nnUNetTrainer", "nnUNetPlans"), ("AttentionUNetTrainer", "nnUNetPlans")),
        ... )
        >>> result = experiments.run("capacity", plan)  # doctest: +SKIP
        >>> result.table.methods("Dataset004_Hippocampus")  # doctest: +SKIP
        ['U-Net', 'Attention U-Net']
    """
    folders = folders or Folders.from_environment()
    check_names(plan, folders)
    root = (output or default_output(name, plan, folders)).absolute()
    experiment = lay_out(name, plan, folders, root, derived_number)
    require_writable(root)
    with Lock(root / ".lock", str(root)).held():
        for number, stage in enumerate(experiment.stages, 1):
            on_stage(number, len(experiment.stages), stage.name)
            if isinstance(stage, Action):
                if not stage.is_done():
                    with termination_as_interrupt():
                        stage.do(root / "logs" / f"{file_name_of(stage.name)}.log")
            elif missing_steps(stage.plan, stage.folders(folders)):
                place = root / "stages" / file_name_of(stage.name)
                with nullcontext() if new_view is None else new_view() as view:
                    outcome = cross_validate(
                        stage.plan,
                        folders=stage.folders(folders),
                        output=place,
                        at_once=at_once,
                        slurm=slurm,
                        view=view,
                    )
                if not outcome.ok:
                    raise StageFailedError(stage.name, outcome, place)
    with nullcontext() if new_progress is None else new_progress() as on_progress:
        frame, costs = collect(experiment, folders, plan.processes, count_parameters, on_progress)
    table = paper_table(experiment, frame, costs, policy, seed)
    return Result(table, tuple(write_paper_table(table, root)))


def lay_out(
    name: str,
    plan: CrossvalPlan,
    folders: Folders,
    root: Path,
    derived_number: int | None = None,
) -> Experiment:
    """Lay out an experiment: its stages, and what stands in its table.

    Args:
        name: One of `EXPERIMENTS`.
        plan: As for `run`.
        folders: nnU-Net's folders.
        root: The experiment's folder.
        derived_number: As for `run`; only for training size and fine-tuning.

    Returns:
        The experiment.

    Raises:
        CommandError: If there is no such experiment, or it cannot be run with this plan.
    """
    if derived_number is not None and name not in (TRAINING_SIZE, FINETUNE):
        raise CommandError(
            f"--derived-id would be ignored by {name}: it is for training-size and finetune; leave "
            "it out"
        )
    if name == CAPACITY:
        return capacity(plan)
    if name == TRAINING_SIZE:
        return training_size(plan, folders, derived_number)
    if name == TRANSFER:
        return transfer(plan, folders, root)
    if name == FINETUNE:
        return finetune(plan, folders, root, derived_number)
    raise CommandError(f"{name} is not an experiment; choose from {', '.join(EXPERIMENTS)}")


def run_list(experiment: Experiment, folders: Folders) -> list[tuple[str, list[str]]]:
    """List what is missing of an experiment.

    Args:
        experiment: The experiment.
        folders: nnU-Net's folders.

    Returns:
        The name of each stage that is not done, with its commands as far as they are known now.
    """
    missing = []
    for stage in experiment.stages:
        if isinstance(stage, Trainings):
            commands = _commands(stage, folders)
        else:
            commands = [] if _is_done_now(stage) else [stage.description]
        if commands:
            missing.append((stage.name, commands))
    return missing


def default_output(name: str, plan: CrossvalPlan, folders: Folders) -> Path:
    """Return the experiment's folder: beside the results, named by experiment and data sets."""
    numbers = "_".join(map(number_of_dataset, plan.datasets))
    return folders.results / "experiments" / f"{name}_{numbers}"


def _commands(stage: Trainings, folders: Folders) -> list[str]:
    place = stage.folders(folders)
    try:
        return [
            command_text(step.command, step.folders, folders)
            if step.command
            else f"make {step.name}"
            for step in missing_steps(stage.plan, place)
        ]
    except CommandError:
        # What an earlier stage makes is not there yet.
        return [
            command_text(run.command(FoldState.ABSENT), place.of_repeat(run.repeat), folders)
            for run in all_runs(stage.plan, place)
        ]


def _is_done_now(stage: Action) -> bool:
    try:
        return stage.is_done()
    except CommandError:
        return False
