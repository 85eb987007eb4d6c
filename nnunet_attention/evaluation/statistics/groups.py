"""Handles groups of cases, such as the images of one patient: reading, averaging, drawing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special, stats

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.columns import read_columns
from nnunet_attention.evaluation.statistics.comparisons import (
    CONFIDENCE,
    INTERVAL_RESAMPLES,
    Summary,
    bootstrap_interval,
    summaries_of,
)
from nnunet_attention.evaluation.statistics.resampling import draw_counts
from nnunet_attention.nnunet.dataset_names import names_with_number

GROUP_COLUMNS = ("case", "group")
DATASET_COLUMN = "dataset"
CasesByDataset = Mapping[str, Collection[str]]
GroupsByDataset = Mapping[str, Mapping[str, str]]
GroupsReader = Callable[[CasesByDataset], GroupsByDataset]
"""Given the cases of each data set, returns the group of each by data set and case."""
# The end of a name after its stem: a token after a separator, or letters after a number.
_SEPARATED = r"[-_. ]+[A-Za-z0-9]+"
_NUMBERED = r"[-_. ]+[A-Za-z]+[0-9]+"
_ATTACHED = r"[A-Za-z]+[0-9]*"
# From common to rare; a stem ends in a number, which identifies patients rather than data sets.
_LIKELY_PATTERNS = (
    rf"^(.*[0-9]){_SEPARATED}$",
    rf"^(.*[0-9]){_NUMBERED}{_SEPARATED}$",
    rf"^(.*[0-9]){_ATTACHED}$",
)
_FEWEST_GROUPS = 3


@dataclass(frozen=True)
class LikelyGroups:
    """The groups that the names of cases suggest if the user gave none.

    Attributes:
        pattern: regular expression whose first group is the stem.
        cases: number of all cases.
        groups: number of stems among them.
        stem: an example.
        examples: two cases with that stem.
    """

    pattern: str
    cases: int
    groups: int
    stem: str
    examples: tuple[str, str]

    @property
    def note(self) -> str:
        """A note for the user."""
        return (
            f"names of cases look grouped: {self.cases} cases have {self.groups} stems (such as "
            f"{self.stem} of {self.examples[0]} and {self.examples[1]}), but are counted as "
            "independent; if a stem is a patient, give --groups FILE.csv or --group-by "
            f"'{self.pattern}'"
        )


def read_groups(path: Path, cases: Collection[str], others: bool = False) -> dict[str, str]:
    """Read the group of each case from a CSV file with the columns case and group.

    Args:
        path: the file; further columns are not read.
        cases: the cases that need a group.
        others: whether the file may name further cases, if the cases are part of a data set.

    Returns:
        Groups by case, in the order of `cases`.

    Raises:
        CommandError: if the file cannot be read or lacks a column; a name is empty; a case is named
            twice, has no group or is not among `cases`; or all cases are in one group.
    """
    option = f"--groups {path}"
    table = _read_table(option, path)
    known = _groups_in(option, table, "keep one row for each")
    _refuse_others(option, table, cases, others)
    return _looked_up(option, known, cases)


def read_groups_by_dataset(
    path: Path, cases: CasesByDataset, others: bool = False
) -> dict[str, dict[str, str]]:
    """Read the groups of several data sets from one CSV file.

    Without a column `dataset`, each row applies to all data sets that have the case. With it, a row
    applies to the data set that it names, in full or by number, so that data sets may have cases
    with the same names; rows of data sets that are not requested are ignored.

    Args:
        path: the file, with the columns case and group.
        cases: the cases that need a group, by the full name of their data set.
        others: see `read_groups`.

    Returns:
        Groups by data set and case, in the order of `cases`.

    Raises:
        CommandError: see `read_groups`.
    """
    option = f"--groups {path}"
    table = _read_table(option, path)
    if DATASET_COLUMN in table:
        found = {}
        for dataset, of_dataset in cases.items():
            rows = table[[_names(text, dataset) for text in table[DATASET_COLUMN]]]
            if rows.empty:
                others_named = ", ".join(dict.fromkeys(table[DATASET_COLUMN]))
                raise CommandError(
                    f"{option}: no row is for {dataset}, because its column {DATASET_COLUMN} has "
                    f"{others_named or 'no name'}; give full names or numbers there, or another "
                    "heading"
                )
            where = f"{option}, {dataset}"
            known = _groups_in(where, rows, "keep one row for each")
            _refuse_others(where, rows, of_dataset, others)
            found[dataset] = _looked_up(where, known, of_dataset)
        return found
    remedy = "keep one row for each"
    if len(cases) > 1:
        remedy += f", or name the data set of each row in a column {DATASET_COLUMN}"
    known = _groups_in(option, table, remedy)
    _refuse_others(option, table, {case for some in cases.values() for case in some}, others)
    return {
        dataset: _looked_up(f"{option}, {dataset}" if len(cases) > 1 else option, known, of_dataset)
        for dataset, of_dataset in cases.items()
    }


def groups_by_pattern(pattern: str, cases: Collection[str]) -> dict[str, str]:
    r"""Take the group of each case from its name.

    Args:
        pattern: regular expression found anywhere in the name; its first group names the group of
            the case, such as `(patient\d+)`.
        cases: names.

    Raises:
        CommandError: if it is not a regular expression or has no group, a case does not match it,
            or all cases are in one group.
    """
    option = f"--group-by {pattern!r}"
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise CommandError(f"{option} is not a regular expression: {error}") from error
    if expression.groups == 0:
        raise CommandError(
            f"{option} has no group; put the part that names the patient in brackets, such as "
            "(patient\\d+)"
        )
    found = {case: expression.search(case) for case in cases}
    groups = {case: match.group(1) for case, match in found.items() if match and match.group(1)}
    unmatched = [case for case in cases if case not in groups]
    _refuse(option, unmatched, "that it does not match", "widen it, or give --groups FILE.csv")
    return _checked(option, groups)


def groups_by_pattern_and_dataset(pattern: str, cases: CasesByDataset) -> dict[str, dict[str, str]]:
    """Take the groups of several data sets from the names of their cases; by data set and case.

    Args:
        pattern: see `groups_by_pattern`.
        cases: by data set.

    Raises:
        CommandError: see `groups_by_pattern`; each data set must have at least two groups.
    """
    return {name: groups_by_pattern(pattern, of_dataset) for name, of_dataset in cases.items()}


def looks_grouped(case_names: Iterable[str]) -> LikelyGroups | None:
    """Find groups of names that share a stem and differ in their end; return None without any.

    A stem ends in a number, is shared by some cases and not by all, and there are at least as many
    stems as cases per stem: `patient001_frame01` and `patient001_frame12`, but neither
    `hippocampus_001` nor `site2_001` of three sites.
    """
    names = sorted(set(case_names))
    if not names:
        return None
    for pattern in _LIKELY_PATTERNS:
        members: dict[str, list[str]] = {}
        for name in names:
            if match := re.match(pattern, name):
                members.setdefault(match.group(1), []).append(name)
        if sum(map(len, members.values())) < len(names):
            continue
        if len(members) < _FEWEST_GROUPS or len(members) == len(names):
            continue
        if len(members) >= len(names) / len(members):
            stem, (first, second, *_) = next(
                (stem, cases) for stem, cases in members.items() if len(cases) > 1
            )
            return LikelyGroups(pattern, len(names), len(members), stem, (first, second))
    return None


def group_table(table: pd.DataFrame, groups: Mapping[str, str]) -> pd.DataFrame:
    """Return the mean over the cases of each group, (groups, models), in the order of names.

    As in `policies.common_cases`, a case counts only if it is defined for all models; a group
    without such a case is left out.

    Args:
        table: (cases, models), indexed by case; unchanged.
        groups: by case.
    """
    defined = table.dropna()
    return defined.groupby([groups[case] for case in defined.index]).mean().rename_axis("group")


def group_numbers(cases: Sequence[str], groups: Mapping[str, str]) -> tuple[np.ndarray, list[str]]:
    """Return the number of each case's group, (cases,), and the groups' names in their order."""
    names = sorted({groups[case] for case in cases})
    number = {name: place for place, name in enumerate(names)}
    return np.array([number[groups[case]] for case in cases], dtype=int), names


def group_means(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the mean over the cases of each group, (..., groups).

    Args:
        values: (..., cases), all defined.
        numbers: (cases,), of the groups, from 0; none may be skipped.
    """
    values = np.asarray(values, dtype=float)
    sizes = np.bincount(numbers)
    members = np.zeros((len(numbers), len(sizes)))
    members[np.arange(len(numbers)), numbers] = 1 / sizes[numbers]
    return values @ members


