"""Defines work: a set of steps, and what a launch needs to know about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from nnunet_attention.jobs.lock import Lock
from nnunet_attention.jobs.step import Step


class Work(ABC):
    """All that is to be done, with what is needed to run it.

    Attributes:
        made_by: says in the manifest what wrote it.
        packages: their versions go into the manifest.
        variables: the prefixes of names of variables that go into the manifest.
        counted: the plural of what takes a device, such as "folds".
        columns: the headings for `Step.cells`.
        number_columns: the headings for `Progress.numbers`.
    """

    made_by: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    variables: ClassVar[tuple[str, ...]] = ()
    counted: ClassVar[str] = "steps"
    columns: ClassVar[tuple[str, ...]] = ("step",)
    number_columns: ClassVar[tuple[str, ...]] = ()

    @property
    def seeds(self) -> dict[str, str]:
        """Return for the manifest what is seeded, and with what."""
        return {}

    @property
    @abstractmethod
    def groups(self) -> tuple[str, ...]:
        """Return the groups of all steps, the first ones first."""

    @abstractmethod
    def missing_steps(self, groups: tuple[str, ...] | None = None) -> list[Step]:
        """List what is to be done, in an order in which it can be done.

        Args:
            groups: look at these only.

        Raises:
            CommandError: if it cannot be done, or files cannot be read.
        """

    @abstractmethod
    def device_steps(self) -> list[Step]:
        """List every step that takes a device, those that are done included."""

    def notes(self) -> list[str]:
        """Return sentences for people, to be said before the first step begins."""
        return []

    def reading_locks(self) -> list[Lock]:
        """Return the locks held by writers of the files that `missing_steps` reads."""
        return []

    def depends_on(self) -> dict[str, dict]:
        """Return by group what must not change once a step that takes a device has begun."""
        return {}

    def check_unchanged(self, before: dict[str, dict]) -> None:  # noqa: B027  # nothing may depend
        """Refuse to go on if what the steps depend on has changed.

        Args:
            before: what `depends_on` returned when the steps began.

        Raises:
            CommandError: if it has, with the differences.
        """
