"""Runs all missing steps with a runner of any kind, and shows the progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from nnunet_attention.errors import CommandError
from nnunet_attention.files import require_writable
from nnunet_attention.jobs.attempt import Result
from nnunet_attention.jobs.leftovers import end_leftovers
from nnunet_attention.jobs.lock import Lock
from nnunet_attention.jobs.manifest import Manifest
from nnunet_attention.jobs.output import Output
from nnunet_attention.jobs.process import last_lines
from nnunet_attention.jobs.step import Step
from nnunet_attention.jobs.work import Work

_LOGGER = logging.getLogger(__name__)
_POLL_SECONDS = 0.2
# Readings of files that another process may be writing.
_READINGS, _BETWEEN_READINGS_SECONDS = 3, 0.3


class Running(Protocol):
    """A step that has been started.

    Attributes:
        step: as it was listed.
        device: for people.
        started: in seconds since the epoch.
        notes: what was found and done before the start.
    """

    step: Step
    device: str
    started: float
    notes: list[str]

    @property
    def waits(self) -> bool:
        """Tell whether it is in a queue."""

    @property
    def adopted(self) -> bool:
        """Tell whether it was begun by a launcher that is gone."""

    def poll(self) -> Result | None:
        """Return how it ended; None while it runs or waits."""

    def stop(self) -> None:
        """End it."""


class Runner(Protocol):
    """Starts steps somewhere."""

    def check(self, steps: Sequence[Step]) -> None:
        """Raise LockedError if another process is running one of the steps."""

    def adopts(self, step: Step) -> bool:
        """Tell whether a step that a killed launcher has left running may go on."""

    def start(self, ready: Sequence[Step]) -> Sequence[Running]:
        """Start as many of the steps as there is room for, the first ones first."""


class View(Protocol):
    """Shows what happens."""

    def begin(self, work: Work, steps: Sequence[Step], notes: Sequence[str]) -> None:
        """Show what is missing at the beginning, and what was cleared up."""

    def started(self, running: Running) -> None:
        """Show a step that begins, or is watched from now on."""

    def ended(self, step: Step, result: Result) -> None:
        """Show how a step has ended."""

    def update(self, waiting: Sequence[Step], running: Sequence[Running]) -> None:
        """Show how far everything is; called several times a second."""


class Silent:
    """A view that shows nothing."""

    def begin(self, work: Work, steps: Sequence[Step], notes: Sequence[str]) -> None:
        """Show nothing."""

    def started(self, running: Running) -> None:
        """Show nothing."""

    def ended(self, step: Step, result: Result) -> None:
        """Show nothing."""

    def update(self, waiting: Sequence[Step], running: Sequence[Running]) -> None:
        """Show nothing."""


@dataclass
class Outcome:
    """Tells how a launch ended.

    Attributes:
        done: names of the steps that were done now.
        failed: name and message of those that failed.
        left: names of the steps that need a failed one.
    """

    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether nothing failed and nothing was left."""
        return not self.failed and not self.left


def launch(work: Work, output: Output, runner: Runner, view: View) -> Outcome:
    """Run all missing steps. Failures are reported at the end while everything else goes on.

    However it ends, all that was started has been stopped; another launch goes on from there.

    Raises:
        CommandError: if nothing can be begun.
    """
    require_writable(output.root)
    with Lock(output.lock, str(output.root)).held():
        steps = _listed(work)
        runner.check(steps)
        # Only what is written: prepared data may lie on a disk that is read-only.
        for folder in dict.fromkeys(folder for step in steps for folder in step.written_folders):
            require_writable(folder)
        manifest = Manifest(output, work)
        manifest.open()
        adopted = {step.name for step in steps if runner.adopts(step)}
        others = [step for step in work.device_steps() if step.name not in adopted]
        view.begin(work, steps, [*work.notes(), *end_leftovers(others)])
        return _Launch(work, runner, view, manifest, output, steps).run()


def _listed(work: Work) -> list[Step]:
    """List the missing steps. A file that is written in place may be half there for a moment.

    Raises:
        LockedError: if another process's step may be writing the file that cannot be read.
        CommandError: if it stays unreadable.
    """
    for _ in range(_READINGS - 1):
        try:
            return work.missing_steps()
        except CommandError:
            for lock in work.reading_locks():
                lock.check_free()
            time.sleep(_BETWEEN_READINGS_SECONDS)
    return work.missing_steps()


