"""Watches and bounds what runs in this process: what it executes, its output, time and memory."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import IO

import psutil
from fuzz.example import CANARY

# One input takes about a second.
SECONDS = 30
_MORE_BYTES = 4 * 2**30
_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
_CHANGES = ("os.mkdir", "os.rmdir", "os.remove", "os.rename", "shutil.rmtree")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class TooLongError(BaseException):
    """Raised after `SECONDS`; not an Exception, as a command may swallow those."""


class _Executions:
    """Every process that is started, and every use of the canary, while it is on."""

    def __init__(self):
        self._found: list[str] | None = None
        self._is_installed = False

    @contextlib.contextmanager
    def on(self) -> Iterator[list[str]]:
        """Gives the list that fills meanwhile."""
        if not self._is_installed:
            # Python takes none off again.
            sys.addaudithook(self._hear)
            self._is_installed = True
        self._found = []
        try:
            yield self._found
        finally:
            self._found = None

    def _hear(self, event: str, arguments: tuple) -> None:
        if self._found is None:
            return
        if event in _PROCESSES or _is_of_canary(event, arguments):
            self._found.append(f"{event} {str(arguments)[:80]}")


def _is_of_canary(event: str, arguments: tuple) -> bool:
    """An import of the canary, or a change of its files; looking for such files is harmless."""
    if event == "import":
        return str(arguments[0]).partition(".")[0] == CANARY
    if event in _CHANGES:
        return CANARY in str(arguments)
    return event == "open" and CANARY in str(arguments[0]) and bool(arguments[2] & _WRITING)


executions = _Executions()


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Ends what takes too long or asks for gigabytes with an error; where Unix can."""
    try:
        import resource
    except ImportError:
        yield
        return

    def too_long(signal_number, frame):
        raise TooLongError

    limits = resource.getrlimit(resource.RLIMIT_AS)
    allowed = psutil.Process().memory_info().vms + _MORE_BYTES
    if limits[1] != resource.RLIM_INFINITY:
        allowed = min(allowed, limits[1])
    previous = signal.signal(signal.SIGALRM, too_long)
    with contextlib.suppress(ValueError):  # macOS
        resource.setrlimit(resource.RLIMIT_AS, (allowed, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        with contextlib.suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_AS, limits)


@contextlib.contextmanager
def native_output_to(file: IO[bytes]) -> Iterator[None]:
    """Sends there what is not written by Python: by ITK, or by a process that was started."""
    kept = [os.dup(number) for number in (1, 2)]
    try:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        yield
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
