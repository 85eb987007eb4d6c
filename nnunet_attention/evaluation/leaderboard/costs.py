"""What a model costs, from the logs that nnU-Net's trainings leave behind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

_STAMP = r"(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(?:\.\d+)?)"
_EPOCH = re.compile(rf"^{_STAMP}: Epoch (\d+) *$")
_EPOCH_TIME = re.compile(rf"^{_STAMP}: Epoch time: ([\d.]+) s *$")
_PREDICTING = re.compile(rf"^{_STAMP}: predicting (.+?) *$")


@dataclass(frozen=True)
class Cost:
    """Of one model on one data set; what is unknown is None.

    Attributes:
        parameters: trainable numbers of the network.
        training_hours: of one fold: its epochs, each counted once; the mean over the folds.
        seconds_per_case: of the prediction in nnU-Net's validation, with all folds' cases alike.
    """

    parameters: int | None = None
    training_hours: float | None = None
    seconds_per_case: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether there is anything to show."""
        return any(number is not None for number in vars(self).values())


def read_cost(
    model_folder: Path, folds: Iterable[int | str], parameters: int | None = None
) -> Cost:
    """Reads `fold_k/training_log_*.txt`.

    A fold that was continued has several logs: an epoch in two of them counts as it ran last.
    Seconds a case are the times between the starts of two predictions that follow each other.

    Args:
        model_folder: nnU-Net's, of one trainer, plans and configuration.
        folds: their numbers; those without logs are left out of the means.
        parameters: of the network, where known.
    """
    hours, seconds = [], []
    for fold in folds:
        logs = _logs(model_folder / f"fold_{fold}")
        for lines in logs:
            seconds += _seconds_between_predictions(lines)
        if in_epochs := _epochs_of_all(logs):
            hours.append(sum(in_epochs.values()) / 3600)
    return Cost(
        parameters,
        sum(hours) / len(hours) if hours else None,
        sum(seconds) / len(seconds) if seconds else None,
    )


def epoch_seconds(fold: Path) -> dict[int, float]:
    """Seconds of each epoch of a fold, by its number; as it ran last, where it ran again."""
    return _epochs_of_all(_logs(fold))


def _logs(fold: Path) -> list[list[str]]:
    """Lines of each log of a fold, the first attempt's first."""
    paths = sorted(fold.glob("training_log_*.txt"), key=_begun)
    return [path.read_text(encoding="utf-8", errors="replace").splitlines() for path in paths]


def _begun(log: Path) -> tuple[list[int], str]:
    """Orders logs by time: nnU-Net writes months and days without a leading zero."""
    return [int(number) for number in re.findall(r"\d+", log.stem)], log.name


def _epochs_of_all(logs: Iterable[list[str]]) -> dict[int, float]:
    found: dict[int, float] = {}
    for lines in logs:
        found |= _epochs(lines)
    return found


def _epochs(lines: list[str]) -> dict[int, float]:
    """Seconds by number of the epoch."""
    found, epoch = {}, None
    for line in lines:
        if match := _EPOCH.match(line):
            epoch = int(match[2])
        elif (match := _EPOCH_TIME.match(line)) and epoch is not None:
            found[epoch] = float(match[2])
    return found


def _seconds_between_predictions(lines: list[str]) -> list[float]:
    starts = [
        datetime.fromisoformat(match[1]) for line in lines if (match := _PREDICTING.match(line))
    ]
    return [(later - earlier).total_seconds() for earlier, later in pairwise(starts)]
