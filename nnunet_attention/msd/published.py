"""Published cross-validation results on the Decathlon, to stand beside one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.evaluation.leaderboard.markdown import escaped
from nnunet_attention.files import json_text, write_all

if TYPE_CHECKING:
    from rich.table import Table

EXPLAINED = (
    "Dice: mean over folds of the mean over labels of the mean over cases where it is defined, as "
    "nnU-Net has it in summary.json. Published numbers were neither run here nor tested against "
    "yours; split, epochs and checkpoint may differ."
)


@dataclass(frozen=True)
class Source:
    """Where numbers come from.

    Attributes:
        citation: of the paper.
        url: where the numbers stand.
        how: they were obtained, and under what conditions.
    """

    citation: str
    url: str
    how: str


@dataclass(frozen=True)
class PublishedResult:
    """A model on a data set.

    Attributes:
        dataset: as nnU-Net names it, such as Dataset003_Liver.
        model: name.
        configuration: such as 3d_fullres.
        cases: that were validated.
        dice: mean over labels, see `EXPLAINED`.
        dice_of_label: empty where it was not published.
        source: key of `published_sources`.
    """

    dataset: str
    model: str
    configuration: str
    cases: int
    dice: float
    dice_of_label: dict[str, float]
    source: str


def published_sources() -> dict[str, Source]:
    """By key."""
    return {key: Source(**source) for key, source in _content()["sources"].items()}


def published_results(dataset: str, configuration: str) -> list[PublishedResult]:
    """Of one data set, in the order of the sources; empty where nothing is known."""
    return [
        PublishedResult(**row)
        for row in _content()["rows"]
        if row["dataset"] == dataset and row["configuration"] == configuration
    ]


def write_published(record: Mapping, configurations: Sequence[str], folder: Path) -> list[Path]:
    """Writes `published.json` and `published.md`: each model's Dice beside published ones.

    Args:
        record: content of leaderboard.json.
        configurations: whose published results are wanted.
        folder: for the files.

    Raises:
        CommandError: if the folder cannot be written.
    """
    rows = _rows(record, configurations)
    sources = {row.source: published_sources()[row.source] for row in rows if row.source}
    content = {
        "explained": EXPLAINED,
        "rows": [vars(row) for row in rows],
        "sources": {key: vars(source) for key, source in sources.items()},
    }
    texts = {"published.json": json_text(content), "published.md": _markdown(rows, sources)}
    return write_all(folder, texts)


def published_table(record: Mapping, configurations: Sequence[str]) -> Table:
    """For the terminal; arguments as of `write_published`."""
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
    """Of the table; `source` is None for one's own results."""

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
            _Row(dataset, _named(one, configurations), one.dice, one.source)
            for configuration in configurations
            for one in published_results(dataset, configuration)
        ]
    return rows


def _named(result: PublishedResult, configurations: Sequence[str]) -> str:
    """As the leaderboard does: with the configuration where there are several."""
    return f"{result.model} {result.configuration}" if len(configurations) > 1 else result.model


def _markdown(rows: list[_Row], sources: dict[str, Source]) -> str:
    numbers = {key: number for number, key in enumerate(sources, 1)}
    lines = ["# Beside published results", "", escaped(EXPLAINED), ""]
    lines += ["| data set | model | Dice | source |", "| --- | --- | ---: | --- |"]
    for row in rows:
        source = f"\\[{numbers[row.source]}\\]" if row.source else "this run"
        name = escaped(row.model) if row.source else f"**{escaped(row.model)}**"
        lines.append(f"| {escaped(row.dataset)} | {name} | {row.dice:.4f} | {source} |")
    lines.append("")
    lines += [
        f"{number}. {escaped(sources[key].citation)} <{sources[key].url}> "
        f"{escaped(sources[key].how)}"
        for key, number in numbers.items()
    ]
    return "\n".join(lines) + "\n"


@lru_cache(maxsize=1)
def _content() -> dict:
    place = files("nnunet_attention.msd") / "published.json"
    return json.loads(place.read_text(encoding="utf-8"))
