"""Adds and reads the arguments that several commands share, with nnU-Net's option letters.

The functions take a parser or a group of a parser.
"""

import argparse
import math
import os
from collections.abc import Iterable, Mapping

from nnunet_attention.cli.numbers import not_negative, positive
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.statistics.definitions import DEFAULT_POLICY, POLICIES
from nnunet_attention.nnunet.model_folders import ALL, split_title
from nnunet_attention.nnunet.planners import STOCK_PLANS

Parser = argparse.ArgumentParser | argparse._ArgumentGroup

DEVICES = ("cuda", "cpu", "mps")
# nnU-Net's own default for prediction.
ALL_FOLDS = ["0", "1", "2", "3", "4"]
FOLDS_OF_SPLITS = "those of splits_final.json, or 0 1 2 3 4 if there is none"


def refuse_ignored(options: Mapping[str, object], why: str) -> None:
    """Stop if options were given that would change nothing.

    Args:
        options: values by name; None, False and [] stand for options that were not given.
        why: the reason that they would change nothing, and the remedy.

    Raises:
        CommandError: naming all of them.
    """
    given = [
        name
        for name, value in options.items()
        if value is not None and value is not False and value != []
    ]
    if given:
        raise CommandError(f"{', '.join(given)} would be ignored {why}")


def add_datasets(
    parser: argparse.ArgumentParser, meaning: str = "data sets, by number or name"
) -> None:
    """Add `-d`, one or more."""
    parser.add_argument("-d", nargs="+", required=True, metavar="ID", dest="datasets", help=meaning)


def add_configurations(
    parser: argparse.ArgumentParser, meaning: str, nargs: str | int = "+"
) -> None:
    """Add `-c`, by default 3d_fullres."""
    parser.add_argument(
        "-c", nargs=nargs, default=["3d_fullres"], metavar="CONFIG", dest="configurations",
        help=f"{meaning} (default: 3d_fullres)",
    )  # fmt: skip


def add_trainers(parser: argparse.ArgumentParser, meaning: str, **options) -> None:
    """Add `-tr` with argparse's options, and `-p`; see `trained_models`."""
    parser.add_argument(
        "-tr", nargs="+", metavar="TRAINER", dest="trainers", help=meaning, **options
    )
    parser.add_argument(
        "-p", nargs="+", metavar="PLANS", dest="plans",
        help=f"plans of each trainer that does not name its own (default: {STOCK_PLANS})",
    )  # fmt: skip


def trained_models(trainers: list[str], plans: list[str] | None) -> tuple[tuple[str, str], ...]:
    """Return each model's trainer and plans: TRAINER__PLANS, else every trainer with all plans.

    Raises:
        CommandError: if plans are given, and no trainer would be trained with them.
    """
    titles = [split_title(trainer) for trainer in trainers]
    if all(own is not None for _, own in titles):
        refuse_ignored(
            {"-p": plans},
            "as every trainer names its own plans, or no trainer is given; leave it out",
        )
    shared = plans or [STOCK_PLANS]
    return tuple(
        (trainer, name) for trainer, own in titles for name in (shared if own is None else [own])
    )


def add_folds(
    parser: Parser,
    meaning: str = f"folds (default: {FOLDS_OF_SPLITS})",
    default: list[str] | None = None,
) -> None:
    """Add `-f` (see `check_folds`); the default None means all folds of a data set's splits."""
    parser.add_argument(
        "-f", nargs="+", default=default, metavar="FOLD", dest="folds", help=meaning
    )


def check_folds(folds: tuple[str, ...] | None) -> None:
    """Refuse anything but numbers, or "all" by itself; None is the default."""
    if folds is None or folds == (ALL,):
        return
    unknown = [fold for fold in folds if not fold.isdecimal()]
    if unknown:
        raise CommandError(f"-f {' '.join(unknown)}: give fold numbers, or all by itself")


def add_npz(parser: argparse.ArgumentParser) -> None:
    """Add `--npz`, for trainings."""
    parser.add_argument(
        "--npz", action="store_true", help="keep the validation probabilities, for ensembles"
    )


def add_device(parser: Parser, *other_names: str, default: str = DEVICES[0]) -> None:
    """Add `-device`, by default a GPU."""
    parser.add_argument(
        *other_names,
        "-device",
        choices=DEVICES,
        default=default,
        help=f"where to compute (default: {default})",
    )


def add_undefined(parser: argparse.ArgumentParser) -> None:
    """Add `--undefined`, a policy of `nnunet_attention.evaluation.POLICIES`."""
    parser.add_argument(
        "--undefined", choices=tuple(POLICIES), default=DEFAULT_POLICY, metavar="POLICY",
        help="how cases count if reference, prediction or both lack a label: "
        f"{', '.join(POLICIES)} (default: {DEFAULT_POLICY}, as nnU-Net's own means)",
    )  # fmt: skip


def add_seed(parser: Parser, of_what: str) -> None:
    """Add `--seed`, by default 0."""
    parser.add_argument(
        "--seed", type=not_negative, default=0, metavar="N", help=f"seed of {of_what} (default: 0)"
    )


def add_processes(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add `-np`, for the work that this command itself does; see `default_processes`."""
    parser.add_argument(
        "-np", type=positive, metavar="N", dest="processes",
        help=f"{meaning} (default: nnUNet_def_n_proc, or 8)",
    )  # fmt: skip


def default_processes() -> int:
    """Return how many processes nnU-Net itself would use."""
    text = os.environ.get("nnUNet_def_n_proc", "8")  # noqa: SIM112 - nnU-Net spells it so
    return int(text) if text.isdecimal() and int(text) else 8


def add_tolerances(parser: Parser, condition: str = "") -> None:
    """Add `--tolerance`, for normalised surface Dice; see `parse_tolerances`."""
    parser.add_argument(
        "--tolerance", nargs="+", action="extend", default=[], metavar="MM", dest="tolerances",
        help=f"{condition}tolerance of normalised surface Dice in mm: a number for all labels, "
        "LABEL=MM for one (default: 2)",
    )  # fmt: skip


def parse_tolerances(texts: Iterable[str], default_mm: float) -> tuple[float, dict[str, float]]:
    """Read the tolerance of all labels from `MM`, and those of single labels from `LABEL=MM`."""
    by_label = {}
    for text in texts:
        label, separator, number = text.rpartition("=")
        try:
            tolerance = float(number)
        except ValueError:
            tolerance = math.nan
        if not 0 <= tolerance < math.inf or (separator and not label):
            raise CommandError(f"--tolerance {text}: give MM or LABEL=MM, in mm and not negative")
        if separator:
            by_label[label] = tolerance
        else:
            default_mm = tolerance
    return default_mm, by_label
