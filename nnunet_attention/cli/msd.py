"""`nnunet-attention msd`: the Medical Segmentation Decathlon, from download to leaderboard."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.cli.crossval import (
    add_execution_arguments,
    check_execution_arguments,
    execute,
    make_leaderboard,
    plan_of,
    print_missing,
)
from nnunet_attention.cli.progress import download_bar
from nnunet_attention.cli.shared_arguments import (
    add_configurations,
    add_folds,
    add_npz,
    add_trainers,
    refuse_ignored,
    trained_models,
)

if TYPE_CHECKING:
    from rich.status import Status

    from nnunet_attention.crossval import Folders
    from nnunet_attention.msd import Task, TaskSource

HELP = (
    "the Medical Segmentation Decathlon: download its tasks (fetch), or also convert, "
    "cross-validate and compare with published results (run)"
)
_TASKS_HELP = "tasks by number or name, such as 4 or Task04_Hippocampus"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions `fetch` and `run`, with their arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "download, check and unpack tasks; run it again to continue where it stopped"
    fetch = actions.add_parser("fetch", help=text, description=text)
    fetch.add_argument("tasks", nargs="+", metavar="TASK", help=_TASKS_HELP)
    fetch.add_argument(
        "-o", type=Path, default=Path("msd"), metavar="DIR", dest="data",
        help="folder in which each task gets a folder (default: ./msd)",
    )  # fmt: skip
    _add_download_arguments(fetch)
    text = (
        "fetch and convert tasks, cross-validate, and compare; run it again to continue where it "
        "stopped"
    )
    run_parser = actions.add_parser("run", help=text, description=text)
    run_parser.add_argument("--tasks", nargs="+", required=True, metavar="TASK", help=_TASKS_HELP)
    run_parser.add_argument(
        "--from", type=Path, metavar="DIR", dest="local",
        help="folder with the tasks' folders or archives; nothing is downloaded",
    )  # fmt: skip
    run_parser.add_argument(
        "--data", type=Path, default=Path("msd"), metavar="DIR",
        help="folder for what is downloaded or unpacked (default: ./msd)",
    )  # fmt: skip
    _add_download_arguments(run_parser)
    add_configurations(run_parser, "configurations")
    add_trainers(
        run_parser,
        "trainers, or TRAINER__PLANS (default: nnUNetTrainer AttentionUNetTrainer)",
        default=["nnUNetTrainer", "AttentionUNetTrainer"],
    )
    add_folds(run_parser)
    add_npz(run_parser)
    add_execution_arguments(run_parser)


def _add_download_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep-archive", action="store_true", help="keep archives after unpacking them"
    )
    parser.add_argument(
        "--url", metavar="URL",
        help="another server with the same archives (default: the public bucket that MONAI uses)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says, and return the exit code."""
    from nnunet_attention.msd import find_task

    tasks = list(dict.fromkeys(find_task(text) for text in arguments.tasks))
    return _fetch(arguments, tasks) if arguments.action == "fetch" else _run(arguments, tasks)


def _fetch(arguments: argparse.Namespace, tasks: list[Task]) -> int:
    from nnunet_attention.files import require_writable
    from nnunet_attention.msd import fetch

    source = _source(arguments)
    require_writable(source.data, "-o")
    for task in tasks:
        with download_bar(task.archive_name) as on_progress:
            print(fetch(task, source.data, source.base_url, source.keep_archive, on_progress))
    return 0


def _run(arguments: argparse.Namespace, tasks: list[Task]) -> int:
    from nnunet_attention.crossval import Folders, check_names, default_output
    from nnunet_attention.nnunet.lookups import check_trainers

    check_execution_arguments(arguments)
    if arguments.local is not None:
        refuse_ignored(
            {"--url": arguments.url, "--keep-archive": arguments.keep_archive},
            "with --from, as nothing is downloaded and the archives there are always kept; leave "
            "them out",
        )
    arguments.pretrained_weights = None
    folders = Folders.from_environment()
    # Before a download, which may take hours.
    check_trainers(trainer for trainer, _ in trained_models(arguments.trainers, arguments.plans))
    if arguments.dry_run:
        return _print_missing(arguments, tasks, folders)
    arguments.datasets = [_prepare(arguments, task, folders) for task in tasks]
    plan = plan_of(arguments)
    check_names(plan, folders)
    root = arguments.output or default_output(plan, folders)
    code = execute(arguments, plan, folders, root)
    if code == 0:
        make_leaderboard(plan, folders, root)
        _show_published(plan.configurations, root / "leaderboard")
    return code


def _source(arguments: argparse.Namespace) -> TaskSource:
    """Return where the tasks come from."""
    from nnunet_attention.msd import BASE_URL, TaskSource

    return TaskSource(
        data=arguments.data,
        local=getattr(arguments, "local", None),  # `fetch` only downloads.
        base_url=arguments.url or BASE_URL,
        keep_archive=arguments.keep_archive,
    )


def _prepare(arguments: argparse.Namespace, task: Task, folders: Folders) -> str:
    """Convert a task to a data set of nnU-Net, and show the progress."""
    from nnunet_attention.msd import prepare

    return prepare(
        task,
        folders,
        _source(arguments),
        processes=arguments.processes,
        show_download=lambda task: download_bar(task.archive_name),
        show_conversion=_show_conversion,
    )


def _show_conversion(task: Task) -> Status:
    from rich.console import Console

    return Console(stderr=True).status(f"converting {task.name}")


def _print_missing(arguments: argparse.Namespace, tasks: list[Task], folders: Folders) -> int:
    from nnunet_attention.crossval import check_names, default_output
    from nnunet_attention.msd import missing_preparation

    missing = {task: missing_preparation(task, folders, _source(arguments)) for task in tasks}
    for line in (line for lines in missing.values() for line in lines):
        print(line)
    present = [task.dataset_name for task, lines in missing.items() if not lines]
    absent = [task.dataset_name for task, lines in missing.items() if lines]
    if present:
        arguments.datasets = present
        plan = plan_of(arguments)
        check_names(plan, folders)
        print_missing(plan, folders, arguments.output or default_output(plan, folders))
    if absent:
        print(f"cross-validation of {', '.join(absent)}: listed once they are converted")
    return 0


def _show_published(configurations: tuple[str, ...], folder: Path) -> None:
    from rich.console import Console

    from nnunet_attention.evaluation.leaderboard.grid.terminal import print_grid
    from nnunet_attention.files import read_json
    from nnunet_attention.msd.published import (
        EXPLAINED,
        claims_table,
        published_table,
        write_published,
    )

    record = read_json(folder / "leaderboard.json")
    console = Console()
    console.print(published_table(record, configurations))
    console.print(EXPLAINED, style="dim", markup=False, highlight=False)
    claims = claims_table(record, configurations)
    if claims.rows:
        print_grid(claims, console)
    for path in write_published(record, configurations, folder):
        print(f"wrote {path}")
