"""Runs `nnunet-attention demo`: nnU-Net's whole pipeline with both networks, fit for a CPU."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.cli.numbers import positive
from nnunet_attention.cli.shared_arguments import add_device, add_seed
from nnunet_attention.demo.settings import (
    ALL,
    CONFIGURATIONS,
    DEFAULT_CASES,
    DEFAULT_EPOCHS,
    DEFAULT_ITERATIONS,
    DEFAULT_ITERATIONS_ON_DATA,
    FOLDS,
    DemoSettings,
)
from nnunet_attention.errors import CommandError

if TYPE_CHECKING:
    from rich.console import Console

HELP = (
    "train and compare the plain and the attention U-Net on a made-up CT data set or on an MSD "
    "task, from raw data to a table and a picture"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add arguments for the data, the length of the training and the folder."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="an MSD task folder such as Task04_Hippocampus, which is only read; with --device cpu "
        "nnU-Net is asked to plan small patches (default: a made-up data set)",
    )
    parser.add_argument(
        "--cases",
        type=positive,
        metavar="N",
        help="cases to use; each fold holds out a fifth of them, 1 to 10, for testing (default: "
        f"{DEFAULT_CASES}, or all if there are fewer)",
    )
    parser.add_argument(
        "--folds",
        "-f",
        nargs="+",
        default=["0"],
        metavar="FOLD",
        help="folds, 0 to 4, each testing different cases and training on the rest; or all by "
        "itself: one training that tests a fifth of the cases and needs at least 2 (default: 0)",
    )
    parser.add_argument(
        "-c", "--configuration", choices=CONFIGURATIONS, default="3d_fullres", metavar="CONFIG",
        help="2d, 3d_lowres or 3d_fullres (default: 3d_fullres)",
    )  # fmt: skip
    add_device(parser, "--device", default="cpu")
    parser.add_argument(
        "--epochs", type=positive, default=DEFAULT_EPOCHS, metavar="N",
        help=f"epochs of each training (default: {DEFAULT_EPOCHS})",
    )  # fmt: skip
    parser.add_argument(
        "--iterations", type=positive, metavar="N",
        help=f"training steps per epoch (default: {DEFAULT_ITERATIONS}, "
        f"and {DEFAULT_ITERATIONS_ON_DATA} with --data)",
    )  # fmt: skip
    add_seed(
        parser,
        "the made-up data and the choice of cases; nnU-Net does not seed the training itself",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo"),
        metavar="DIR",
        help="the demo's own folder, which holds nnU-Net's three folders; run again to continue "
        "there (default: ./demo)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="start afresh in an existing demo folder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo, and print the table and where everything is."""
    from rich.console import Console

    from nnunet_attention.demo import run as run_demo
    from nnunet_attention.evaluation.leaderboard.terminal import print_leaderboard
    from nnunet_attention.jobs.view import Status

    settings = DemoSettings(
        data=None if arguments.data is None else str(arguments.data.absolute()),
        cases=arguments.cases,
        folds=_folds(arguments.folds),
        configuration=arguments.configuration,
        device=arguments.device,
        epochs=arguments.epochs,
        iterations=arguments.iterations
        or (DEFAULT_ITERATIONS if arguments.data is None else DEFAULT_ITERATIONS_ON_DATA),
        seed=arguments.seed,
    )
    progress = Console(stderr=True)
    try:
        results = run_demo(
            settings,
            arguments.output,
            overwrite=arguments.overwrite,
            show_step=lambda title: _shown(progress, title),
            new_view=lambda: Status(progress),
        )
    except KeyboardInterrupt:
        print(
            "stopped; finished work is kept; run the same command again to continue",
            file=sys.stderr,
        )
        return 130
    console = Console()
    print_leaderboard(results.board, console)
    console.print(results.caption, markup=False, highlight=False)
    print(f"picture: {results.comparison}")
    print(f"leaderboard: {results.page}")
    return 0


@contextmanager
def _shown(console: Console, title: str) -> Iterator[None]:
    """Show a step while it runs, and how long it took, as the cross-validation does."""
    from nnunet_attention.pace import duration

    def say(text: str, style: str | None = None) -> None:
        line = f"{time.strftime('%H:%M:%S')} {text}"
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    start = time.monotonic()
    if not console.is_terminal:  # In a terminal the status below says it.
        say(f"start {title}")
    with console.status(title):
        yield
    say(f"done  {title} in {duration(time.monotonic() - start)}", "green")


def _folds(names: list[str]) -> tuple[str, ...]:
    """Return the folds sorted, each once.

    Raises:
        CommandError: if a name is not a fold, or "all" is not alone.
    """
    unknown = [name for name in names if name not in FOLDS]
    if unknown:
        raise CommandError(f"--folds {' '.join(unknown)}: choose from 0 1 2 3 4, or all")
    if ALL in names and len(set(names)) > 1:
        raise CommandError(
            f"--folds {' '.join(names)}: {ALL} is a training of its own; give it by itself"
        )
    return tuple(sorted(set(names)))
