"""Knows published cross-validation results on the Decathlon, to stand beside one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.files import json_text, write_all
from nnunet_attention.nnunet.dataset_names import short_dataset_name

if TYPE_CHECKING:
    from rich.table import Table

    from nnunet_attention.evaluation.leaderboard.grid import Grid
    from nnunet_attention.evaluation.leaderboard.published import PublishedComparison

EXPLAINED = (
    "Dice: mean over folds of the mean over labels of the mean over cases where it is defined, as "
    "nnU-Net has it in summary.json. Published numbers were neither run here nor tested against "
    "yours; split, epochs and checkpoint may differ."
)
CLAIMS_TITLE = "Differences from published results (Dice over cases)"


@dataclass(frozen=True)
class Source:
    """The source of published numbers.

    Attributes:
        citation: Citation of the paper.
        url: Page on which the numbers stand.
        how: How they were obtained, and under what conditions.
    """

    citation: str
    url: str
    how: str


@dataclass(frozen=True)
class OverCases:
    """Mean and spread of a model's Dice over the cases of a data set.

    Attributes:
        mean: Of each case's mean over those labels where Dice is defined; nnU-Net's own figure
            averages over cases first.
        sd: Standard deviation, n - 1 in the denominator.
        n: Cases.
    """

    mean: float
    sd: float
    n: int


@dataclass(frozen=True)
class PublishedResult:
    """The published result of a model on a data set.

    Attributes:
        dataset: Name that nnU-Net gives the data set, such as Dataset003_Liver.
        model: Name of the model.
        configuration: nnU-Net's configuration, such as 3d_fullres.
        cases: How many cases were validated.
        dice: Mean over labels, see `EXPLAINED`.
        dice_of_label: Dice by label; empty where it was not published.
        source: Key of `published_sources`.
        over_cases: None where it was not published.
    """

    dataset: str
    model: str
    configuration: str
    cases: int
    dice: float
    dice_of_label: dict[str, float]
    source: str
    over_cases: OverCases | None = None


def published_sources() -> dict[str, Source]:
    """Return the sources of all published numbers, by their keys."""
    return {key: Source(**source) for key, source in _content()["sources"].items()}


def published_results(dataset: str, configuration: str) -> list[PublishedResult]:
    """Return what is published on a data set, in the order of the sources; mostly nothing is."""
    return [
        _result(row)
        for row in _content()["rows"]
        if row["dataset"] == dataset and row["configuration"] == configuration
    ]


def published_comparisons(
    record: Mapping, configurations: Sequence[str]
) -> list[PublishedComparison]:
    """Compare models with published results on as many cases whose mean and SD are known.

    Args:
        record: Content of leaderboard.json.
        configurations: Configurations whose published results are shown.
    """
    # The leaderboard imports pandas, which downloading can do without.
    from nnunet_attention.evaluation.leaderboard.published import (
        PublishedMean,
        compare_published,
    )
    from nnunet_attention.evaluation.statistics.comparisons import Summary

    comparisons = [
        compare_published(
            model,
            Summary(**{name: values[name] for name in Summary.__dataclass_fields__}),
            PublishedMean(
                _title(result, configurations),
                row["dataset"],
                **vars(result.over_cases),
                label=row["label"],
                metric="dice",
            ),
        )
        for row in record["rows"]
        # Published spreads are over cases.
        if row["is_overall"] and row["metric"] == "dice" and "groups" not in row
        for configuration in configurations
        for result in published_results(row["dataset"], configuration)
        if result.over_cases is not None
        for model, values in row["models"].items()
    ]
    return [comparison for comparison in comparisons if comparison.claims is not None]


def claims_table(record: Mapping, configurations: Sequence[str]) -> Grid:
    """Return how likely differences from published results are false claims; may have no rows."""
    from nnunet_attention.evaluation.leaderboard.tables import published_grid

    grid = published_grid(published_comparisons(record, configurations), short_dataset_name)
    return replace(grid, title=CLAIMS_TITLE)


def write_published(record: Mapping, configurations: Sequence[str], folder: Path) -> list[Path]:
    """Write `published.json` and `published.md`: each model's Dice beside published ones.

    Where their mean, SD and n over cases are known, the probability of a false claim is added.

    Args:
        record: Content of leaderboard.json.
        configurations: Configurations whose published results are shown.
        folder: Folder for the files.

    Returns:
        The files.

    Raises:
        CommandError: If the folder cannot be written.
    """
    from nnunet_attention.evaluation.leaderboard.records import published_record

    rows = _rows(record, configurations)
    comparisons = published_comparisons(record, configurations)
    sources = {row.source: published_sources()[row.source] for row in rows if row.source}
    content = {
        "explained": EXPLAINED,
        "rows": [vars(row) for row in rows],
        **({"comparisons": published_record(comparisons)} if comparisons else {}),
        "sources": {key: vars(source) for key, source in sources.items()},
    }
    claims = claims_table(record, configurations)
    texts = {"published.json": json_text(content), "published.md": _markdown(rows, sources, claims)}
    return write_all(folder, texts)


def published_table(record: Mapping, configurations: Sequence[str]) -> Table:
    """Return the table for the terminal; the arguments are those of `write_published`."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Beside published results (Dice)")
    for name in ("data set", "model"):
        table.add_column(name, overflow="fold")
    table.add_column("Dice", justify="right")
    table.add_column("source", overflow="fold")
    before = None
    for row in _rows(record, configurations):
        if before not in (None, row.dataset):
            table.add_section()
        style = "dim" if row.source else ""
        source = published_sources()[row.source].url if row.source else "this run"
        cells = (row.dataset, row.model, f"{row.dice:.4f}", source)
        table.add_row(*(Text(cell, style=style) for cell in cells))
        before = row.dataset
    return table


