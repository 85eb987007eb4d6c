"""Finds commands that a killed launcher has left running, and tells whether they progress."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from nnunet_attention.jobs.process import processes_of_group
from nnunet_attention.jobs.step import Step

# Without a change in the step's files, and nearly without computing.
_STILL_SECONDS = 600.0
# Of one core. Processes that wait for each other poll now and then; a process that works, even on
# a GPU, needs many times as much.
_IDLE_SHARE = 0.02
_LOOK_SECONDS = 5.0


def command_that_runs(
    commands: Sequence[tuple[str, ...]], processes: Sequence[psutil.Process]
) -> tuple[psutil.Process, tuple[str, ...]] | None:
    """Find the process of a step that runs one of the commands it would be begun with now.

    Args:
        commands: each a name and its arguments.
        processes: all of the step.

    Returns:
        the leader of the group, and its command as in `commands`; None where there is none, or
        one with other options, or several.
    """
    if os.name == "nt":
        return None  # There are no process groups here.
    leaders = []
    for process in processes:
        try:
            line = process.cmdline()
            leads = os.getpgid(process.pid) == process.pid
            alive = leads and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, OSError):
            continue
        if not alive:
            continue
        for command in commands:
            # Before its arguments stand an interpreter, or what starts a container.
            if tuple(line[1 - len(command) :]) == command[1:]:
                leaders.append((process, command))
                break
    return leaders[0] if len(leaders) == 1 else None


class Movement:
    """Watches whether a step's process makes progress."""

    def __init__(self, step: Step, leader: psutil.Process):
        self._step = step
        self._leader = leader
        self._still = False
        now = self._next_look = time.monotonic()
        self._files_changed = now
        self._files = step.signature()
        self._begin_window(now)

    def has_stopped(self) -> bool:
        """Tell whether there has been no progress for so long that there will be none."""
        now = time.monotonic()
        if self._still or now < self._next_look:
            return self._still
        self._next_look = now + _LOOK_SECONDS
        files = self._step.signature()
        if files != self._files:
            self._files, self._files_changed = files, now
            self._begin_window(now)
        elif now - self._window >= _STILL_SECONDS:
            if self._computed() < _IDLE_SHARE * (now - self._window):
                self._still = True
            else:
                longest = self._step.longest_silence_seconds(self._leader.create_time())
                self._still = now - self._files_changed > longest
                self._begin_window(now)
        return self._still

    def _begin_window(self, now: float) -> None:
        self._window, self._cpu = now, _cpu_seconds(self._leader.pid)

    def _computed(self) -> float:
        """Return the CPU seconds since the window began, without those of ended processes."""
        return sum(
            seconds - self._cpu.get(pid, 0.0)
            for pid, seconds in _cpu_seconds(self._leader.pid).items()
        )


def _cpu_seconds(leader: int) -> dict[int, float]:
    """Return the CPU seconds of each process of a group, including its ended children's."""
    seconds = {}
    for process in processes_of_group(leader):
        with suppress(psutil.Error):
            seconds[process.pid] = sum(process.cpu_times()[:2])
    return seconds
