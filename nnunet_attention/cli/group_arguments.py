"""Adds `--groups` and `--group-by`, and reads them."""

from collections.abc import Callable, Collection
from pathlib import Path

from nnunet_attention.cli.shared_arguments import Parser
from nnunet_attention.errors import CommandError


def add_groups(parser: Parser) -> None:
    """Add the two ways to say which cases belong together; see `groups_reader`."""
    parser.add_argument(
        "--groups", type=Path, metavar="FILE.csv",
        help="cases that belong together, such as the images of one patient: a CSV file with the "
        "columns case and group",
    )  # fmt: skip
    parser.add_argument(
        "--group-by", metavar="REGEX",
        help=r"the same by the names of cases: the first group of a regular expression, such as "
        r"'(patient\d+)'",
    )  # fmt: skip


def groups_reader(
    file: Path | None, pattern: str | None, others: bool = False
) -> Callable[[Collection[str]], dict[str, str]] | None:
    """Return what finds the group of each of some cases; None where neither option was given.

    Args:
        file: of `--groups`.
        pattern: of `--group-by`.
        others: whether the file may name further cases, for cases that are a part of a data set.

    Raises:
        CommandError: if both are given.
    """
    from nnunet_attention.evaluation.statistics.groups import groups_by_pattern, read_groups

    if file is not None and pattern is not None:
        raise CommandError("--groups and --group-by both say which cases belong together; give one")
    if file is not None:
        return lambda cases: read_groups(file, cases, others)
    if pattern is not None:
        return lambda cases: groups_by_pattern(pattern, cases)
    return None
