"""Runs one step once: locks, clears up after earlier attempts, starts, watches and records.

A fold that a killed launcher has left in training is not begun again, but watched to its end.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar

import psutil

from nnunet_attention.crossval.runs import (
    ACCUMULATION,
    DESCRIPTION,
    PLANS,
    PREPROCESSING,
    SPLITS,
    Step,
    kept_predictions,
    predictions_of_training_cases,
    state_of,
    with_state,
)
from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json, write_json, written_beside
from nnunet_attention.jobs.adoption import Movement, command_that_runs
from nnunet_attention.jobs.lock import Lock, slurm_job_of_this
from nnunet_attention.jobs.output import Output, file_name_of, full_disk_note
from nnunet_attention.jobs.process import AdoptedProcess, LoggedProcess, last_lines
from nnunet_attention.nnunet.checkpoints import damaged_checkpoints, set_aside
from nnunet_attention.nnunet.fold_state import FoldRun, FoldState
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.kept_cases import VARIABLE as KEPT_VARIABLE
from nnunet_attention.nnunet.splits import write_splits

# Set for a step's processes: what a killed launcher has left is known by it.
STEP_VARIABLE = "NNUNET_ATTENTION_CROSSVAL_STEP"
# A checkpoint of a large network takes seconds to write to a slow disk.
_CHECKPOINT_SECONDS = 60.0
# From the request to end to the kill, of what a killed launcher has left.
_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Result:
    """How an attempt ended.

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
    """One attempt at a step, in a process of its own.

    Attributes:
        step: as it was listed.
        folders: nnU-Net's.
        output: for log and record.
        environment: whole, of the step's command.
        device: for people, such as "GPU 1".
        ignored_signals: that the command's processes shall not be ended by.
        adopts: watches what a killed launcher has left in training, instead of ending it.
        notes: what was found and done before the start, or meanwhile.
    """

    step: Step
    folders: Folders
    output: Output
    environment: Mapping[str, str]
    device: str = ""
    ignored_signals: tuple[signal.Signals, ...] = ()
    adopts: bool = False
    notes: list[str] = field(default_factory=list)
    waits: ClassVar[bool] = False

    def __post_init__(self):
        self.started = time.time()
        self._process: LoggedProcess | AdoptedProcess | None = None
        self._movement: Movement | None = None
        self._result: Result | None = None
        self._lock = step_lock(self.step, self.folders)
        self._record: dict = {}
        self._record_path: Path | None = None

    @property
    def adopted(self) -> bool:
        """Whether what runs was begun by a launcher that is gone."""
        return self._movement is not None

    def start(self) -> None:
        """Starts the step's command, or does the step where it has none; `poll` tells failures."""
        try:
            self._lock.take()
            if not self._adopt():
                self._begin()
        except (CommandError, OSError) as error:
            self._fail_to_start(error)

    def poll(self) -> Result | None:
        """How it ended; None while it runs."""
        if self._result is None and self._movement is not None:
            self._poll_adopted()
        elif self._result is None and self._process.poll() is not None:
            # A crashed command may leave workers behind.
            exit_code = self._process.stop()
            if exit_code == 0 and self.step.kind == PREPROCESSING and self.step.data is not None:
                self.folders.unfinished_data(self.step.dataset, self.step.data).unlink(
                    missing_ok=True
                )
            message = "" if exit_code == 0 else self.failure(exit_code)
            self._end(Result(exit_code == 0, message, time.time() - self.started, exit_code))
        return self._result

    def stop(self) -> None:
        """Ends the step's processes; a checkpoint that is being written is waited for."""
        if self._process is not None and self._result is None:
            exit_code = self._stop_between_checkpoints()
            seconds = time.time() - self.started
            self._end(Result(False, "stopped", seconds, exit_code))

    def failure(self, exit_code: int) -> str:
        """What is said of a command that failed: how, where the log is, and its end."""
        how = f"failed with exit code {exit_code}"
        if exit_code < 0:
            how = f"was ended by {signal.Signals(-exit_code).name}"
            if exit_code == -signal.SIGKILL:
                how += " (by somebody, or by the system where memory ran out)"
        log = self.output.log(self.step.name)
        folders = [self.output.root, self.folders.results, self.folders.preprocessed]
        note = full_disk_note(folders)
        return "\n".join(
            [f"{self.step.name} {how}; all it said: {log}", last_lines(log), *([note] * bool(note))]
        )

    def _begin(self) -> None:
        """Starts what is left to do; raises where that cannot be."""
        self._end_left_processes()
        step = self._cleared()
        if step is None:
            self._end(Result(True, "", 0.0))
            return
        self._begin_record(step)
        if not step.command:
            self._do(step)
            self._end(Result(True, "", time.time() - self.started))
            return
        if step.kind == PREPROCESSING and step.data is not None:
            self.folders.unfinished_data(step.dataset, step.data).touch()
        environment = {**self.environment, STEP_VARIABLE: mark(self.step, self.folders)}
        if step.state is FoldState.TRAINED:
            environment[KEPT_VARIABLE] = json.dumps(kept_predictions(step.run, self.folders))
        self._process = LoggedProcess(
            step.command, environment, self.output.log(step.name), self.ignored_signals
        )

    def _fail_to_start(self, error: Exception) -> None:
        message = f"{self.step.name} cannot be started: {error}"
        self._end(Result(False, message, time.time() - self.started))

    def _adopt(self) -> bool:
        """Watches what a killed launcher has left in training from now on, if there is such."""
        if not (self.adopts and self.step.run is not None):
            return False
        left = processes_of_steps().get(mark(self.step, self.folders), [])
        found = command_that_runs(self.step.run, left)
        if found is None:
            return False
        leader, command = found
        try:
            self.started = leader.create_time()
            self._movement = Movement(self.step.run, self.folders, leader)
        except psutil.NoSuchProcess:
            return False
        self._process = AdoptedProcess(leader)
        since = datetime.fromtimestamp(self.started).strftime("%Y-%m-%d %H:%M")
        self.notes.append(
            f"{self.step.name} runs since {since} as process {leader.pid}, whose launcher is gone; "
            "it goes on, and is watched from here"
        )
        self._begin_record(replace(self.step, command=command))
        return True

    def _poll_adopted(self) -> None:
        ended = self._process.poll() is not None
        if not ended and not self._movement.has_stopped():
            return
        name = self.step.name
        if ended:
            self._process.stop()
            note = f"{name}: process {self._process.pid} has ended"
        else:
            self._stop_between_checkpoints()
            note = f"{name}: process {self._process.pid} no longer moved and was ended"
        self._movement = self._process = None
        try:
            if state_of(self.step.run, self.folders) is FoldState.FINISHED:
                self._end(Result(True, "", time.time() - self.started))
                return
            # How it ended nobody can tell. What is wrong, if anything, another attempt shows.
            self.notes.append(f"{note}; the fold goes on from what is there")
            self._end_record(Result(False, note, time.time() - self.started))
            self.started = time.time()
            self._begin()
        except (CommandError, OSError) as error:
            self._fail_to_start(error)

    def _cleared(self) -> Step | None:
        """The step as it is to be run; None where it turns out to be done."""
        step = self.step
        if step.kind == PLANS and step.plans_file is not None and step.plans_file.exists():
            # nnU-Net reads an existing plans file first; this one is half written.
            self._note_set_aside([step.plans_file])
        if step.run is None:
            return step
        fold = step.run.folder(self.folders)
        self._note_set_aside(damaged_checkpoints(fold, every_byte=True))
        state = state_of(step.run, self.folders)
        if state is FoldState.FINISHED:
            return None
        self._set_training_cases_aside(step.run)
        return with_state(step, state)

    def _set_training_cases_aside(self, run: FoldRun) -> None:
        # nnU-Net evaluates whatever lies in the folder of the validation.
        found = set_aside(predictions_of_training_cases(run, self.folders), "trained-on")
        if found:
            first, target = next(iter(found.items()))
            self.notes.append(
                f"{first.parent} had {len(found)} segmentation(s) of cases that the fold is "
                f"trained on; kept under other names, such as {target.name}. If it was trained "
                f"with another split, move {first.parent.parent} away to train it again"
            )

    def _note_set_aside(self, damaged) -> None:
        for path, target in set_aside(damaged).items():
            self.notes.append(
                f"{path} is damaged, probably half written when a process was killed; kept as "
                f"{target.name}"
            )

    def _end_left_processes(self) -> None:
        left = processes_of_steps().get(mark(self.step, self.folders), [])
        if left:
            end_processes(left)
            self.notes.append(_ended(self.step.name, left))

    def _do(self, step: Step) -> None:
        if step.kind == SPLITS:
            write_splits(
                self.folders.splits(step.dataset), cases_with_data(self.folders, step.dataset)
            )
        elif step.kind == DESCRIPTION:
            target = self.folders.dataset_json(step.dataset)
            target.parent.mkdir(parents=True, exist_ok=True)
            with written_beside(target) as beside:
                shutil.copyfile(self.folders.raw_dataset(step.dataset) / "dataset.json", beside)

    def _stop_between_checkpoints(self) -> int | None:
        """nnU-Net writes in place; stopped in the middle it would lose what it writes over."""
        if self.step.run is not None:
            fold = self.step.run.folder(self.folders)
            deadline = time.monotonic() + _CHECKPOINT_SECONDS
            while self._process.poll() is None and time.monotonic() < deadline:
                # Otherwise the next checkpoint might be begun between the look and the stop.
                with self._process.paused():
                    if not damaged_checkpoints(fold):
                        return self._process.stop()
                time.sleep(_POLL_SECONDS)
        return self._process.stop()

    def _begin_record(self, step: Step) -> None:
        moment = datetime.fromtimestamp(self.started, timezone.utc)
        name = f"{file_name_of(step.name)}.{moment:%Y%m%dT%H%M%S}.{os.getpid()}.json"
        self._record_path = self.output.attempts / name
        self._record = {
            "step": step.name,
            "kind": step.kind,
            "command": list(step.command),
            "state_before": None if step.state is None else step.state.value,
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
        self._write_record()

    def _end(self, result: Result) -> None:
        self._result = result
        self._lock.release()
        self._end_record(result)

    def _end_record(self, result: Result) -> None:
        if self._record:
            self._record |= {
                "ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "ok": result.ok,
                "exit_code": result.exit_code,
                "seconds": round(result.seconds, 2),
                "message": result.message,
            }
            self._write_record()

    def _write_record(self) -> None:
        try:
            self._record_path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._record_path, self._record)
        except OSError as error:
            # A disk that is full for a moment must not end a training of days.
            self.notes.append(f"{self._record_path} cannot be written: {error}")