@dataclass(frozen=True)
class _Row:
    """A row of the table; `source` is None for one's own results."""

    dataset: str
    model: str
    dice: float
    source: str | None


def _rows(record: Mapping, configurations: Sequence[str]) -> list[_Row]:
    rows = []
    for dataset in record["datasets"]:
        own = record["nnunet_fold_means"][dataset].get("dice", {})
        rows += [
            _Row(dataset, model, own[model], None)
            for model in record["models"]
            if own.get(model) is not None
        ]
        rows += [
            _Row(dataset, _title(result, configurations), result.dice, result.source)
            for configuration in configurations
            for result in published_results(dataset, configuration)
        ]
    return rows


def _title(result: PublishedResult, configurations: Sequence[str]) -> str:
    """Name a model as the leaderboard does: with the configuration where there are several."""
    return f"{result.model} {result.configuration}" if len(configurations) > 1 else result.model


def _result(row: Mapping) -> PublishedResult:
    over_cases = row.get("over_cases")
    return PublishedResult(
        **{**row, "over_cases": None if over_cases is None else OverCases(**over_cases)}
    )


def _markdown(rows: list[_Row], sources: dict[str, Source], claims: Grid) -> str:
    from nnunet_attention.evaluation.leaderboard.grid import markdown_table
    from nnunet_attention.evaluation.leaderboard.markdown import escaped

    numbers = {key: number for number, key in enumerate(sources, 1)}
    lines = ["# Beside published results", "", escaped(EXPLAINED), ""]
    lines += ["| data set | model | Dice | source |", "| --- | --- | ---: | --- |"]
    for row in rows:
        source = f"\\[{numbers[row.source]}\\]" if row.source else "this run"
        name = escaped(row.model) if row.source else f"**{escaped(row.model)}**"
        lines.append(f"| {escaped(row.dataset)} | {name} | {row.dice:.4f} | {source} |")
    lines.append("")
    if claims.rows:
        lines += [f"## {claims.title}", "", *map(escaped, claims.notes), "", markdown_table(claims)]
    lines += [
        f"{number}. {escaped(sources[key].citation)} <{sources[key].url}> "
        f"{escaped(sources[key].how)}"
        for key, number in numbers.items()
    ]
    return "\n".join(lines) + "\n"


@lru_cache(maxsize=1)
def _content() -> dict:
    file = files("nnunet_attention.msd") / "published.json"
    return json.loads(file.read_text(encoding="utf-8"))
