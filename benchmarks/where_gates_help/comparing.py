"""Compares networks: on each data set, on groups of data sets, and between kinds of phantoms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import mean
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from benchmarks.where_gates_help.design import (
    DOMAINS,
    FEWEST_COUNTED,
    GROUPS,
    IN_DOMAIN,
    MARGIN,
    PARTS,
    PHANTOM_2D,
    PHANTOM_3D,
    SEEDS,
    Data,
    Group,
    Part,
)
from nnunet_attention.evaluation.statistics.comparisons import holm
from nnunet_attention.evaluation.statistics.equivalence import LEVEL, verdict
from nnunet_attention.evaluation.statistics.estimates import Estimate, satterthwaite
from nnunet_attention.evaluation.statistics.repeats import Layout, compare_repeats

SECONDARY = "secondary"
_INTERACTIONS = "interactions"
_INTERACTING = ("attention", "supervised")
# Three questions each, in 2d and in 3d.
NUMBER_OF_INTERACTIONS = 3 * 2 * len(_INTERACTING)
_Corrected = TypeVar("_Corrected", "Finding", "Interaction")


@dataclass(frozen=True)
class Difference:
    """Holds the difference of two networks on one data set, first minus second.

    Attributes:
        part: its name.
        data: the data set.
        domain: `in` or `out`.
        first: folder of the network.
        second: likewise.
        mean: Dice of the first, over patients and seeds.
        stock: Dice of the stock network, likewise; None while it lacks trainings.
        seeds: that both were trained with.
        of_seeds: difference of each seed.
        estimate: over patients and trainings.
    """

    part: str
    data: Data
    domain: str
    first: str
    second: str
    mean: float
    stock: float | None
    seeds: tuple[int, ...]
    of_seeds: tuple[float, ...]
    estimate: Estimate

    @property
    def is_informative(self) -> bool | None:
        """Tell by rule 6 whether the row counts; None while stock lacks trainings."""
        return None if self.stock is None else self.data.is_informative(self.stock)


@dataclass(frozen=True)
class Finding:
    """Holds the difference of two networks on a group of data sets, first minus second.

    Attributes:
        group: the data sets.
        domain: `in` or `out`.
        first: folder of the network.
        second: likewise.
        counted: the number of data sets that count by rule 6, of which all else is the mean.
        mean: Dice of the first; NaN if too few count.
        estimate: of the difference; None if too few count.
        family: the questions with which the p-value is corrected; None if it is secondary.
        adjusted: p-value after Holm's correction.
    """

    group: Group
    domain: str
    first: str
    second: str
    counted: int
    mean: float
    estimate: Estimate | None
    family: str | None
    adjusted: float = 1.0

    @property
    def verdict(self) -> str:
        """Return the verdict of rule 1 on the first network."""
        if self.estimate is None:
            return "does not count"
        if self.family is None:
            return SECONDARY
        return verdict(self.estimate, MARGIN, p_value=self.adjusted)

    @property
    def lies_below_0(self) -> bool:
        """Tell whether the whole interval of 95 %, not corrected, is below 0."""
        return self.estimate is not None and self.estimate.interval()[1] < 0


@dataclass(frozen=True)
class Interaction:
    """Holds how a network's difference to stock depends on the phantom.

    Attributes:
        part: its name.
        domain: `in` or `out`.
        network: folder of the network.
        question: what is compared with what.
        counted: the number of shares of foreground that count by rule 6.
        estimate: of the contrast or slope; None if too few shares count.
        family: as of a finding.
        adjusted: likewise.
    """

    part: str
    domain: str
    network: str
    question: str
    counted: int
    estimate: Estimate | None
    family: str | None
    adjusted: float = 1.0

    @property
    def matters(self) -> bool:
        """Tell by rule 3 whether the difference depends on it."""
        return self.family is not None and self.adjusted < LEVEL


def differences(part: Part, cases: pd.DataFrame, wanted: Sequence[int] = SEEDS) -> list[Difference]:
    """Compare the networks of a part on every data set with two or more trainings.

    Args:
        part: the part.
        cases: its rows.
        wanted: seeds of the trainings.
    """
    cases = cases[cases["seed"].isin(wanted)]
    found = []
    for data in part.data:
        for domain in DOMAINS:
            rows = cases[(cases["dataset"] == data.dataset) & (cases["domain"] == domain)]
            values = values_by_network(rows)
            for first, second in part.comparisons:
                compared = _compared(values, rows, first, second, wanted)
                if compared is not None:
                    found.append(Difference(part.name, data, domain, first, second, **compared))
    return found


def values_by_network(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return by network the Dice of each seed and case, (seeds, cases), the mean of its labels.

    A case is left out where it is undefined for any training.
    """
    if rows.empty:
        return {}
    table = rows.pivot_table(index=["network", "seed"], columns="case", values="dice")
    table = table.dropna(axis=1)
    return {network: table.xs(network) for network in table.index.unique("network")}


