"""Reads the logs that nnU-Net's trainings write, `fold_k/training_log_*.txt`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

Phase = Literal["starting", "training", "validating", "validated"]

# Dozens of epochs, which is enough to report on a running training.
_END_BYTES = 64_000
_EPOCH = re.compile(r"Epoch (\d+)\s*")
_SECONDS = re.compile(r"Epoch time: ([\d.]+) s")
_DICE = re.compile(r"Pseudo dice \[(.*)\]")
# The names of numpy's types can surround numbers, as in np.float32(0.5).
_NUMBER = re.compile(r"(?<![\w.])(nan|-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)(?![\w.])")
# As our trainers print it.
_KEPT = re.compile(r"The predictions of (\d+) of \d+ cases are kept")


@dataclass(frozen=True)
class Epoch:
    """Holds what a log says about one epoch.

    Attributes:
        number: counted from 0; None where the line with it is cut off.
        begun: the time at which it began, where known.
        seconds: its duration; None until it has ended.
        pseudo_dice: a value for each label, which can be NaN; None until it is computed.
    """

    number: int | None
    begun: datetime | None = None
    seconds: float | None = None
    pseudo_dice: tuple[float, ...] | None = None


@dataclass(frozen=True)
class TrainingLog:
    """Holds what a log says about a training and the validation after it.

    Attributes:
        phase: how far it has come.
        epochs: in the order in which they began.
        predictions_begun: for each case of the validation the time at which its prediction
            began; None where the line does not tell it.
        kept_cases: the number of cases that an earlier validation has predicted.
    """

    phase: Phase = "starting"
    epochs: tuple[Epoch, ...] = ()
    predictions_begun: tuple[datetime | None, ...] = ()
    kept_cases: int = 0

    @property
    def last_epoch(self) -> int | None:
        """The number of the epoch that began last, counted from 0."""
        numbers = [epoch.number for epoch in self.epochs if epoch.number is not None]
        return numbers[-1] if numbers else None

    @property
    def seconds_of_epoch(self) -> dict[int, float]:
        """The duration of each whole epoch, by its number."""
        return {
            epoch.number: epoch.seconds
            for epoch in self.epochs
            if epoch.number is not None and epoch.seconds is not None
        }


def log_files(fold: Path) -> list[Path]:
    """List the logs in a fold's folder, the first attempt's first."""
    return sorted(fold.glob("training_log_*.txt"), key=_begun)


def read_logs(fold: Path) -> list[TrainingLog]:
    """Read all logs in a fold's folder, the first attempt's first."""
    return [
        parse_log(path.read_text(encoding="utf-8", errors="replace")) for path in log_files(fold)
    ]


def read_newest_log(fold: Path, since: float = 0.0) -> TrainingLog:
    """Read the end of the last attempt's log; where there is none, return an empty one.

    Args:
        fold: the folder.
        since: a time in seconds since 1970; logs last written before it do not count.
    """
    newest = [path for path in log_files(fold) if _changed(path) >= since]
    return read_end(newest[-1]) if newest else TrainingLog()


def read_end(path: Path) -> TrainingLog:
    """Read the end of a log, or of the output of nnU-Net's command, which may be absent."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _END_BYTES))
            return parse_log(file.read().decode("utf-8", errors="replace"))
    except OSError:
        return TrainingLog()


def parse_log(text: str) -> TrainingLog:
    """Read the text of a log, whose beginning may be cut off."""
    reader = _Reader()
    for line in text.splitlines():
        reader.read(line)
    return TrainingLog(
        reader.phase, tuple(reader.epochs), tuple(reader.predictions_begun), reader.kept_cases
    )


@dataclass
class _Reader:
    phase: Phase = "starting"
    epochs: list[Epoch] = field(default_factory=list)
    predictions_begun: list[datetime | None] = field(default_factory=list)
    kept_cases: int = 0

    def read(self, line: str) -> None:
        stamp, _, text = line.partition(": ")
        if match := _EPOCH.fullmatch(text):
            self.phase = "training"
            self.epochs.append(Epoch(int(match[1]), _time(stamp)))
        elif match := _DICE.match(text):
            self._amend_epoch(pseudo_dice=_numbers(match[1]))
        elif match := _SECONDS.match(text):
            self._amend_epoch(seconds=float(match[1]))
        elif match := _KEPT.match(text):
            self.phase = "validating"
            self.kept_cases += int(match[1])
        elif text.startswith("Training done."):
            self.phase = "validating"
        elif text.startswith("predicting "):
            self.phase = "validating"
            self.predictions_begun.append(_time(stamp))
        elif "Validation complete" in line:
            self.phase = "validated"

    def _amend_epoch(self, **values) -> None:
        if not self.epochs or self.epochs[-1].seconds is not None:
            self.epochs.append(Epoch(None))
        self.epochs[-1] = replace(self.epochs[-1], **values)


def _numbers(text: str) -> tuple[float, ...]:
    plain = re.sub(r"np\.\w+\(([^)]*)\)", r"\1", text)
    return tuple(map(float, _NUMBER.findall(plain)))


def _time(stamp: str) -> datetime | None:
    try:
        return datetime.fromisoformat(stamp)
    except ValueError:
        return None


def _begun(log: Path) -> tuple[list[int], str]:
    """Return a key that sorts logs by time: months and days in names lack leading zeros."""
    return [int(number) for number in re.findall(r"\d+", log.stem)], log.name


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("-inf")
