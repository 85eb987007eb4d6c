"""The folder of a cross-validation: every path in it."""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.errors import CommandError

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
        """submitit's folder."""
        return self.root / "slurm"

    def log(self, step_name: str) -> Path:
        """All that a step's commands have said, over all attempts."""
        return self.root / "logs" / f"{file_name_of(step_name)}.log"


def file_name_of(step_name: str) -> str:
    """A step's name as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", step_name)


def require_writable(folder: Path) -> None:
    """Tries a folder out, and makes it if it is not there.

    Raises:
        CommandError: if nothing can be written there.
    """
    probe = folder / f".nnunet-attention.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # More than a file's name: a full disk still takes empty files.
        probe.write_bytes(b"0" * 65536)
    except OSError as error:
        raise CommandError(f"cannot write in {folder}: {_reason(error)}") from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


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


def _reason(error: OSError) -> str:
    remedies = {
        errno.ENOSPC: "the disk is full; make room and start again, finished work is kept",
        errno.EDQUOT: "the quota is used up; make room and start again, finished work is kept",
        errno.EROFS: "the file system is read-only; choose another folder or mount it for writing",
        errno.EACCES: "permission denied; choose another folder or ask its owner",
        errno.ENOTDIR: "part of the path is a file; choose another folder",
        errno.EEXIST: "there is a file of this name; choose another folder",
    }
    return remedies.get(error.errno, error.strerror or str(error))
