"""Reports progress now and then, for logs and pipes that show no progress bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

# The first line comes soon, and the intervals grow: after a long wait people expect to wait.
_FIRST_SECONDS, _GROWTH, _MOST_SECONDS = 10.0, 1.5, 300.0


class Pace:
    """Tells when it is time for another line."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._wait = _FIRST_SECONDS
        self._next = clock() + self._wait

    def is_due(self) -> bool:
        """Tell whether another line is due; if so, the wait for the next one is longer."""
        now = self._clock()
        if now < self._next:
            return False
        self._wait = min(self._wait * _GROWTH, _MOST_SECONDS)
        self._next = now + self._wait
        return True


class TimeLeft:
    """Estimates the time left from the progress since the first call."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._first: tuple[float, float] | None = None

    def __call__(self, done: float, total: float | None) -> float | None:
        """Return the seconds that are left; None where nothing is known yet."""
        now = self._clock()
        if self._first is None:
            self._first = (now, done)
        begun, before = self._first
        if total is None or done <= before:
            return None
        return (now - begun) / (done - before) * max(0.0, total - done)


class ProgressLines:
    """Prints a line now and then when called with the amount done and the total.

    Work that is over soon prints nothing, and its end is not reported either.
    """

    def __init__(
        self,
        title: str,
        what: Callable[[int, int | None], str],
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Set up; print nothing yet.

        Args:
            title: the name of the work.
            what: a function that describes the progress, given the amount done and the total,
                which may be None.
            stream: where lines go; by default stderr.
            clock: a function that gives the time in seconds.
        """
        self._title, self._what, self._stream = title, what, stream
        self._pace, self._left = Pace(clock), TimeLeft(clock)

    def __call__(self, done: int, total: int | None) -> None:
        left = self._left(done, total)
        if done == total or not self._pace.is_due():
            return
        parts = [self._what(done, total), *([] if left is None else [f"{duration(left)} left"])]
        print(
            f"{time.strftime('%H:%M:%S')} {self._title}: {', '.join(parts)}",
            file=self._stream or sys.stderr,
            flush=True,
        )


def counted(done: int, total: int | None, what: str = "case") -> str:
    """Say which case it is, of how many."""
    return f"{what} {done}" if total is None else f"{what} {done} of {total}"


def megabytes(done: int, total: int | None) -> str:
    """Say how much of a download is there."""
    return f"{done / 1e6:.0f}" + ("" if total is None else f" of {total / 1e6:.0f}") + " MB"


def duration(seconds: float | None) -> str:
    """Write a duration, such as 45 s, 12:05 min or 3:07 h."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