def _compared(
    values: Mapping[str, pd.DataFrame],
    rows: pd.DataFrame,
    first: str,
    second: str,
    wanted: Sequence[int],
) -> dict[str, Any] | None:
    """Return the contents of a Difference from two networks' values; None if there are too few."""
    if first not in values or second not in values:
        return None
    seeds = sorted(set(values[first].index) & set(values[second].index))
    if len(seeds) < 2:
        return None
    mine, theirs = values[first].loc[seeds], values[second].loc[seeds]
    of_case = rows.drop_duplicates("case").set_index("case")["fold"]
    folds = np.unique([str(of_case[case]) for case in mine.columns], return_inverse=True)[1]
    repeated = compare_repeats(
        mine.to_numpy(), theirs.to_numpy(), (seeds, seeds), Layout(folds), resamples=0
    )
    if repeated is None:
        return None
    stock = values.get("stock")
    is_known = stock is not None and set(wanted) <= set(stock.index)
    return {
        "mean": float(mine.to_numpy().mean()),
        "stock": float(stock.to_numpy().mean()) if is_known else None,
        "seeds": tuple(map(int, seeds)),
        "of_seeds": repeated.training_means,
        "estimate": repeated.estimate,
    }


def combined(terms: Iterable[tuple[float, Estimate]]) -> Estimate:
    """Return the sum of independent estimates, each times its factor.

    Its degrees of freedom are Satterthwaite's.
    """
    listed = list(terms)
    variance, freedom = satterthwaite(
        [((factor * one.standard_error) ** 2, one.degrees_of_freedom) for factor, one in listed]
    )
    return Estimate(sum(factor * one.mean for factor, one in listed), sqrt(variance), freedom)


def findings(rows: Sequence[Difference], wanted: Sequence[int] = SEEDS) -> list[Finding]:
    """Compare the networks on every group of which all trainings are finished.

    P-values are corrected within each family, as if all its questions had an answer.

    Args:
        rows: the differences on data sets.
        wanted: seeds of the trainings.
    """
    found = []
    for group in GROUPS:
        for domain in DOMAINS:
            for first, second in PARTS[group.part].comparisons:
                chosen = _complete(rows, group.part, group.data, domain, first, second, wanted)
                if not chosen:
                    continue
                counted = [row for row in chosen if row.is_informative]
                are_enough = len(counted) >= group.fewest_counted
                is_decided = domain == IN_DOMAIN and (first, second) in group.comparisons
                found.append(
                    Finding(
                        group,
                        domain,
                        first,
                        second,
                        len(counted),
                        mean(row.mean for row in counted) if are_enough else float("nan"),
                        combined((1 / len(counted), row.estimate) for row in counted)
                        if are_enough
                        else None,
                        group.family if is_decided else None,
                    )
                )
    return _corrected(found, Counter(group.family for group in GROUPS for _ in group.comparisons))


