"""Defines a step: a command to run, and all that is needed to run it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nnunet_attention.jobs.lock import Lock

# Takes a sentence for people.
Note = Callable[[str], None]


@dataclass(frozen=True)
class Progress:
    """Says in words how far a running step is.

    Attributes:
        state: what it does, for a table.
        numbers: the cells of the table's columns that `Work.number_columns` names.
        line: all of it, where there is no table.
    """

    state: str
    numbers: tuple[str, ...]
    line: str


class Step(ABC):
    """Something to be done, by a command of its own or, where it is quick, by this process.

    Subclasses are small frozen dataclasses, which travel to other machines by pickle. The default
    methods suit a command that may be ended at any moment and begun again.

    Attributes:
        kind: goes into records and the names of jobs.
        takes_device: whether the step gets a device for itself; only such steps are counted, and
            once one has begun, nothing that they depend on may change.
        stop_seconds: for how long at most a stop waits until `is_safe_to_stop`.
        needs: names of the missing steps that come first.
    """

    kind: ClassVar[str]
    takes_device: ClassVar[bool] = False
    stop_seconds: ClassVar[float] = 0.0
    needs: tuple[str, ...]

    @property
    @abstractmethod
    def group(self) -> str:
        """Return the group, whose missing steps are listed anew after one of them has ended."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Return the step's name, which is for people, and unique."""

    @property
    @abstractmethod
    def command(self) -> tuple[str, ...]:
        """Return the name of an installed command and its arguments; empty where `do` does it."""

    @abstractmethod
    def place(self) -> Path:
        """Return the folder that the step works in."""

    @abstractmethod
    def lock(self) -> Lock:
        """Return the lock on what nobody else may do while the step runs."""

    @property
    @abstractmethod
    def cells(self) -> tuple[str, ...]:
        """Return what the step is, for the columns that `Work.columns` names."""

    @property
    def mark(self) -> str:
        """Return the mark of its processes, the same for steps that must not run together."""
        return str(self.place())

    @property
    def state_before(self) -> str | None:
        """Return, for records, how far it has come already; None where it has no such states."""
        return None

    @property
    def manner(self) -> str:
        """Return in words how it begins, such as "goes on"; empty where it begins as always."""
        return ""

    @property
    def remark(self) -> str:
        """Return the remark after it in a list of missing steps; may be empty."""
        return ""

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """Return the folders that it writes in, whose disks it may fill."""
        return (self.place(),)

    def environment(self) -> dict[str, str]:
        """Return the variables that its command gets beside those that all commands get."""
        return {}

    def cleared(self, note: Note) -> Step | None:
        """Clear up after earlier attempts.

        Args:
            note: gets a sentence about each thing that was found and done.

        Returns:
            The step as it is to be run now; None where it turns out to be done.
        """
        return self

    def do(self) -> None:
        """Do the step; called where it has no command."""
        raise NotImplementedError(f"{self.name} has neither a command nor something to do")

    def before_start(self) -> None:  # noqa: B027  # most have nothing to do here
        """Prepare the folders for the command, which starts now."""

    def after(self) -> None:  # noqa: B027  # most have nothing to do here
        """Finish what the command has done without an error."""

    def is_done(self) -> bool:
        """Tell whether all that it makes is visible here; True where only a new list can tell."""
        return True

    def is_safe_to_stop(self) -> bool:
        """Tell whether its processes, which are paused, lose nothing if they are ended now."""
        return True

    def adoptable_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return the commands that may go on if a killed launcher has left them running."""
        return ()

    def signature(self) -> frozenset[tuple[str, int, int]]:
        """Return path, size and time of all files that change while its command progresses."""
        return frozenset()

    def longest_silence_seconds(self, since: float) -> float:
        """Return how long a command that computes may go without changing a file.

        Args:
            since: when it was begun, in seconds since the epoch.
        """
        return float("inf")

    def progress(self, since: float) -> Progress | None:
        """Return how far it is; None where only the elapsed time is known.

        Args:
            since: when it was begun, in seconds since the epoch.
        """
        return None