def step_lock(step: Step, folders: Folders) -> Lock:
    """What nobody else may do while a step runs."""
    if step.run is not None:
        return fold_lock(step.run, folders)
    if step.kind == ACCUMULATION:
        place = _place(step, folders)
        return Lock(place / ".accumulation.lock", f"the accumulation in {place}")
    return dataset_lock(step.dataset, folders)


def dataset_lock(dataset: str, folders: Folders) -> Lock:
    """Held while a data set is planned, preprocessed or split."""
    place = folders.dataset(dataset)
    return Lock(place / ".crossval.lock", str(place))


def fold_lock(run: FoldRun, folders: Folders) -> Lock:
    """Held while a fold is trained or validated."""
    fold = run.folder(folders)
    return Lock(fold.with_name(f".{fold.name}.lock"), str(fold))


def _place(step: Step, folders: Folders) -> Path:
    """The folder that a step works in: of the fold, of the model, or of the prepared data set."""
    if step.run is not None:
        return step.run.folder(folders)
    if step.kind == ACCUMULATION:
        trainer, plans, configuration = (
            step.command[step.command.index(letter) + 1] for letter in ("-tr", "-p", "-c")
        )
        return folders.model(step.dataset, trainer, plans, configuration)
    return folders.dataset(step.dataset)