class _Launch:
    """Holds the state of one launch."""

    def __init__(
        self,
        work: Work,
        runner: Runner,
        view: View,
        manifest: Manifest,
        output: Output,
        steps: Sequence[Step],
    ):
        self._work, self._output = work, output
        self._runner, self._view, self._manifest = runner, view, manifest
        self._waiting = {step.name: step for step in steps}
        self._running: dict[str, Running] = {}
        self._begun: set[str] = set()
        self._outcome = Outcome()

    def run(self) -> Outcome:
        try:
            while self._waiting or self._running:
                moved = self._collect()
                moved |= self._give_up_blocked()
                moved |= self._start()
                self._view.update(list(self._waiting.values()), list(self._running.values()))
                if self._running:
                    time.sleep(_POLL_SECONDS)
                elif self._waiting and not moved:
                    raise CommandError(f"nothing can run {', '.join(self._waiting)}")
        finally:
            self._stop_all()
        return self._outcome

    def _start(self) -> bool:
        """Start what can be started; tell whether anything was."""
        open_names = {*self._waiting, *self._running, *self._outcome.failed, *self._outcome.left}
        ready = [step for step in self._waiting.values() if not open_names.intersection(step.needs)]
        for step in ready:
            if step.takes_device and step.group not in self._begun:
                self._begun.add(step.group)
                self._kept(partial(self._manifest.note_dependence, step.group))
        started = self._runner.start(ready) if ready else []
        # Recorded before anything else is done: a step that is not known here is not stopped.
        self._running.update({running.step.name: running for running in started})
        for running in started:
            del self._waiting[running.step.name]
            self._view.started(running)
        return bool(started)

    def _collect(self) -> bool:
        """Note what has ended and what is missing now; tell whether something has ended."""
        results = {name: running.poll() for name, running in self._running.items()}
        ended = {name: result for name, result in results.items() if result is not None}
        steps = {name: self._running.pop(name).step for name in ended}
        for name, result in ended.items():
            if result.ok:
                self._outcome.done.append(name)
            else:
                self._outcome.failed[name] = result.message
        for group in dict.fromkeys(step.group for step in steps.values()):
            self._refresh(group, [name for name in ended if steps[name].group == group])
        for name, step in steps.items():
            failure = self._outcome.failed.get(name)
            result = ended[name]
            if failure is not None and result.ok:
                result = replace(result, ok=False, message=failure)
            self._view.ended(step, result)
        if ended:
            self._kept(self._manifest.write)
        return bool(ended)

    def _refresh(self, group: str, ended: list[str]) -> None:
        """Ask the folders again, which is where a step's success is seen."""
        outcome = self._outcome
        kept = {name: step for name, step in self._waiting.items() if step.group != group}
        try:
            missing = self._work.missing_steps((group,))
        except CommandError as error:
            for name in ended:
                self._fail(name, str(error))
            outcome.left += [name for name in self._waiting if name not in kept]
            self._waiting = kept
            return
        for step in missing:
            if step.name in outcome.done:
                self._fail(
                    step.name,
                    f"{step.name} ended without an error, but what it should have made is missing; "
                    f"its output is in {self._output.log(step.name)}\n"
                    f"{last_lines(self._output.log(step.name))}",
                )
            elif not (
                step.name in self._running
                or step.name in outcome.failed
                or step.name in outcome.left
            ):
                kept[step.name] = step
        order = {name: number for number, name in enumerate(self._work.groups)}
        # The sort is stable: within a group, steps stay as listed.
        self._waiting = dict(sorted(kept.items(), key=lambda item: order[item[1].group]))

    def _fail(self, name: str, message: str) -> None:
        self._outcome.failed.setdefault(name, message)
        if name in self._outcome.done:
            self._outcome.done.remove(name)

    def _give_up_blocked(self) -> bool:
        """Give up steps that need a failed one; tell whether there were any."""
        given_up = False
        while True:
            lost = {*self._outcome.failed, *self._outcome.left}
            blocked = [
                name for name, step in self._waiting.items() if lost.intersection(step.needs)
            ]
            if not blocked:
                return given_up
            given_up = True
            for name in blocked:
                del self._waiting[name]
            self._outcome.left += blocked

    def _stop_all(self) -> None:
        """Stop all running steps at the same time, as each may take seconds."""
        if not self._running:
            return
        with ThreadPoolExecutor(len(self._running)) as pool:
            list(pool.map(lambda running: running.stop(), self._running.values()))
        self._kept(self._manifest.write)

    def _kept(self, write: Callable[[], None]) -> None:
        """Write the manifest; a full disk must not end steps that may still find room."""
        try:
            write()
        except (OSError, CommandError) as error:
            _LOGGER.warning("the manifest cannot be written: %s", error)