def interactions(rows: Sequence[Difference]) -> list[Interaction]:
    """Find out how differences to stock depend on distractors, and on the foreground's share.

    Each needs all trainings of its phantoms.
    """
    found = []
    sizes = Counter({_INTERACTIONS: NUMBER_OF_INTERACTIONS})
    for part in (PHANTOM_2D, PHANTOM_3D):
        crowded, plain = (group.data for group in GROUPS if group.part == part.name)
        for domain in DOMAINS:
            for network in ("wide", *_INTERACTING):
                is_primary = domain == IN_DOMAIN and network in _INTERACTING
                both = [
                    _complete(rows, part.name, data, domain, network, "stock")
                    for data in (crowded, plain)
                ]
                for question, needed, (count, estimate) in (
                    ("with distractors minus without", both, contrast(*both)),
                    ("slope, with distractors", both[:1], slope_over_sizes(both[0])),
                    ("slope, without distractors", both[1:], slope_over_sizes(both[1])),
                ):
                    if all(needed):
                        found.append(
                            Interaction(
                                part.name, domain, network, question, count, estimate,
                                _INTERACTIONS if is_primary else None,
                            )
                        )  # fmt: skip
    return _corrected(found, sizes)


def contrast(
    crowded: Sequence[Difference], plain: Sequence[Difference]
) -> tuple[int, Estimate | None]:
    """Return how much larger a difference is with distractors, in the mean over the shares.

    The first number is that of the shares that count both with distractors and without.
    """
    of_plain = {_share(row): row.estimate for row in plain if row.is_informative}
    pairs = [
        (row.estimate, of_plain[_share(row)])
        for row in crowded
        if row.is_informative and _share(row) in of_plain
    ]
    if len(pairs) < FEWEST_COUNTED:
        return len(pairs), None
    factor = 1 / len(pairs)
    return len(pairs), combined(
        term for first, second in pairs for term in ((factor, first), (-factor, second))
    )


def slope_over_sizes(rows: Sequence[Difference]) -> tuple[int, Estimate | None]:
    """Return by how much a difference grows where the foreground doubles.

    This is the slope of least squares, a sum of the data sets' differences, each times a factor;
    its standard error follows from theirs, which are over patients and trainings. The first number
    is that of the shares that count.

    Args:
        rows: of one pair of networks, on phantoms with different shares of foreground.
    """
    counted = [row for row in rows if row.is_informative]
    if len(counted) < FEWEST_COUNTED:
        return len(counted), None
    shares = np.log2([_share(row) for row in counted])
    centred = shares - shares.mean()
    factors = centred / (centred**2).sum()
    return len(counted), combined(
        (float(factor), row.estimate) for factor, row in zip(factors, counted, strict=True)
    )


def _share(row: Difference) -> float:
    assert row.data.recipe is not None
    return row.data.recipe.foreground


def _complete(
    rows: Iterable[Difference],
    part: str,
    data: Sequence[Data],
    domain: str,
    first: str,
    second: str,
    seeds: Sequence[int] = SEEDS,
) -> list[Difference]:
    """Return the rows of some data sets in their order; none unless each has all seeds."""
    wanted = (part, domain, first, second, tuple(seeds))
    found = {
        row.data: row
        for row in rows
        if (row.part, row.domain, row.first, row.second, row.seeds) == wanted
    }
    return [found[one] for one in data] if set(data) <= set(found) else []


def _corrected(found: Sequence[_Corrected], sizes: Mapping[str, int]) -> list[_Corrected]:
    """Correct p-values by Holm within families of these sizes; missing ones count as 1."""
    adjusted: dict[int, float] = {}
    for family, size in sizes.items():
        places = [n for n, one in enumerate(found) if one.family == family]
        estimates = [found[n].estimate for n in places]
        values = [1.0 if one is None else one.p_value for one in estimates]
        values += [1.0] * (size - len(values))
        adjusted |= dict(zip(places, map(float, holm(values)), strict=False))
    return [replace(one, adjusted=adjusted.get(n, 1.0)) for n, one in enumerate(found)]
