"""Runs the missing stages, one by one, until all are done or the time is up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import ParseError

from benchmarks.gpu.work import Work
from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.leftovers import STEP_VARIABLE, end_processes, processes_of_steps
from nnunet_attention.jobs.lock import Lock
from nnunet_attention.jobs.process import LoggedProcess, last_lines, termination_as_interrupt

LIMIT_SECONDS = 480.0
_POLL_SECONDS = 0.1
# A command that is told to end may first finish writing a checkpoint.
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Stage:
    """Describes one command, and how its findings are read.

    Attributes:
        name: the name of the result's file.
        read: makes a result from the scratch folder, and raises if that is incomplete; commands
            write each finding whole, so that existing ones need not be measured again.
        command: name of an installed command and its arguments; none if reading is enough.
        variables: environment variables, in addition to the existing ones.
        expected_seconds: the stage is not begun if less time is left.
        goes_on: whether the command keeps its progress when it is told to end, which takes some
            seconds; it may take longer than the limit, and `expected_seconds` is the time that it
            needs to make progress.
    """

    name: str
    read: Callable[[Path], dict]
    command: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    expected_seconds: float = 60.0
    goes_on: bool = False


# The errors that a stage's `read` raises if its findings are incomplete.
_ABSENT = (OSError, CommandError, ParseError, KeyError, IndexError)


def run_stages(
    work: Work,
    stages: Callable[[Mapping[str, dict]], Iterable[Stage]],
    machine: Mapping,
    seconds_left: Callable[[], float],
    say: Callable[[str], None] = print,
) -> bool:
    """Run all stages without a result, in their order; those too long for the time left wait.

    Args:
        work: the folder; one process at a time works in it.
        stages: returns all stages, given the results so far, the most valuable first.
        machine: its description, which goes into every result.
        seconds_left: returns the seconds until everything must have ended.
        say: called with a text when a stage begins and when it ends.

    Returns:
        Whether nothing is left to do.

    Raises:
        CommandError: if another process works in the folder.
    """
    with termination_as_interrupt(), Lock(work.root / ".lock", f"-w {work.root}").held():
        _end_what_was_left(work)
        while True:
            finished = work.finished()
            missing = [stage for stage in stages(finished) if stage.name not in finished]
            if not missing:
                return True
            stage = next((stage for stage in missing if _fits(stage, seconds_left())), None)
            if stage is None:
                names = ", ".join(stage.name for stage in missing)
                say(f"no time left for: {names}")
                return False
            if not _run(work, stage, machine, seconds_left, say):
                return False


def _fits(stage: Stage, seconds: float) -> bool:
    if not stage.command:
        return seconds > 0
    return seconds > stage.expected_seconds + (_STOP_SECONDS if stage.goes_on else 0)


def _run(work: Work, stage: Stage, machine: Mapping, seconds_left, say) -> bool:
    """Run a stage, and tell whether it ended, good or bad, before the time was up."""
    scratch = work.scratch(stage.name)
    scratch.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    took = ended = None
    reading = None if stage.goes_on else _read(stage, scratch)
    if reading is None:
        if not stage.command:
            raise CommandError(f"{stage.name}: nothing to read in {scratch}")
        say(f"{stage.name} ...")
        ended = _do(work, stage, began, seconds_left)
        if ended is None:
            say(f"{stage.name}: stopped, the time is up")
            return False
        took = time.monotonic() - began
        reading = _read(stage, scratch)
    record = {"machine": dict(machine), "seconds": took, "ok": reading is not None}
    if reading is None:
        record["reason"] = ended
        record["log_end"] = last_lines(work.log(stage.name), 30)
        say(f"{stage.name}: FAILED, {ended}; full output: {work.log(stage.name)}")
    else:
        record["found"] = reading
        before = ", was measured before" if stage.command else ""
        say(f"{stage.name}: done" + (f" in {took:.0f} s" if took else before))
    work.finish(stage.name, record)
    return True


def _read(stage: Stage, scratch: Path) -> dict | None:
    try:
        return stage.read(scratch)
    except _ABSENT:
        return None


def _do(work: Work, stage: Stage, began: float, seconds_left) -> str | None:
    """Run the command, and return how it ended; None if it was stopped because time was up."""
    variables = {**os.environ, **stage.variables, STEP_VARIABLE: _mark(work)}
    process = LoggedProcess(stage.command, variables, work.log(stage.name))
    try:
        while process.poll() is None:
            if seconds_left() < (_STOP_SECONDS if stage.goes_on else 0):
                _ask_to_stop(process)
                return None
            if not stage.goes_on and time.monotonic() - began > LIMIT_SECONDS:
                return f"took more than {LIMIT_SECONDS:.0f} s"
            time.sleep(_POLL_SECONDS)
        return f"exit code {process.poll()}"
    finally:
        process.stop()


def _ask_to_stop(process: LoggedProcess) -> None:
    """Let the command end in good order; it has to end its own children itself."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + 0.8 * _STOP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _mark(work: Work) -> str:
    return f"benchmarks.gpu {work.root}"


def _end_what_was_left(work: Work) -> None:
    """End the command of a run that was killed: two at a time would disturb each other's times."""
    if left := processes_of_steps().get(_mark(work)):
        end_processes(left)
