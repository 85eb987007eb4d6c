"""Compares models with published results of which only mean, SD and n are known."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.columns import read_columns
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.comparisons import Summary
from nnunet_attention.evaluation.statistics.equivalence import FalseClaims, false_claims

PUBLISHED_COLUMNS = ("model", "dataset", "mean", "sd", "n")
_OPTIONAL_COLUMNS = ("label", "metric")
# Of values between 0 and 1; two cases, one of either, have it.
_LARGEST_SD = math.sqrt(0.5)


@dataclass(frozen=True)
class PublishedMean:
    """The published result of a model on a label of a data set.

    Attributes:
        model: name.
        dataset: full name, short name or number.
        mean: over cases.
        sd: over cases, n - 1 in the denominator.
        n: cases.
        label: name; empty for the row that stands for the data set.
        metric: name; empty for the leaderboard's first.
    """

    model: str
    dataset: str
    mean: float
    sd: float
    n: int
    label: str = ""
    metric: str = ""


@dataclass(frozen=True)
class PublishedComparison:
    """Holds the comparison of a model with a published result.

    Attributes:
        model: name.
        published: the result, with the full name of the data set, the row's label, and the metric.
        difference: the model's mean minus the published one.
        better: the name of the model with the better mean; empty if the means are equal.
        claims: how likely it is that the model with the better mean is in truth not better; None if
            n differs, so that the cases cannot be the same, or if n is 1.
    """

    model: str
    published: PublishedMean
    difference: float
    better: str
    claims: FalseClaims | None


def read_published(path: Path) -> tuple[PublishedMean, ...]:
    """Read published results from a CSV file with the columns of `PUBLISHED_COLUMNS`.

    Args:
        path: the file; it may also have the columns label and metric; others are not read.

    Raises:
        CommandError: if it cannot be read, lacks a column, has no rows, has a cell that should be a
            number but is not, or has an impossible number.
    """
    option = f"--published {path}"
    table = read_columns(option, path, PUBLISHED_COLUMNS)
    if table.empty:
        raise CommandError(
            f"{option}: there are no rows below its heading; give one for each result"
        )
    columns = [*PUBLISHED_COLUMNS, *(name for name in _OPTIONAL_COLUMNS if name in table)]
    # The heading is line 1.
    return tuple(
        _published(f"{option}: row {line}", row)
        for line, row in enumerate(table[columns].to_dict("records"), 2)
    )


def check_published(results: Iterable[PublishedMean], models: Iterable[str]) -> None:
    """Refuse results that are impossible, occur twice, or have the name of a compared model.

    Args:
        results: with the full names of data sets, labels and metrics.
        models: names of the models that are compared.

    Raises:
        CommandError: if there is such a result.
    """
    names = set(models)
    seen: set[tuple[str, str, str, str]] = set()
    for result in results:
        where = f"--published: {result.model}, {result.dataset}, {result.label}"
        if result.model in names:
            raise CommandError(
                f"{where}: a model of the leaderboard already has this name; give the published "
                "one another"
            )
        key = (result.model, result.dataset, result.label, result.metric)
        if key in seen:
            raise CommandError(f"{where}: {result.metric} is given twice; keep one row")
        seen.add(key)
        is_share = METRICS[result.metric].when_both_empty == 1
        if is_share and not (0 <= result.mean <= 1 and result.sd <= _LARGEST_SD + 1e-4):
            raise CommandError(
                f"{where}: no {result.metric} has mean {result.mean:g} and SD {result.sd:g}, as it "
                "lies between 0 and 1; divide percentages by 100"
            )


def compare_published(
    model: str, summary: Summary, published: PublishedMean
) -> PublishedComparison:
    """Compare a model with a published result on the same data set and label.

    Args:
        model: name.
        summary: of its values over cases.
        published: with the name of a metric.
    """
    difference = summary.mean - published.mean
    gain = difference if METRICS[published.metric].higher_is_better else -difference
    claims = None
    if summary.sd is not None and summary.n == published.n:
        claims = false_claims(summary.mean, published.mean, summary.sd, published.sd, published.n)
    better = "" if gain == 0 else model if gain > 0 else published.model
    return PublishedComparison(model, published, difference, better, claims)


def _published(where: str, texts: dict[str, str]) -> PublishedMean:
    empty = [name for name in PUBLISHED_COLUMNS if not texts[name]]
    if empty:
        raise CommandError(f"{where} has no {' and no '.join(empty)}; fill it in or remove the row")
    numbers = {name: _number(where, name, texts[name]) for name in ("mean", "sd", "n")}
    if numbers["sd"] < 0:
        raise CommandError(f"{where}: sd is {texts['sd']}; it must be 0 or more")
    if numbers["n"] < 1 or numbers["n"] != int(numbers["n"]):
        raise CommandError(f"{where}: n is {texts['n']}; it must be a number of cases")
    metric = texts.get("metric", "")
    if metric and metric not in METRICS:
        raise CommandError(f"{where}: no metric {metric}; known are {', '.join(METRICS)}")
    return PublishedMean(
        texts["model"],
        texts["dataset"],
        numbers["mean"],
        numbers["sd"],
        int(numbers["n"]),
        texts.get("label", ""),
        metric,
    )


def _number(where: str, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise CommandError(f"{where}: {name} is {text}; it must be a number")
    return number
