"""`nnunet-attention demo`: the whole way of nnU-Net with both networks, small enough for a CPU."""

import argparse
from pathlib import Path

from nnunet_attention.cli.numbers import positive
from nnunet_attention.cli.shared_arguments import add_device, add_seed
from nnunet_attention.demo.settings import (
    CONFIGURATIONS,
    DEFAULT_CASES,
    DEFAULT_EPOCHS,
    DEFAULT_ITERATIONS,
    DEFAULT_ITERATIONS_ON_DATA,
    FOLDS,
    DemoSettings,
)
from nnunet_attention.errors import CommandError

HELP = (
    "train and compare the plain and the attention U-Net on a made-up CT data set or on an MSD "
    "task, from raw data to a table and a picture"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data, the length of the training and the folder."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="an MSD task folder such as Task04_Hippocampus; it is only read; with --device cpu "
        "nnU-Net is asked to plan small patches (default: a made-up data set)",
    )
    parser.add_argument(
        "--cases",
        type=positive,
        metavar="N",
        help="cases to use; a fifth of them, 1 to 10, is held out for testing "
        f"(default: {DEFAULT_CASES}, or all where there are fewer)",
    )
    parser.add_argument(
        "--folds",
        "-f",
        nargs="+",
        default=["0"],
        metavar="FOLD",
        help="folds of nnU-Net's five-fold split, 0 to 4, or all (default: 0)",
    )
    parser.add_argument(
        "-c", "--configuration", choices=CONFIGURATIONS, default="3d_fullres", metavar="CONFIG",
        help="2d, 3d_lowres or 3d_fullres (default: 3d_fullres)",
    )  # fmt: skip
    add_device(parser, "--device", default="cpu")
    parser.add_argument(
        "--epochs", type=positive, default=DEFAULT_EPOCHS, metavar="N",
        help=f"of each training (default: {DEFAULT_EPOCHS})",
    )  # fmt: skip
    parser.add_argument(
        "--iterations", type=positive, metavar="N",
        help=f"training steps an epoch (default: {DEFAULT_ITERATIONS}, "
        f"and {DEFAULT_ITERATIONS_ON_DATA} with --data)",
    )  # fmt: skip
    add_seed(
        parser,
        "the made-up data and of the choice of cases; training itself is not seeded by nnU-Net",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("demo"),
        metavar="DIR",
        help="the demo's own folder, with nnU-Net's three folders in it; run again, it continues "
        "there (default: ./demo)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="start afresh in an existing demo folder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the demo; prints the table and where everything is."""
    from rich.console import Console

    from nnunet_attention.demo.pipeline import run_demo
    from nnunet_attention.demo.table import caption, rich_table

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
    results = run_demo(settings, arguments.output, arguments.overwrite)
    console = Console()
    console.print(rich_table(results))
    console.print(caption(results), markup=False, highlight=False)
    print(f"picture: {results.comparison}")
    return 0


def _folds(names: list[str]) -> tuple[str, ...]:
    """Sorted, each once.

    Raises:
        CommandError: if one is no fold, or "all" is not alone.
    """
    unknown = [name for name in names if name not in FOLDS]
    if unknown:
        raise CommandError(f"--folds {' '.join(unknown)}: choose from 0 1 2 3 4, or all")
    if "all" in names and len(set(names)) > 1:
        raise CommandError(
            f"--folds {' '.join(names)}: all is a training of its own, give it alone"
        )
    return tuple(sorted(set(names)))
