"""Schedules of short trainings: the variable that sets one, and the file beside the checkpoints.

The file records the schedule, so that a resumed training keeps it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from nnunet_attention.nnunet.training_records import is_whole, read_record, write_record

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
    content = read_record(
        schedule_file(fold),
        lambda content: all(is_whole(content.get(name), 1) for name in Schedule._fields),
        wanted=f"the positive whole numbers {', '.join(Schedule._fields)}",
        if_removed=f"the training then goes on with {SCHEDULE_VARIABLE}",
    )
    return None if content is None else Schedule(*(content[name] for name in Schedule._fields))


def write_schedule(fold: Path, schedule: Schedule) -> None:
    """Write the schedule that a fold is trained with."""
    write_record(schedule_file(fold), schedule._asdict())
