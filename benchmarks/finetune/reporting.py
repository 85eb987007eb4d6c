"""Makes the table of the document from the result of `nnunet-attention experiment finetune`."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.texts import markdown_row
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.building import MEAN_OF_LABELS
from nnunet_attention.evaluation.leaderboard.grid import DASH, PLUS_MINUS
from nnunet_attention.evaluation.leaderboard.tables import confidence_interval, signed, value_text

_METRIC = "dice"
_OVER_TRAININGS = (
    ", widened by a t quantile because trainings are few, over cases and trainings, which are "
    "paired by the pretraining that they start from"
)


def table_of(record: Mapping) -> str:
    """Return the Dice of all settings and methods, with their differences and 95 % intervals.

    Args:
        record: content of the experiment's `table.json`.

    Raises:
        CommandError: if it is of another experiment, without controls.
    """
    results = record["results"]
    label = next(iter(results[0]["labels"]))
    if MEAN_OF_LABELS in results[0]["labels"]:
        label = MEAN_OF_LABELS
    values = [result["labels"][label][_METRIC] for result in results]
    controls = list(dict.fromkeys(name for value in values for name in value["against_controls"]))
    if not controls:
        raise CommandError(
            f"{record['title']}: nothing is compared with a network that was fine-tuned without "
            f"gates; give the folder of nnunet-attention experiment finetune"
        )
    others = [record["baseline"], *controls]
    heading = ["trained/tested", "method", "Dice", *(f"minus {name}" for name in others)]
    rows = []
    for result, value in zip(results, values, strict=True):
        compared = {record["baseline"]: value["against_baseline"], **value["against_controls"]}
        spread = "" if value["sd"] is None else f" {PLUS_MINUS} {value_text(value['sd'], _METRIC)}"
        rows.append(
            [
                result["setting_title"],
                result["method"],
                f"{value_text(value['mean'], _METRIC)}{spread}",
                *(_difference(compared.get(name)) for name in others),
            ]
        )
    lines = [heading, ["---"] * len(heading), *rows]
    several = all(value.get("trainings") for value in values)
    caption = (
        f"Dice, {label}: mean and SD over cases{', of means over trainings' if several else ''}. "
        "Differences: mean over the same cases, and 95 % interval by bootstrap"
        f"{_OVER_TRAININGS if several else ' over cases; one training each'}."
    )
    return "\n".join([*map(markdown_row, lines), "", caption, ""])


def _difference(comparison: Mapping | None) -> str:
    if comparison is None:
        return DASH
    ends = confidence_interval(comparison["low"], comparison["high"], _METRIC, signed)
    return f"{signed(comparison['mean_difference'], _METRIC)} {ends}"
