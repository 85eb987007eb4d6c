"""Lets one process at a time work on a folder, on one machine or on many.

A lock is a file that names its owner. It comes into being whole, by a hard link or a creation that
fails where there is one. What a killed process has left is taken over, on the same machine.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from nnunet_attention.errors import CommandError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Process start times are rounded differently by different kernels.
_SAME_START_SECONDS = 2.0


class LockedError(CommandError):
    """Somebody else works there."""


@dataclass(frozen=True)
class Owner:
    """Who holds a lock.

    Attributes:
        host: name of the machine.
        pid: of the process on it.
        started: when the process began, in seconds since the epoch; tells it from a later one
            with the same number.
        job: of SLURM; a job of an array with its number.
    """

    host: str
    pid: int
    started: float
    job: str | None = None

    @classmethod
    def this_process(cls) -> Owner:
        return cls(
            socket.gethostname(), os.getpid(), psutil.Process().create_time(), slurm_job_of_this()
        )

    def __str__(self) -> str:
        job = "" if self.job is None else f", SLURM job {self.job}"
        return f"process {self.pid} on {self.host}{job}"

    @property
    def is_gone(self) -> bool:
        """Whether it surely no longer runs."""
        if self.host == socket.gethostname():
            return not self._runs_here()
        if self.job is None:
            return False
        # A job that is requeued keeps its number and may come back on another machine.
        if self.job == slurm_job_of_this():
            return True
        queued = queued_jobs()
        return queued is not None and self.job not in queued

    def _runs_here(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return abs(process.create_time() - self.started) < _SAME_START_SECONDS
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True


def slurm_job_of_this() -> str | None:
    """The SLURM job that this process runs in, as squeue names it."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def queued_jobs() -> dict[str, str] | None:
    """States of this user's jobs in SLURM's queue; None where that cannot be found out."""
    try:
        done = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%i %T", "--me"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip())


class Lock:
    """A lock on what a file stands for.

    Examples:
        >>> with Lock(folder / ".lock", "folder").held():  # doctest: +SKIP
        ...     work_in(folder)
    """

    def __init__(self, path: Path, what: str):
        """Takes nothing yet.

        Args:
            path: of the lock's file.
            what: it protects, for messages.
        """
        self._path = path
        self._what = what
        self._mine: Owner | None = None

    def take(self) -> None:
        """Takes the lock, also from an owner that is gone.

        Raises:
            LockedError: if another process has it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        mine = Owner.this_process()
        with self._one_of_this_machine():
            if self._create(mine):
                self._mine = mine
                return
            owner = self.owner()
            if owner is not None and not owner.is_gone:
                raise LockedError(self._refusal(owner))
            # Only processes of this machine can think so, and of them one is here.
            self._path.unlink(missing_ok=True)
            if not self._create(mine):
                raise LockedError(self._refusal(self.owner()))
            self._mine = mine

    def release(self) -> None:
        """Gives the lock back; nothing happens where it is not ours."""
        if self._mine is not None and self.owner() == self._mine:
            self._path.unlink(missing_ok=True)
        self._mine = None

    def check_free(self) -> None:
        """Refuses as `take` would, and takes nothing.

        Raises:
            LockedError: if another process has it.
        """
        owner = self.owner()
        if owner is not None and not owner.is_gone and owner != self._mine:
            raise LockedError(self._refusal(owner))

    def owner(self) -> Owner | None:
        """Who has it; None where nobody has, or the file is no lock."""
        try:
            return Owner(**json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @contextmanager
    def held(self):
        """Takes the lock for a block."""
        self.take()
        try:
            yield self
        finally:
            self.release()

    def _create(self, owner: Owner) -> bool:
        text = json.dumps(asdict(owner), sort_keys=True) + "\n"
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        try:
            beside.write_text(text, encoding="utf-8")
            try:
                os.link(beside, self._path)
            except FileExistsError:
                return False
            except OSError:
                # No hard links here, as on some network folders.
                with self._path.open("x", encoding="utf-8") as file:
                    file.write(text)
            return True
        except FileExistsError:
            return False
        finally:
            beside.unlink(missing_ok=True)

    @contextmanager
    def _one_of_this_machine(self):
        """Keeps two processes of a machine from taking over the same lock."""
        if fcntl is None:
            yield
            return
        guard = self._path.with_name(f"{self._path.name}.guard")
        with guard.open("a") as file:
            with suppress(OSError):  # A network folder may not know such locks.
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _refusal(self, owner: Owner | None) -> str:
        since = ""
        with suppress(OSError):
            changed = time.localtime(self._path.stat().st_mtime)
            since = f" since {time.strftime('%Y-%m-%d %H:%M', changed)}"
        return (
            f"{self._what} is in use by {owner or 'somebody'}{since}; wait for it or stop it. If "
            f"it no longer runs, remove {self._path}"
        )
