"""`nnunet-attention experiment`: the experiments of the paper, each ending in a table as there."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.cli.crossval import (
    add_execution_arguments,
    check_execution_arguments,
    execute,
    plan_of,
)
from nnunet_attention.cli.leaderboard import known_parameters
from nnunet_attention.cli.numbers import not_negative
from nnunet_attention.cli.shared_arguments import (
    FOLDS_OF_SPLITS,
    add_configurations,
    add_datasets,
    add_folds,
    add_seed,
    add_trainers,
    add_undefined,
    refuse_ignored,
)

if TYPE_CHECKING:
    from nnunet_attention.crossval import CrossvalPlan, Folders
    from nnunet_attention.experiments.stages import Experiment

HELP = (
    "the paper's experiments on your data: capacity (plain, wide and attention U-Net), "
    "training-size (trained on four fifths and on one fifth of the cases) and transfer (from one "
    "data set to another), each with a table as in the paper; started again, it goes on"
)
# Here and not with the experiments: building the parser must not import what they need.
NAMES = ("capacity", "training-size", "transfer")
_FILE_WIDTH = 160


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which experiment, on what, and where; nnU-Net's letters mean what they mean there."""
    parser.add_argument("experiment", choices=NAMES, help=f"one of {', '.join(NAMES)}")
    add_datasets(
        parser, "data sets, by number or name; for transfer two: from the first to the second"
    )
    add_configurations(parser, "configuration", nargs=1)
    add_trainers(
        parser,
        "the first is the baseline of all tests (default: nnUNetTrainer AttentionUNetTrainer, "
        "and for capacity WideUNetTrainer between them); TRAINER__PLANS names the plans too",
    )
    add_folds(
        parser,
        f"folds (default: {FOLDS_OF_SPLITS}); for training-size the one whose parts are also "
        "swapped (default: 0)",
    )
    add_execution_arguments(
        parser,
        "folder for logs, manifests and table.json, .md and .tex (default: "
        "experiments/EXPERIMENT_DATASETS in nnUNet_results)",
    )
    parser.add_argument(
        "--derived-id", type=not_negative, metavar="ID",
        help="training-size: number of the data set that gets the two splits and links to the "
        "original's data (default: the first free one from 900 on)",
    )  # fmt: skip
    add_undefined(parser)
    add_seed(parser, "all bootstraps")


def run(arguments: argparse.Namespace) -> int:
    """Makes what is missing, then the table."""
    from rich.console import Console

    from nnunet_attention.cli.progress import progress_bar
    from nnunet_attention.crossval import Folders, check_names
    from nnunet_attention.experiments.paper_table import print_paper_table, write_paper_table
    from nnunet_attention.experiments.stages import DEFAULT_TRAINERS, collect, paper_table

    check_execution_arguments(arguments)
    if arguments.experiment != "training-size":
        refuse_ignored(
            {"--derived-id": arguments.derived_id},
            f"by {arguments.experiment}: it is of training-size; leave it out",
        )
    arguments.trainers = arguments.trainers or list(DEFAULT_TRAINERS[arguments.experiment])
    if arguments.folds is None and arguments.experiment == "training-size":
        arguments.folds = ["0"]
    arguments.npz, arguments.pretrained_weights = False, None
    folders = Folders.from_environment()
    plan = plan_of(arguments)
    check_names(plan, folders)
    root = (arguments.output or _default_output(arguments.experiment, plan, folders)).absolute()
    experiment = _experiment(arguments, plan, folders, root)
    if arguments.dry_run:
        print_run_list(experiment, folders, root)
        return 0
    code = run_stages(arguments, experiment, folders, root)
    if code:
        return code
    with progress_bar("measuring surfaces") as on_progress:
        frame, costs = collect(
            experiment, folders, arguments.processes, known_parameters, on_progress
        )
    table = paper_table(experiment, frame, costs, arguments.undefined, arguments.seed)
    paths = write_paper_table(table, root)
    console = Console()
    # A file has room for the table's columns.
    print_paper_table(table, console if console.is_terminal else Console(width=_FILE_WIDTH))
    for path in paths:
        print(f"wrote {path}")
    return 0


def run_stages(
    arguments: argparse.Namespace, experiment: Experiment, folders: Folders, root: Path
) -> int:
    """Does all stages that are not done; stops at the first that fails."""
    from nnunet_attention.crossval import missing_steps
    from nnunet_attention.experiments.stages import Own
    from nnunet_attention.files import require_writable
    from nnunet_attention.jobs.lock import Lock
    from nnunet_attention.jobs.output import file_name_of
    from nnunet_attention.jobs.process import termination_as_interrupt

    require_writable(root)
    with Lock(root / ".lock", str(root)).held():
        for number, stage in enumerate(experiment.stages, 1):
            print(f"stage {number} of {len(experiment.stages)}: {stage.name}", file=sys.stderr)
            name = file_name_of(stage.name)
            if isinstance(stage, Own):
                if not stage.is_done():
                    with termination_as_interrupt():
                        stage.do(root / "logs" / f"{name}.log")
                continue
            if not missing_steps(stage.plan, folders):
                continue
            code = execute(arguments, stage.plan, folders, root / "stages" / name)
            if code:
                return code
    return 0


def print_run_list(experiment: Experiment, folders: Folders, root: Path) -> None:
    """Every stage that is not done, with its commands as far as they are known."""
    from nnunet_attention.experiments.stages import run_list

    for name, commands in run_list(experiment, folders):
        print(name)
        for command in commands:
            print(f"     {command}")
    print(f"table\n     {root / 'table.md'}, .tex and .json")


def _experiment(
    arguments: argparse.Namespace, plan: CrossvalPlan, folders: Folders, root: Path
) -> Experiment:
    from nnunet_attention.experiments import stages as experiments

    if arguments.experiment == experiments.CAPACITY:
        return experiments.capacity(plan)
    if arguments.experiment == experiments.TRAINING_SIZE:
        return experiments.training_size(plan, folders, arguments.derived_id)
    return experiments.transfer(plan, folders, root)


def _default_output(name: str, plan: CrossvalPlan, folders: Folders) -> Path:
    from nnunet_attention.nnunet.dataset_names import number_of_dataset

    numbers = "_".join(map(number_of_dataset, plan.datasets))
    return folders.results / "experiments" / f"{name}_{numbers}"