def cases_with_data(folders: Folders, dataset: str) -> list[str]:
    """Cases of the first preprocessed data that a plans file names; nnU-Net splits these."""
    for path in sorted(folders.dataset(dataset).glob("*.json")):
        try:
            configurations = read_json(path).get("configurations")
        except CommandError:
            continue
        for configuration in (configurations or {}).values():
            identifier = configuration.get("data_identifier")
            if identifier is None or folders.unfinished_data(dataset, identifier).exists():
                continue
            cases = sorted(case.stem for case in folders.data(dataset, identifier).glob("*.pkl"))
            if cases:
                return cases
    raise CommandError(
        f"{dataset} has no preprocessed cases in {folders.dataset(dataset)}; preprocess it again"
    )


def processes_of_steps() -> dict[str, list[psutil.Process]]:
    """The processes of this machine that were started for steps, whoever started them."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            found_mark = process.environ().get(STEP_VARIABLE)
        except (psutil.Error, OSError):
            continue  # Ended, or another person's.
        if found_mark is not None and process.pid != os.getpid():
            found.setdefault(found_mark, []).append(process)
    return found


def end_leftovers(runs: Sequence[FoldRun], folders: Folders) -> list[str]:
    """Ends what killed launchers have left of folds that nobody is at, finished ones included.

    Args:
        runs: the folds, without those whose processes are adopted.
        folders: nnU-Net's.

    Returns:
        what was ended, for people.
    """
    notes = []
    processes = processes_of_steps()
    for run in runs:
        left = processes.get(str(run.folder(folders)), [])
        owner = fold_lock(run, folders).owner() if left else None
        if left and (owner is None or owner.is_gone):
            end_processes(left)
            notes.append(_ended(run.name, left))
    return notes


def _ended(name: str, processes: Sequence[psutil.Process]) -> str:
    numbers = ", ".join(str(process.pid) for process in processes)
    return f"{name}: {len(processes)} process(es) left by a killed launcher ended: {numbers}"


def end_processes(processes: Sequence[psutil.Process]) -> None:
    """Asks processes to end, and kills those that do not."""
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            try:
                ask(process)
            except psutil.Error:
                continue
        _, processes = psutil.wait_procs(processes, _GRACE_SECONDS)


def mark(step: Step, folders: Folders) -> str:
    """The same for all steps that must not run at the same time."""
    return f"{ACCUMULATION if step.kind == ACCUMULATION else ''}{_place(step, folders)}"
