"""Runs `nnunet-attention experiment`: the paper's experiments, each ending in its table."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.cli.crossval import (
    add_execution_arguments,
    add_groups_of_splits,
    add_repeats,
    check_execution_arguments,
    grouped,
    plan_of,
    slurm_settings,
)
from nnunet_attention.cli.leaderboard import known_parameters
from nnunet_attention.cli.numbers import not_negative
from nnunet_attention.cli.shared_arguments import (
    FOLDS_OF_SPLITS,
    add_configurations,
    add_datasets,
    add_folds,
    add_trainers,
    add_undefined,
)

if TYPE_CHECKING:
    from nnunet_attention.crossval import CrossvalPlan, Folders

HELP = (
    "the paper's experiments on your data: capacity (plain, wide and attention U-Net), "
    "training-size (trained on four fifths and on one fifth of the cases), transfer (from one data "
    "set to another); and finetune (few cases, from a network pretrained on merged labels). Each "
    "ends in a table as in the paper; run it again to continue where it stopped"
)
# Here and not with the experiments: building the parser must not import what they need.
NAMES = ("capacity", "training-size", "transfer", "finetune")
_FILE_WIDTH = 160


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add arguments for the experiment, its data and its folder, with nnU-Net's option letters."""
    parser.add_argument("experiment", choices=NAMES, help=f"one of {', '.join(NAMES)}")
    add_datasets(
        parser, "data sets, by number or name; for transfer two: from the first to the second"
    )
    add_configurations(parser, "configuration", nargs=1)
    add_trainers(
        parser,
        "the first is the baseline of all tests (default: nnUNetTrainer AttentionUNetTrainer; for "
        "capacity WideUNetTrainer between them; for finetune nnUNetTrainer and the trainers that "
        "fine-tune); TRAINER__PLANS names the plans too",
    )
    add_folds(
        parser,
        f"folds (default: {FOLDS_OF_SPLITS}); for training-size the one fold whose training and "
        "validation cases are also swapped (default: 0)",
    )
    add_execution_arguments(
        parser,
        "folder for logs, manifests and table.json, .md and .tex (default: "
        "experiments/EXPERIMENT_NUMBERS in nnUNet_results)",
    )
    parser.add_argument(
        "--derived-id", type=not_negative, metavar="ID",
        help="training-size: number for the data set that gets the two splits and links to the "
        "original's data; finetune: number for the first of its two data sets (default: the first "
        "free number from 900 on)",
    )  # fmt: skip
    add_groups_of_splits(parser)
    add_repeats(parser)
    parser.add_argument(
        "--seed", type=not_negative, metavar="N",
        help="seed of all bootstraps (default: 0), and of this package's trainers in the first "
        "repeat; each later repeat adds 1 (default: NNUNET_ATTENTION_SEED, or no seed if it is "
        "unset)",
    )  # fmt: skip
    add_undefined(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the missing steps, print the table, and return the exit code."""
    from nnunet_attention.crossval import Folders
    from nnunet_attention.experiments import DEFAULT_TRAINERS

    check_execution_arguments(arguments)
    arguments.trainers = arguments.trainers or list(DEFAULT_TRAINERS[arguments.experiment])
    if arguments.folds is None and arguments.experiment == "training-size":
        arguments.folds = ["0"]
    arguments.npz, arguments.pretrained_weights = False, None
    folders = Folders.from_environment()
    plan = replace(plan_of(arguments), repeats=arguments.repeats, seed=arguments.seed)
    # The first data set of a transfer is trained on as a whole.
    divided = plan.datasets[1:] if arguments.experiment == "transfer" else plan.datasets
    plan = grouped(plan, arguments, folders, divided)
    if arguments.dry_run:
        return _print_run_list(arguments, plan, folders)
    try:
        return _run(arguments, plan, folders)
    except KeyboardInterrupt:
        jobs = "the jobs keep running; watch them again" if arguments.slurm else "continue"
        print(f"stopped; finished work is kept; {jobs} with the same command", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace, plan: CrossvalPlan, folders: Folders) -> int:
    from rich.console import Console

    from nnunet_attention.cli.progress import progress_bar
    from nnunet_attention.experiments import run as run_experiment
    from nnunet_attention.experiments.paper_table import print_paper_table
    from nnunet_attention.jobs.view import Status

    root = _root(arguments, plan, folders)
    result = run_experiment(
        arguments.experiment,
        plan,
        folders=folders,
        output=root,
        derived_number=arguments.derived_id,
        policy=arguments.undefined,
        seed=arguments.seed or 0,
        at_once=arguments.at_once or 1,
        slurm=slurm_settings(arguments) if arguments.slurm else None,
        count_parameters=known_parameters,
        new_view=Status,
        on_stage=_print_stage,
        new_progress=lambda: progress_bar("measuring surfaces"),
    )
    console = Console()
    # A file has room for the table's columns.
    print_paper_table(result.table, console if console.is_terminal else Console(width=_FILE_WIDTH))
    # All settings of one data set have the same cases.
    likely = result.table.board.likely_groups().values()
    for note in dict.fromkeys(found.note for found in likely):
        print(note, file=sys.stderr)
    for path in result.files:
        print(f"wrote {path}")
    return 0


def _print_stage(number: int, stages: int, name: str) -> None:
    print(f"stage {number} of {stages}: {name}", file=sys.stderr)


def _print_run_list(arguments: argparse.Namespace, plan: CrossvalPlan, folders: Folders) -> int:
    """Print every unfinished stage, with its commands as far as they are known."""
    from nnunet_attention.crossval import check_names, notes
    from nnunet_attention.experiments import lay_out, run_list
    from nnunet_attention.experiments.stages import Trainings

    check_names(plan, folders)
    root = _root(arguments, plan, folders)
    experiment = lay_out(arguments.experiment, plan, folders, root, arguments.derived_id)
    trained = [stage for stage in experiment.stages if isinstance(stage, Trainings)]
    found = [note for stage in trained for note in notes(stage.plan, stage.folders(folders))]
    for note in dict.fromkeys(found):
        print(f"note: {note}", file=sys.stderr)
    for name, commands in run_list(experiment, folders):
        print(name)
        for command in commands:
            print(f"     {command}")
    print(f"table\n     {root / 'table.md'}, .tex and .json")
    return 0


def _root(arguments: argparse.Namespace, plan: CrossvalPlan, folders: Folders) -> Path:
    """Return the experiment's folder."""
    from nnunet_attention.experiments import default_output

    chosen: Path | None = arguments.output
    return (chosen or default_output(arguments.experiment, plan, folders)).absolute()
