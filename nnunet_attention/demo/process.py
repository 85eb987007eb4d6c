"""Runs installed commands to the end, with their output in a log and no child left behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from nnunet_attention.errors import CommandError

_SHOWN_LOG_LINES = 15
_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.2


def script_folders() -> list[Path]:
    """Where this Python environment has its commands."""
    return [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]


def find_command(name: str) -> str:
    """Path of an installed command: of this Python environment first, then of the search path.

    Raises:
        CommandError: if it is not installed.
    """
    file_name = name + (".exe" if os.name == "nt" else "")
    for folder in script_folders():
        if (folder / file_name).is_file():
            return str(folder / file_name)
    found = shutil.which(name)
    if found is None:
        raise CommandError(
            f"the command {name} is not installed beside {sys.executable}; "
            "install nnU-Net with: pip install nnunetv2"
        )
    return found


def run_command(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    while_waiting: Callable[[], None] = lambda: None,
) -> None:
    """Runs a command in a process group of its own; whatever stops us stops the group.

    Args:
        command: name of an installed command and its arguments.
        environment: the whole environment of the command.
        log: gets the command line and all output, appended.
        while_waiting: called about five times a second.

    Raises:
        CommandError: with the end of the log, if the exit code is not 0.
    """
    arguments = [find_command(command[0]), *command[1:]]
    log.parent.mkdir(parents=True, exist_ok=True)
    own_group = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        if os.name == "nt"
        else {"start_new_session": True}
    )
    with log.open("ab") as output:
        output.write(f"$ {' '.join(command)}\n".encode())
        output.flush()
        process = subprocess.Popen(
            arguments,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **own_group,
        )
        try:
            while process.poll() is None:
                while_waiting()
                time.sleep(_POLL_SECONDS)
        finally:
            # Also after a normal end: a crashed command may leave workers behind.
            _stop_group(process)
    if process.returncode != 0:
        raise CommandError(
            f"{command[0]} failed with exit code {process.returncode}; "
            f"the command and all it said: {log}\n{_last_lines(log)}"
        )


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Lets SIGTERM end this process as Ctrl-C does, so that `finally` clauses run.

    Python handles signals in the main thread alone; in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signal_number, frame):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def last_epoch(log: Path) -> int | None:
    """The number of the epoch that nnU-Net's training last announced in a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4000))
            found = re.findall(rb": Epoch (\d+)\s", file.read())
    except OSError:
        return None
    return int(found[-1]) if found else None


def _stop_group(process: subprocess.Popen) -> None:
    if os.name == "nt":
        if process.poll() is None:
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False
            )
        process.wait()
        return
    _signal_group(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _signal_group(leader: int, number: int) -> None:
    # Nobody may be left; macOS then answers with a permission error for zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join("    " + line for line in lines[-_SHOWN_LOG_LINES:])
