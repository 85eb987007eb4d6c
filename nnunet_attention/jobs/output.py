"""The folder of a cross-validation: every path in it."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

# Less than any checkpoint: nothing can be trained into this.
_NEARLY_FULL_BYTES = 100e6


@dataclass(frozen=True)
class Output:
    """Where logs, manifest and leaderboard go.

    Attributes:
        root: absolute path.
    """

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.json"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def attempts(self) -> Path:
        """A JSON file for each run of a step; whoever runs it writes it."""
        return self.root / "attempts"

    @property
    def leaderboard(self) -> Path:
        return self.root / "leaderboard"

    @property
    def slurm(self) -> Path:
        """Submitit's folder."""
        return self.root / "slurm"

    def log(self, step_name: str) -> Path:
        """All that a step's commands have said, over all attempts."""
        return self.root / "logs" / f"{file_name_of(step_name)}.log"


def file_name_of(step_name: str) -> str:
    """A step's name as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", step_name)


def full_disk_note(folders: list[Path]) -> str:
    """Names a folder on a disk without space; empty if there is none."""
    for folder in folders:
        try:
            free = shutil.disk_usage(folder).free
        except OSError:
            continue
        if free < _NEARLY_FULL_BYTES:
            return (
                f"the disk of {folder} is full ({free / 1e6:.0f} MB free): make room and start "
                "again, finished work is kept"
            )
    return ""
