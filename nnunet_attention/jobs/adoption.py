"""Finds trainings that a killed launcher has left running, and tells whether they move."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from nnunet_attention.jobs.process import processes_of_group
from nnunet_attention.nnunet.fold_progress import read_progress
from nnunet_attention.nnunet.fold_state import FoldRun, FoldState
from nnunet_attention.nnunet.folders import Folders

# Without a new line, checkpoint or prediction, and nearly without computing.
_STILL_SECONDS = 600.0
# Of one core. Processes that wait for each other look around now and then; whoever trains, on a
# GPU too, needs many times as much.
_IDLE_SHARE = 0.02
# A training that computes has to end an epoch in this many times the epochs before, and at least in
# this time: it may be busy waiting for a device that does not answer.
_MOST_EPOCHS, _MOST_QUIET_SECONDS = 10, 1800.0
_LOOK_SECONDS = 5.0


def command_that_runs(
    run: FoldRun, processes: Sequence[psutil.Process]
) -> tuple[psutil.Process, tuple[str, ...]] | None:
    """The process among those of a fold that trains or validates it as would be begun now.

    Returns:
        the leader of the group, and its command as `FoldRun.command` gives it; None where there is
        none, or one with other options, or several.
    """
    if os.name == "nt":
        return None  # There are no groups to lead.
    found = []
    wanted = [run.command(state) for state in FoldState]
    for process in processes:
        try:
            line = process.cmdline()
            leads = os.getpgid(process.pid) == process.pid
            alive = leads and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            continue
        if not alive:
            continue
        for command in wanted:
            # Before its arguments stand an interpreter, or what starts a container.
            if tuple(line[1 - len(command) :]) == command[1:]:
                found.append((process, command))
                break
    return found[0] if len(found) == 1 else None


class Movement:
    """Whether a fold's process gets on with its work."""

    def __init__(self, run: FoldRun, folders: Folders, leader: psutil.Process):
        self._run, self._folders = run, folders
        self._leader = leader
        self._still = False
        now = self._next_look = time.monotonic()
        self._files_changed = now
        self._files = self._signature()
        self._begin_window(now)

    def has_stopped(self) -> bool:
        """Whether nothing has moved for so long that nothing will."""
        now = time.monotonic()
        if self._still or now < self._next_look:
            return self._still
        self._next_look = now + _LOOK_SECONDS
        files = self._signature()
        if files != self._files:
            self._files, self._files_changed = files, now
            self._begin_window(now)
        elif now - self._window >= _STILL_SECONDS:
            if self._computed() < _IDLE_SHARE * (now - self._window):
                self._still = True
            else:
                self._still = now - self._files_changed > self._most_quiet_seconds()
                self._begin_window(now)
        return self._still

    def _begin_window(self, now: float) -> None:
        self._window, self._cpu = now, _cpu_seconds(self._leader.pid)

    def _computed(self) -> float:
        """Seconds of a core since the window began; what has ended meanwhile is left out."""
        return sum(
            seconds - self._cpu.get(pid, 0.0)
            for pid, seconds in _cpu_seconds(self._leader.pid).items()
        )

    def _most_quiet_seconds(self) -> float:
        progress = read_progress(self._run, self._folders, self._leader.create_time())
        if progress.phase != "training" or progress.epoch_seconds is None:
            # How long a first epoch takes, or a case, nobody knows.
            return float("inf")
        return max(_MOST_QUIET_SECONDS, _MOST_EPOCHS * progress.epoch_seconds)

    def _signature(self) -> frozenset[tuple[str, int, int]]:
        """Of all files that nnU-Net writes in a fold."""
        fold = self._run.folder(self._folders)
        return frozenset(_files_in(fold) | _files_in(fold / "validation"))


def _files_in(folder: Path) -> set[tuple[str, int, int]]:
    found = set()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                status = entry.stat()
                found.add((entry.path, status.st_size, status.st_mtime_ns))
    return found


def _cpu_seconds(leader: int) -> dict[int, float]:
    """By process of the group, those of children that have ended included."""
    found = {}
    for process in processes_of_group(leader):
        with suppress(psutil.Error):
            found[process.pid] = sum(process.cpu_times()[:2])
    return found
