"""Lets one process at a time work on a folder, on one machine or on many.

A lock is a file that names its owner. It is created whole, by a hard link or by a creation that
fails if the file exists: network file systems serialise these for all machines, which they need not
do for `flock`.

A stale lock, whose owner is gone, is taken over by the process that holds the takeover lock, a file
of the same kind whose name is made from the content of the stale one. Once that is held, the stale
file is read again, and is replaced only if it is still the same. A process that comes late finds
either the takeover lock or other content. A process that dies in between leaves a takeover lock,
which is taken over in the same way.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from nnunet_attention.errors import CommandError

# Process start times are rounded differently by different kernels.
_SAME_START_SECONDS = 2.0
# Without hard links a lock is empty for a moment; one that stays so was left by a kill.
_UNREADABLE_SECONDS = 60.0
# Each further look means that another process has changed the lock since the one before.
_MOST_LOOKS = 20


class LockedError(CommandError):
    """Says that another process is working there."""


@dataclass(frozen=True)
class Owner:
    """Says who holds a lock.

    Attributes:
        host: name of the machine.
        pid: number of the process on it.
        started: when the process began, in seconds since the epoch; tells it from a later one
            with the same number.
        job: SLURM's job; for a job of an array, with its number.
    """

    host: str
    pid: int
    started: float
    job: str | None = None

    @classmethod
    def this_process(cls) -> Owner:
        """Return this process as an owner."""
        return cls(
            socket.gethostname(), os.getpid(), psutil.Process().create_time(), slurm_job_of_this()
        )

    def __str__(self) -> str:
        job = "" if self.job is None else f", SLURM job {self.job}"
        return f"process {self.pid} on {self.host}{job}"

    @property
    def is_gone(self) -> bool:
        """Tell whether it certainly no longer runs."""
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
    """Return the SLURM job that this process runs in, as squeue names it."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def queued_jobs() -> dict[str, str] | None:
    """Return the states of this user's jobs in SLURM's queue; None where it does not answer."""
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
    """Locks whatever a file stands for.

    Examples:
        >>> with Lock(folder / ".lock", "folder").held():  # doctest: +SKIP
        ...     work_in(folder)
    """

    def __init__(self, path: Path, what: str):
        """Take nothing yet.

        Args:
            path: the lock's file.
            what: the thing that it protects, for messages.
        """
        self._path = path
        self._what = what
        self._mine: Owner | None = None

    def take(self) -> None:
        """Take the lock, even from an owner that is gone.

        Raises:
            LockedError: if another process has it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        mine = Owner.this_process()
        text = json.dumps(asdict(mine), sort_keys=True) + "\n"
        for _ in range(_MOST_LOOKS):
            if self._acquire(self._path, text):
                self._mine = mine
                return
        raise LockedError(self._refusal(self.owner()))

    def release(self) -> None:
        """Release the lock; do nothing if it is not ours."""
        if self._mine is not None and self.owner() == self._mine:
            # A lock that cannot be removed is taken over later; an earlier error matters more.
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        self._mine = None

    def check_free(self) -> None:
        """Refuse as `take` would, but take nothing.

        Raises:
            LockedError: if another process has it.
        """
        owner = self.owner()
        if owner is not None and not owner.is_gone and owner != self._mine:
            raise LockedError(self._refusal(owner))

    def owner(self) -> Owner | None:
        """Return who has it; None where nobody has, or the file is no lock."""
        return _owner_in(_content(self._path))

    @contextmanager
    def held(self) -> Iterator[Lock]:
        """Hold the lock inside the `with` block."""
        self.take()
        try:
            yield self
        finally:
            self.release()

    def _acquire(self, path: Path, text: str) -> bool:
        """Make a lock or a takeover lock ours; False if it has changed meanwhile.

        Raises:
            LockedError: if another process has it.
        """
        if _create(path, text):
            return True
        before = _content(path)
        if before is None:
            return False
        if not _is_left(path, before):
            raise LockedError(self._refusal(_owner_in(before)))
        right = self._takeover(path, before)
        if not self._acquire(right, text):
            return False
        try:
            # Another process may have taken it over meanwhile, and released the takeover lock.
            if _content(path) != before or not (_owner_in(before) or _is_left(path, before)):
                return False
            _replace(path, text)
        finally:
            with suppress(OSError):
                right.unlink(missing_ok=True)
        if path == self._path:
            self._remove_takeovers()
        return True

    def _takeover(self, path: Path, content: bytes) -> Path:
        digest = hashlib.sha256(path.name.encode() + b"\0" + content).hexdigest()[:16]
        return self._path.with_name(f"{self._path.name}.{digest}.takeover")

    def _remove_takeovers(self) -> None:
        """Remove the takeover locks of processes that died; nobody needs them any more."""
        with suppress(OSError):
            for path in self._path.parent.iterdir():
                if path.name.startswith(f"{self._path.name}.") and path.suffix == ".takeover":
                    path.unlink(missing_ok=True)

    def _refusal(self, owner: Owner | None) -> str:
        since = ""
        with suppress(OSError):
            changed = time.localtime(self._path.stat().st_mtime)
            since = f" since {time.strftime('%Y-%m-%d %H:%M', changed)}"
        return (
            f"{self._what} is in use by {owner or 'somebody'}{since}; wait for it or stop it. If "
            f"it is no longer running, remove {self._path}"
        )


def _content(path: Path) -> bytes | None:
    """Return what is in a file; None where there is no such file."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _owner_in(content: bytes | None) -> Owner | None:
    """Return the owner that a lock's content names; None where it is no lock's."""
    try:
        return Owner(**json.loads(content or b""))
    except (ValueError, TypeError):
        return None


def _is_left(path: Path, content: bytes) -> bool:
    """Tell whether a lock's owner is gone; an unreadable lock may still be being written."""
    owner = _owner_in(content)
    if owner is not None:
        return owner.is_gone
    with _written(path, "") as probe, suppress(OSError):
        # By the file system's clock, which is not ours.
        return probe.stat().st_mtime - path.stat().st_mtime > _UNREADABLE_SECONDS
    return False


@contextmanager
def _written(path: Path, text: str) -> Iterator[Path]:
    """Yield a file beside another that holds a text, and remove it afterwards."""
    # Processes on other machines can have the same process ID.
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        beside.write_text(text, encoding="utf-8")
        yield beside
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _create(path: Path, text: str) -> bool:
    """Write a file that is not there yet; False if it is."""
    with _written(path, text) as beside:
        try:
            os.link(beside, path)
        except FileExistsError:
            # A network disk may make the link, lose its answer, and be asked again.
            return beside.stat().st_nlink > 1
        except OSError:
            pass  # No hard links here, as on some network folders.
        else:
            return True
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(text)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def _replace(path: Path, text: str) -> None:
    with _written(path, text) as beside:
        os.replace(beside, path)
