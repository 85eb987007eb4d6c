"""Knows every path in the folder of a launch."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

# Less than any checkpoint takes: no training can be saved in this.
_NEARLY_FULL_BYTES = 100e6


@dataclass(frozen=True)
class Output:
    """Says where logs, manifest and leaderboard go.

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
        """Return the folder with a JSON file for each attempt, written by its process."""
        return self.root / "attempts"

    @property
    def leaderboard(self) -> Path:
        return self.root / "leaderboard"

    @property
    def slurm(self) -> Path:
        """Return submitit's folder."""
        return self.root / "slurm"

    def log(self, step_name: str) -> Path:
        """Return the file with the output of a step's commands, over all attempts."""
        return self.root / "logs" / f"{file_name_of(step_name)}.log"


def file_name_of(step_name: str) -> str:
    """Turn a step's name into a part of a file name."""
    return re.sub(r"[^\w.-]+", "_", step_name)


def full_disk_note(folders: list[Path]) -> str:
    """Name a folder on a disk without space; empty if there is none."""
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
