"""Runs one step once: locks, clears up after earlier attempts, starts, watches and records.

A step that a killed launcher has left running may be watched to its end, not begun again.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar

import psutil

from nnunet_attention.errors import CommandError
from nnunet_attention.files import write_json
from nnunet_attention.jobs.adoption import Movement, command_that_runs
from nnunet_attention.jobs.leftovers import (
    STEP_VARIABLE,
    end_processes,
    ended_note,
    processes_of_steps,
)
from nnunet_attention.jobs.lock import slurm_job_of_this
from nnunet_attention.jobs.output import Output, file_name_of, full_disk_note
from nnunet_attention.jobs.process import AdoptedProcess, LoggedProcess, last_lines
from nnunet_attention.jobs.step import Step

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Result:
    """Tells how an attempt ended.

    Attributes:
        ok: the command ended without an error.
        message: of a failure, with the end of the log.
        seconds: wall time.
        exit_code: None where there was no command.
    """

    ok: bool
    message: str
    seconds: float
    exit_code: int | None = None


@dataclass
class Attempt:
    """Makes one attempt at a step, in a process of its own.

    Attributes:
        step: as it was listed.
        output: for log and record.
        variables: the environment of the step's command, except for what the step adds.
        device: for people, such as "GPU 1".
        ignored_signals: the command's processes are not ended by these.
        adopts: whether to watch what a killed launcher has left running, instead of ending it.
        notes: what was found and done before the start, or meanwhile.
    """

    step: Step
    output: Output
    variables: Mapping[str, str]
    device: str = ""
    ignored_signals: tuple[signal.Signals, ...] = ()
    adopts: bool = False
    notes: list[str] = field(default_factory=list)
    waits: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.started = time.time()
        self._process: LoggedProcess | AdoptedProcess | None = None
        self._movement: Movement | None = None
        self._result: Result | None = None
        self._lock = self.step.lock()
        self._record: _Record | None = None

    @property
    def adopted(self) -> bool:
        """Tell whether the running command was begun by a launcher that is gone."""
        return self._movement is not None

    def start(self) -> None:
        """Start the step's command, or do the step if it has none; `poll` reports failures."""
        try:
            self._lock.take()
            if not self._adopt():
                self._begin()
        except (CommandError, OSError) as error:
            self._fail_to_start(error)

    def poll(self) -> Result | None:
        """Return how it ended; None while it runs."""
        if self._result is not None or self._process is None:
            return self._result
        if isinstance(self._process, AdoptedProcess):
            self._poll_adopted(self._process)
        elif self._process.poll() is not None:
            # A crashed command may leave workers behind.
            exit_code = self._process.stop()
            if exit_code == 0:
                self.step.after()
            message = "" if exit_code == 0 else self.failure(exit_code)
            self._end(Result(exit_code == 0, message, self._seconds(), exit_code))
        return self._result

    def stop(self) -> None:
        """End the step's processes at a moment when they lose nothing."""
        if self._process is not None and self._result is None:
            exit_code = self._stop_safely(self._process)
            self._end(Result(False, "stopped", self._seconds(), exit_code))

    def failure(self, exit_code: int) -> str:
        """Say how a command failed, where its log is, and what the log's last lines are."""
        how = f"failed with exit code {exit_code}"
        if exit_code < 0:
            how = f"was ended by {signal.Signals(-exit_code).name}"
            if exit_code == -signal.SIGKILL:
                how += " (by somebody, or by the system because memory ran out)"
        log = self.output.log(self.step.name)
        note = full_disk_note([self.output.root, *self.step.written_folders])
        return "\n".join(
            [
                f"{self.step.name} {how}; its output is in {log}",
                last_lines(log),
                *([note] * bool(note)),
            ]
        )

    def _begin(self) -> None:
        """Start what is left to do.

        Raises:
            CommandError: if it cannot be started.
            OSError: likewise.
        """
        self._end_left_processes()
        step = self.step.cleared(self.notes.append)
        if step is None:
            self._end(Result(True, "", 0.0))
            return
        self._begin_record(step, step.command)
        if not step.command:
            step.do()
            self._end(Result(True, "", self._seconds()))
            return
        step.before_start()
        variables = {**self.variables, **step.environment(), STEP_VARIABLE: self.step.mark}
        self._process = LoggedProcess(
            step.command, variables, self.output.log(step.name), self.ignored_signals
        )

    def _fail_to_start(self, error: Exception) -> None:
        message = f"{self.step.name} cannot be started: {error}"
        self._end(Result(False, message, self._seconds()))

    def _adopt(self) -> bool:
        """Watch a command that a killed launcher has left running; tell whether there is one."""
        commands = self.step.adoptable_commands() if self.adopts else ()
        if not commands:
            return False
        running = command_that_runs(commands, processes_of_steps().get(self.step.mark, []))
        if running is None:
            return False
        leader, command = running
        try:
            self.started = leader.create_time()
            self._movement = Movement(self.step, leader)
        except psutil.NoSuchProcess:
            return False
        self._process = AdoptedProcess(leader)
        since = datetime.fromtimestamp(self.started).strftime("%Y-%m-%d %H:%M")
        self.notes.append(
            f"{self.step.name} has been running since {since} as process {leader.pid}, whose "
            "launcher is gone; it keeps running, and is watched from here"
        )
        self._begin_record(self.step, command)
        return True

    def _poll_adopted(self, process: AdoptedProcess) -> None:
        ended = process.poll() is not None
        if not ended and not (self._movement and self._movement.has_stopped()):
            return
        name = self.step.name
        if ended:
            process.stop()
            note = f"{name}: process {process.pid} has ended"
        else:
            self._stop_safely(process)
            note = f"{name}: process {process.pid} stopped making progress and was ended"
        self._movement = self._process = None
        try:
            if self.step.is_done():
                self._end(Result(True, "", self._seconds()))
                return
            # How it ended is unknown. Another attempt shows what is wrong, if anything.
            self.notes.append(f"{note}; the {self.step.kind} continues from what is there")
            self._end_record(Result(False, note, self._seconds()))
            self.started = time.time()
            self._begin()
        except (CommandError, OSError) as error:
            self._fail_to_start(error)

    def _end_left_processes(self) -> None:
        left = processes_of_steps().get(self.step.mark, [])
        if left:
            end_processes(left)
            self.notes.append(ended_note(self.step.name, left))

    def _stop_safely(self, process: LoggedProcess | AdoptedProcess) -> int | None:
        """End the processes once the step says that they lose nothing, or its time is up."""
        deadline = time.monotonic() + self.step.stop_seconds
        while process.poll() is None and time.monotonic() < deadline:
            # Otherwise they might begin something between the check and the stop.
            with process.paused():
                if self.step.is_safe_to_stop():
                    return process.stop()
            time.sleep(_POLL_SECONDS)
        return process.stop()

    def _seconds(self) -> float:
        return time.time() - self.started

    def _begin_record(self, step: Step, command: tuple[str, ...]) -> None:
        moment = datetime.fromtimestamp(self.started, timezone.utc)
        name = f"{file_name_of(step.name)}.{moment:%Y%m%dT%H%M%S}.{os.getpid()}.json"
        content: dict[str, object] = {
            "step": step.name,
            "kind": step.kind,
            "command": list(command),
            "state_before": step.state_before,
            "started": moment.isoformat(timespec="seconds"),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "slurm_job": slurm_job_of_this(),
            "device": self.device,
            "notes": list(self.notes),
            "log": str(self.output.log(step.name)),
            "ended": None,
            "ok": None,
            "exit_code": None,
            "seconds": None,
        }
        self._record = _Record(self.output.attempts / name, content)
        self._write_record(self._record)

    def _end(self, result: Result) -> None:
        self._result = result
        self._lock.release()
        self._end_record(result)

    def _end_record(self, result: Result) -> None:
        if self._record is not None:
            self._record.content |= {
                "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "ok": result.ok,
                "exit_code": result.exit_code,
                "seconds": round(result.seconds, 2),
                "message": result.message,
            }
            self._write_record(self._record)

    def _write_record(self, record: _Record) -> None:
        try:
            record.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(record.path, record.content)
        except OSError as error:
            # A disk that is full for a moment must not end a step of days.
            self.notes.append(f"{record.path} cannot be written: {error}")


@dataclass
class _Record:
    """Holds what the file about an attempt says."""

    path: Path
    content: dict[str, object]
