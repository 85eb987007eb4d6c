"""Shows what runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table

from nnunet_attention.jobs.attempt import Result
from nnunet_attention.jobs.launch import Running
from nnunet_attention.jobs.step import Step
from nnunet_attention.jobs.work import Work
from nnunet_attention.pace import Pace, duration

_REFRESH_SECONDS = 1.0
_MOST_WAITING = 5


class Status:
    """Prints which steps begin and end, and in a terminal keeps a table of them below."""

    def __init__(self, console: Console | None = None):
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._last_refresh = 0.0
        self._paces: dict[str, Pace] = {}
        self._counted, self._total = "steps", 0
        self._columns: tuple[str, ...] = ()
        self._number_columns: tuple[str, ...] = ()
        self._finished: set[str] = set()
        self._failed: set[str] = set()
        self._notes_said: dict[str, int] = {}

    def __enter__(self) -> Status:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, work: Work, steps: Sequence[Step], notes: Sequence[str] = ()) -> None:
        """Say how much is there already, and what was cleared up."""
        for note in notes:
            self._say(f"note: {note}", style="yellow")
        self._counted = work.counted
        self._columns, self._number_columns = work.columns, work.number_columns
        names = {step.name for step in work.device_steps()}
        self._total = len(names)
        self._finished = names - {step.name for step in steps}
        self._say(
            f"{len(self._finished)} of {self._total} {self._counted} are finished; "
            f"{len(steps)} steps to do"
        )

    def started(self, running: Running) -> None:
        """Say what begins, or is watched from now on, and what was found before."""
        self._say_notes(running)
        step = running.step
        if running.adopted:
            self._say(f"watch {step.name} on {running.device}")
            return
        manner = f" ({step.manner})" if step.manner else ""
        self._say(f"start {step.name}{manner} on {running.device}")

    def ended(self, step: Step, result: Result) -> None:
        """Say how it ended."""
        if step.takes_device:
            (self._finished if result.ok else self._failed).add(step.name)
        if result.ok:
            self._say(f"done  {step.name} in {duration(result.seconds)}", style="green")
        else:
            self._say(f"FAILED {result.message}", style="red")

    def update(self, waiting: Sequence[Step], running: Sequence[Running]) -> None:
        """Draw the table anew, or now and then print a line for each running step."""
        now = time.monotonic()
        for attempt in running:
            self._say_notes(attempt)
        if self._live is not None and now - self._last_refresh >= _REFRESH_SECONDS:
            self._last_refresh = now
            self._live.update(self._table(waiting, running), refresh=True)
        elif self._live is None:
            for attempt in running:
                if self._paces.setdefault(attempt.step.name, Pace()).is_due():
                    self._say(f"      {attempt.step.name}: {_line(attempt)}")

    def _say_notes(self, running: Running) -> None:
        """Say those that have not been said yet."""
        name = running.step.name
        for note in running.notes[self._notes_said.get(name, 0) :]:
            self._say(f"note: {note}", style="yellow")
        self._notes_said[name] = len(running.notes)

    def _table(self, waiting: Sequence[Step], running: Sequence[Running]) -> Table:
        table = Table(
            title=f"{len(self._finished)} of {self._total} {self._counted} finished"
            + (f", {len(self._failed)} failed" if self._failed else "")
        )
        for heading in (*self._columns, "state"):
            table.add_column(heading, overflow="fold")
        for heading in self._number_columns:
            table.add_column(heading, justify="right")
        table.add_column("device")
        for attempt in running:
            table.add_row(*attempt.step.cells, *self._state_and_numbers(attempt), attempt.device)
        for step in waiting[:_MOST_WAITING]:
            table.add_row(*step.cells, "waiting", style="dim")
        if len(waiting) > _MOST_WAITING:
            table.add_row("", f"and {len(waiting) - _MOST_WAITING} more", style="dim")
        return table

    def _state_and_numbers(self, running: Running) -> tuple[str, ...]:
        progress = running.step.progress(running.started)
        if progress is None:
            elapsed = duration(time.time() - running.started)
            return (elapsed, *("" for _ in self._number_columns))
        return ("queued" if running.waits else progress.state, *progress.numbers)

    def _say(self, text: str, style: str | None = None) -> None:
        line = f"{time.strftime('%H:%M:%S')} {text}"
        self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def _line(running: Running) -> str:
    """Say in words how far it is."""
    if running.waits:
        return "queued"
    progress = running.step.progress(running.started)
    if progress is None:
        return f"running for {duration(time.time() - running.started)}"
    return progress.line
