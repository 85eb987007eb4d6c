"""Steps and work that have nothing to do with nnU-Net."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nnunet_attention.jobs.lock import Lock
from nnunet_attention.jobs.step import Step
from nnunet_attention.jobs.work import Work


@dataclass(frozen=True)
class MadeUpStep(Step):
    """Runs the command of its title, which makes the file of that name in its folder.

    Attributes:
        folder: it works there.
        title: its name.
        needs: names of steps.
        words: the command's arguments.
        group_name: its group.
    """

    folder: Path
    title: str
    needs: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    group_name: str = "group"
    kind: ClassVar[str] = "made-up"

    @property
    def group(self) -> str:
        return self.group_name

    @property
    def name(self) -> str:
        return self.title

    @property
    def command(self) -> tuple[str, ...]:
        return (self.title, *self.words)

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.title,)

    def place(self) -> Path:
        return self.folder / self.title

    @property
    def written_folders(self) -> tuple[Path, ...]:
        return (self.folder,)

    def lock(self) -> Lock:
        return Lock(self.folder / f".{self.title}.lock", self.title)

    @property
    def is_there(self) -> bool:
        return self.place().is_file()


@dataclass(frozen=True)
class DeviceStep(MadeUpStep):
    """One that takes a device, and can be watched."""

    takes_device: ClassVar[bool] = True
    stop_seconds: ClassVar[float] = 10.0

    def adoptable_commands(self) -> tuple[tuple[str, ...], ...]:
        return (self.command,)

    def is_done(self) -> bool:
        return self.is_there

    def is_safe_to_stop(self) -> bool:
        return not (self.folder / "busy").exists()

    def environment(self) -> dict[str, str]:
        return {"MADE_UP": self.title}


@dataclass(frozen=True)
class MomentStep(MadeUpStep):
    """One without a command."""

    @property
    def command(self) -> tuple[str, ...]:
        return ()

    def do(self) -> None:
        self.place().write_text("")


class MadeUpWork(Work):
    """Some steps; those whose files are there are done."""

    made_by = "a test"
    counted = "files"
    columns = ("file",)
    variables = ("MADE_UP",)

    def __init__(self, folder: Path, steps: list[MadeUpStep], depends_on: dict | None = None):
        self.folder = folder
        self.steps = steps
        self.dependence = depends_on or {}

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(step.group for step in self.steps))

    def missing_steps(self, groups: tuple[str, ...] | None = None) -> list[Step]:
        chosen = self.groups if groups is None else groups
        return [step for step in self.steps if step.group in chosen and not step.is_there]

    def device_steps(self) -> list[Step]:
        return [step for step in self.steps if step.takes_device]

    def depends_on(self) -> dict[str, dict]:
        return {group: dict(self.dependence) for group in self.groups}

    def check_unchanged(self, before: dict[str, dict]) -> None:
        (self.folder / "before.json").write_text(json.dumps(before))
