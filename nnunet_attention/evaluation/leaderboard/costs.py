"""Reads the costs of a model from the logs that nnU-Net's trainings leave behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from nnunet_attention.nnunet.model_folders import fold_folder
from nnunet_attention.nnunet.training_log import TrainingLog, read_logs


@dataclass(frozen=True)
class Cost:
    """Holds the costs of one model on one data set; what is unknown is None.

    Attributes:
        parameters: number of trainable parameters of the network.
        training_hours: mean over the folds of a fold's training time, each epoch counted once.
        seconds_per_case: mean prediction time in nnU-Net's validation, over the cases of all folds.
    """

    parameters: int | None = None
    training_hours: float | None = None
    seconds_per_case: float | None = None

    @property
    def is_known(self) -> bool:
        """Tell whether there is anything to show."""
        return any(number is not None for number in vars(self).values())


def read_cost(
    model_folder: Path, folds: Iterable[int | str], parameters: int | None = None
) -> Cost:
    """Sum up the costs in the logs of a model's folds.

    A fold whose training was resumed has several logs: an epoch in two of them counts as in the
    later one. The seconds per case are the times between the starts of successive predictions.

    Args:
        model_folder: nnU-Net's, of one trainer, plans and configuration.
        folds: their numbers; those without logs are left out of the means.
        parameters: of the network, where known.
    """
    hours: list[float] = []
    seconds: list[float] = []
    for fold in folds:
        logs = read_logs(fold_folder(model_folder, fold))
        for log in logs:
            seconds += _seconds_between_predictions(log)
        if seconds_of_epoch := _seconds_of_epoch(logs):
            hours.append(sum(seconds_of_epoch.values()) / 3600)
    return Cost(
        parameters,
        sum(hours) / len(hours) if hours else None,
        sum(seconds) / len(seconds) if seconds else None,
    )


def mean_cost(costs: Sequence[Cost]) -> Cost:
    """Return the mean over a model's trainings, each number over those where it is known."""
    known = {
        name: [number for cost in costs if (number := getattr(cost, name)) is not None]
        for name in ("training_hours", "seconds_per_case")
    }
    parameters = next((c.parameters for c in costs if c.parameters is not None), None)
    means = {name: sum(numbers) / len(numbers) for name, numbers in known.items() if numbers}
    return Cost(parameters, **means)


def epoch_seconds(fold: Path) -> dict[int, float]:
    """Return the duration of each epoch of a fold in s, by number, as of the last time it ran."""
    return _seconds_of_epoch(read_logs(fold))


def _seconds_of_epoch(logs: Iterable[TrainingLog]) -> dict[int, float]:
    seconds: dict[int, float] = {}
    for log in logs:
        seconds |= log.seconds_of_epoch
    return seconds


def _seconds_between_predictions(log: TrainingLog) -> list[float]:
    begun = [time for time in log.predictions_begun if time is not None]
    return [(later - earlier).total_seconds() for earlier, later in pairwise(begun)]
