"""Finds and ends the processes of steps that killed launchers have left running."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import psutil

from nnunet_attention.jobs.process import is_alive
from nnunet_attention.jobs.step import Step

# Set for a step's processes, to recognise those that a killed launcher has left running.
STEP_VARIABLE = "NNUNET_ATTENTION_CROSSVAL_STEP"
# From the request to end to the kill.
_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05


def processes_of_steps() -> dict[str, list[psutil.Process]]:
    """Find the processes of this machine that were started for steps, whoever started them.

    Returns:
        the processes by the step's mark.
    """
    processes: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(STEP_VARIABLE)
        except (psutil.Error, OSError):
            continue  # Ended, or another person's.
        if mark is not None and process.pid != os.getpid():
            processes.setdefault(mark, []).append(process)
    return processes


def end_leftovers(steps: Sequence[Step]) -> list[str]:
    """End leftover processes of killed launchers for steps that nobody runs, even finished ones.

    Args:
        steps: those whose processes are not adopted.

    Returns:
        what was ended, for people.
    """
    notes = []
    processes = processes_of_steps()
    for step in steps:
        left = processes.get(step.mark, [])
        owner = step.lock().owner() if left else None
        if left and (owner is None or owner.is_gone):
            end_processes(left)
            notes.append(ended_note(step.name, left))
    return notes


def ended_note(name: str, processes: Sequence[psutil.Process]) -> str:
    """Return the sentence about leftovers of a step that were ended."""
    numbers = ", ".join(str(process.pid) for process in processes)
    return f"{name}: ended {len(processes)} process(es) left behind by a killed launcher: {numbers}"


def end_processes(processes: Sequence[psutil.Process]) -> None:
    """Ask processes to end, and kill those that do not."""
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            try:
                ask(process)
            except psutil.Error:
                continue
        deadline = time.monotonic() + _GRACE_SECONDS
        # Not psutil.wait_procs, to which a zombie is alive: in a container nobody may collect it.
        while (processes := list(filter(is_alive, processes))) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