def summarise_groups(
    values: np.ndarray, groups: Sequence[str], seed: int | Sequence[int]
) -> list[Summary | None]:
    """Summarise each row over groups, each represented by the mean of its defined cases.

    Args:
        values: (rows, cases); NaN where undefined, so that rows may have different groups.
        groups: of each case.
        seed: of the bootstrap; rows with the same groups see the same resamples.

    Returns:
        None for a row without a defined case.
    """
    means = pd.DataFrame(np.transpose(values)).groupby(list(groups)).mean().to_numpy().T
    alike: dict[bytes, list[int]] = {}
    for row, defined in enumerate(~np.isnan(means)):
        if defined.any():
            alike.setdefault(defined.tobytes(), []).append(row)
    summaries: list[Summary | None] = [None] * len(means)
    for rows in alike.values():
        of_groups = means[rows][:, ~np.isnan(means[rows[0]])]
        found = summaries_of(of_groups, *group_interval(of_groups, seed))
        for row, summary in zip(rows, found, strict=True):
            summaries[row] = summary
    return summaries


def group_interval(
    means: np.ndarray,
    seed: int | Sequence[int],
    resamples: int = INTERVAL_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bootstrap interval of each row's mean over groups, accurate for few groups too.

    The interval is that of `comparisons.bootstrap_interval` (BCa), with its distances from the mean
    stretched by `t / z sqrt(G / (G - 1))`, where t and z are the quantiles of the t distribution
    with G - 1 degrees of freedom and of the normal one. Without it, intervals over 25 patients
    cover the true mean with 93 % instead of 95 % probability. This matters here, as there are fewer
    patients than images.

    Args:
        means: (rows, groups), all defined.
        seed: of the resampling.
        resamples: how often the groups are drawn.
        confidence: of the interval.

    References:
        Hesterberg: What teachers should know about the bootstrap. 2015,
        https://doi.org/10.1080/00031305.2015.1089789
    """
    low, high = bootstrap_interval(means, seed, resamples, confidence)
    groups = np.shape(means)[1]
    if groups == 1:
        return low, high
    upper = (1 + confidence) / 2
    stretch = stats.t.ppf(upper, groups - 1) / special.ndtri(upper) * np.sqrt(groups / (groups - 1))
    middle = np.mean(means, axis=1)
    return middle - stretch * (middle - low), middle + stretch * (high - middle)


def draw_group_counts(
    numbers: np.ndarray, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw groups with replacement and count how often each case is drawn with its group.

    The result is that of `resampling.draw_counts`, (resamples, cases), but a row sums to the number
    of cases only if all groups have the same size, so means over cases divide by the row's sum.

    Args:
        numbers: (cases,), of the groups, from 0; none may be skipped.
        resamples: number of resamples, each of as many groups as there are.
        generator: of the drawing.
    """
    return draw_counts(int(numbers.max()) + 1, resamples, generator)[:, numbers]


def _read_table(option: str, path: Path) -> pd.DataFrame:
    """Read a file of groups, with names stripped of blanks.

    Raises:
        CommandError: if it cannot be read, lacks a column, or a name is empty.
    """
    table = read_columns(option, path, GROUP_COLUMNS)
    empty = (table["case"] == "") | (table["group"] == "")
    if empty.any():
        # The heading is line 1.
        line = int(np.flatnonzero(empty)[0]) + 2
        raise CommandError(f"{option}: row {line} has no case or no group; fill it in or remove it")
    return table


def _groups_in(option: str, table: pd.DataFrame, remedy: str) -> dict[str, str]:
    twice = sorted(table["case"][table["case"].duplicated()].unique())
    _refuse(option, twice, "named more than once", remedy)
    return dict(zip(table["case"], table["group"], strict=True))


def _refuse_others(option: str, table: pd.DataFrame, cases: Collection[str], others: bool) -> None:
    unknown = [] if others else sorted(set(table["case"]) - set(cases))
    _refuse(option, unknown, "not among the results", "remove them, or correct their names")


def _looked_up(option: str, known: Mapping[str, str], cases: Collection[str]) -> dict[str, str]:
    _refuse(option, [case for case in cases if case not in known], "without a row", "add them")
    return _checked(option, {case: known[case] for case in cases})


def _names(text: str, dataset: str) -> bool:
    """Tell whether a text is the name or the number of a data set."""
    return text == dataset or bool(names_with_number([dataset], text))


def _refuse(option: str, cases: Sequence[str], what: str, remedy: str) -> None:
    if cases:
        number = f"{len(cases)} case{'s' if len(cases) > 1 else ''}"
        raise CommandError(f"{option}: {number} {what}, such as {cases[0]}; {remedy}")


def _checked(option: str, groups: dict[str, str]) -> dict[str, str]:
    sizes = Counter(groups.values())
    if len(sizes) == 1 and len(groups) > 1:
        raise CommandError(
            f"{option}: all {len(groups)} cases are in one group, {next(iter(sizes))}; at least "
            "two groups are needed"
        )
    return groups
