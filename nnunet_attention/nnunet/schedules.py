"""Schedules of short trainings: the variable that sets one, and the file beside the checkpoints.

The file records the schedule, so that a resumed training keeps it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json, write_json

SCHEDULE_VARIABLE = "NNUNET_ATTENTION_SHORT_SCHEDULE"
_FILE = "schedule.json"


class Schedule(NamedTuple):
    """Holds the length of a short training."""

    epochs: int = 10
    iterations: int = 25
    validation_iterations: int = 5

    def __str__(self) -> str:
        return ",".join(map(str, self))


def short_schedule(text: str | None) -> Schedule | None:
    """Read `EPOCHS,ITERATIONS,VALIDATION_ITERATIONS`; None and "" give None, which asks for none.

    Raises:
        ValueError: if it is not three positive whole numbers.
    """
    if not text:
        return None
    try:
        epochs, iterations, validation_iterations = (int(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(_message(text)) from error
    if min(epochs, iterations, validation_iterations) < 1:
        raise ValueError(_message(text))
    return Schedule(epochs, iterations, validation_iterations)


def _message(text: str) -> str:
    return (
        f"{SCHEDULE_VARIABLE}={text!r} must be three positive whole numbers, "
        f"EPOCHS,ITERATIONS,VALIDATION_ITERATIONS, such as {Schedule()}"
    )


def schedule_file(fold: Path) -> Path:
    """Return the path of the file that records a fold's schedule."""
    return fold / _FILE


def read_schedule(fold: Path) -> Schedule | None:
    """Read the schedule that a fold was last trained with; None where nothing is recorded.

    Raises:
        CommandError: if the file holds something else.
    """
    path = schedule_file(fold)
    if not path.exists():
        return None
    content = read_json(path)
    numbers = [content.get(name) for name in Schedule._fields]
    # By `type`, as True is an int as well.
    if any(type(number) is not int or number < 1 for number in numbers):
        raise CommandError(
            f"{path} must hold the positive whole numbers {', '.join(Schedule._fields)}, but has "
            f"{content}; put the file back, or remove it and set {SCHEDULE_VARIABLE}"
        )
    return Schedule(*(content[name] for name in Schedule._fields))


def write_schedule(fold: Path, schedule: Schedule) -> None:
    """Write the schedule that a fold is trained with."""
    write_json(schedule_file(fold), schedule._asdict())
