"""Shows a running cross-validation: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from nnunet_attention.crossval.runs import FOLD, CrossvalPlan, Step, all_runs
from nnunet_attention.jobs.attempt import Result
from nnunet_attention.jobs.launch import Running
from nnunet_attention.nnunet.fold_progress import Progress, read_progress
from nnunet_attention.nnunet.fold_state import FoldRun
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.pace import Pace, duration

_REFRESH_SECONDS = 1.0
_MOST_WAITING = 5


class Status:
    """Prints what begins and ends, and in a terminal keeps a table of the folds below it."""

    def __init__(self, folders: Folders, console: Console | None = None):
        self._folders = folders
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._last_refresh = 0.0
        self._paces: dict[str, Pace] = {}
        self._finished: set[str] = set()
        self._failed: set[str] = set()
        self._runs: list[FoldRun] = []
        self._notes_said: dict[str, int] = {}

    def __enter__(self) -> Status:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exception) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, plan: CrossvalPlan, steps: Sequence[Step], notes: Sequence[str] = ()) -> None:
        """Says how much is there already, and what was cleared up."""
        for note in notes:
            self._say(f"note: {note}", style="yellow")
        self._runs = all_runs(plan, self._folders)
        unfinished = {step.name for step in steps}
        self._finished = {run.name for run in self._runs} - unfinished
        self._say(
            f"{len(self._finished)} of {len(self._runs)} folds are finished; "
            f"{len(steps)} steps to do"
        )

    def started(self, running: Running) -> None:
        """Says what begins, or is watched from now on, and what was found before."""
        self._say_notes(running)
        step = running.step
        if running.adopted:
            self._say(f"watch {step.name} on {running.device}")
            return
        how = "" if step.state is None else f" ({_HOW[step.state.value]})"
        self._say(f"start {step.name}{how} on {running.device}")

    def ended(self, step: Step, result: Result) -> None:
        """Says how it ended."""
        if result.ok:
            if step.kind == FOLD:
                self._finished.add(step.name)
            self._say(f"done  {step.name} in {duration(result.seconds)}", style="green")
        else:
            if step.kind == FOLD:
                self._failed.add(step.name)
            self._say(f"FAILED {result.message}", style="red")

    def update(self, waiting: Sequence[Step], running: Sequence[Running]) -> None:
        """Draws the table anew, or now and then prints a line for each running step."""
        now = time.monotonic()
        for one in running:
            self._say_notes(one)
        if self._live is not None and now - self._last_refresh >= _REFRESH_SECONDS:
            self._last_refresh = now
            self._live.update(self._table(waiting, running), refresh=True)
        elif self._live is None:
            for one in running:
                if self._paces.setdefault(one.step.name, Pace()).is_due():
                    self._say(f"      {one.step.name}: {self._line(one)}")

    def _line(self, running: Running) -> str:
        """How far it is, in words."""
        if running.waits:
            return "queued"
        run = running.step.run
        if run is None:
            return f"runs for {duration(time.time() - running.started)}"
        progress = read_progress(run, self._folders, running.started)
        parts = [_state(progress)]
        if progress.phase == "training":
            of = "" if progress.epochs is None else f" of {progress.epochs}"
            parts = [f"epoch {progress.epoch}{of}"]
            if progress.pseudo_dice is not None:
                parts.append(f"pseudo Dice {progress.pseudo_dice:.4f}")
            if progress.epoch_seconds is not None:
                parts.append(f"{progress.epoch_seconds:.1f} s an epoch")
        if progress.seconds_left is not None:
            parts.append(f"{duration(progress.seconds_left)} left")
        return ", ".join(parts)

    def _say_notes(self, running: Running) -> None:
        """Those that have not been said yet."""
        name = running.step.name
        for note in running.notes[self._notes_said.get(name, 0) :]:
            self._say(f"note: {note}", style="yellow")
        self._notes_said[name] = len(running.notes)

    def _table(self, waiting: Sequence[Step], running: Sequence[Running]) -> Table:
        table = Table(
            title=f"{len(self._finished)} of {len(self._runs)} folds finished"
            + (f", {len(self._failed)} failed" if self._failed else "")
        )
        for name in ("data set", "model", "fold", "state"):
            table.add_column(name, overflow="fold")
        for name in ("epoch", "pseudo Dice", "s/epoch", "left"):
            table.add_column(name, justify="right")
        table.add_column("device")
        for one in running:
            step = one.step
            if step.run is None:
                elapsed = duration(time.time() - one.started)
                table.add_row(*_what(step), elapsed, "", "", "", "", one.device)
                continue
            progress = read_progress(step.run, self._folders, one.started)
            state, *numbers = _cells(progress)
            state = "queued" if one.waits else state
            table.add_row(*_what(step), state, *numbers, one.device)
        for step in waiting[:_MOST_WAITING]:
            table.add_row(*_what(step), "waiting", style="dim")
        if len(waiting) > _MOST_WAITING:
            table.add_row("", f"and {len(waiting) - _MOST_WAITING} more", style="dim")
        return table

    def _say(self, text: str, style: str | None = None) -> None:
        line = f"{time.strftime('%H:%M:%S')} {text}"
        self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


_HOW = {
    "absent": "new",
    "interrupted": "goes on",
    "trained": "validation only",
    "finished": "finished",
}


def _what(step: Step) -> tuple[str, str, str]:
    """Data set, model and fold, in words that a narrow terminal can break."""
    dataset = step.dataset.removeprefix("Dataset").replace("_", " ", 1)
    run = step.run
    if run is None:
        return dataset, step.name.removeprefix(step.dataset).strip().replace("__", " "), ""
    plans = "" if run.plans == "nnUNetPlans" else f" {run.plans}"
    return dataset, f"{run.trainer}{plans} {run.configuration}", run.fold


def _state(progress: Progress) -> str:
    if progress.phase == "validating" and progress.validated_cases:
        of = "" if progress.cases is None else f" of {progress.cases}"
        return f"validating, case {progress.validated_cases}{of}"
    return progress.phase


def _cells(progress: Progress) -> tuple[str, str, str, str, str]:
    """State, epoch, pseudo Dice, seconds of an epoch, time left."""
    of = "" if progress.epochs is None else f"/{progress.epochs}"
    return (
        _state(progress),
        "" if progress.epoch is None else f"{progress.epoch}{of}",
        "" if progress.pseudo_dice is None else f"{progress.pseudo_dice:.4f}",
        "" if progress.epoch_seconds is None else f"{progress.epoch_seconds:.1f}",
        duration(progress.seconds_left),
    )
