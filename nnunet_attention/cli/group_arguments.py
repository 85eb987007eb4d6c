"""Adds `--groups` and `--group-by`, and reads them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.cli.shared_arguments import Parser
from nnunet_attention.errors import CommandError

if TYPE_CHECKING:
    from nnunet_attention.evaluation.statistics.groups import GroupsReader


def add_groups(parser: Parser) -> None:
    """Add the two ways to say which cases belong together; see `groups_reader`."""
    parser.add_argument(
        "--groups", type=Path, metavar="FILE.csv",
        help="cases that belong together, such as the images of one patient: a CSV file with the "
        "columns case and group, and also dataset if data sets share case names",
    )  # fmt: skip
    parser.add_argument(
        "--group-by", metavar="REGEX",
        help=r"the same, from case names: the first group of a regular expression, such as "
        r"'(patient\d+)'",
    )  # fmt: skip


def groups_reader(file: Path | None, pattern: str | None) -> GroupsReader | None:
    """Return a reader of the groups of data sets' cases; None if neither option was given.

    The file may name further cases, as one of all patients does that has those of a test set too.

    Args:
        file: the value of `--groups`.
        pattern: the value of `--group-by`.

    Raises:
        CommandError: if both are given.
    """
    from nnunet_attention.evaluation.statistics.groups import (
        groups_by_pattern_and_dataset,
        read_groups_by_dataset,
    )

    _refuse_both(file, pattern)
    if file is not None:
        return partial(read_groups_by_dataset, file, others=True)
    return None if pattern is None else partial(groups_by_pattern_and_dataset, pattern)


def reader_of_cases(
    file: Path | None, pattern: str | None, others: bool = False
) -> Callable[[Collection[str]], dict[str, str]] | None:
    """Return a reader of the groups of cases whose data set does not matter.

    Args:
        file: the value of `--groups`.
        pattern: the value of `--group-by`.
        others: whether the file may name further cases, for cases that are a part of a data set.

    Raises:
        CommandError: if both are given.
    """
    from nnunet_attention.evaluation.statistics.groups import groups_by_pattern, read_groups

    _refuse_both(file, pattern)
    if file is not None:
        return partial(read_groups, file, others=others)
    return None if pattern is None else partial(groups_by_pattern, pattern)


def _refuse_both(file: Path | None, pattern: str | None) -> None:
    if file is not None and pattern is not None:
        raise CommandError("--groups and --group-by both say which cases belong together; give one")
