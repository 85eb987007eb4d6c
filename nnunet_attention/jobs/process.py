"""Runs installed commands to the end, with their output in a log and no child left behind."""

import os
import shlex
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

import psutil

from nnunet_attention.errors import CommandError

# For commands that stand elsewhere, such as wrappers that start a container.
COMMANDS_VARIABLE = "NNUNET_ATTENTION_COMMANDS"
_SHOWN_LOG_LINES = 15
_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.2
# A process stands still at the end of the system call it is in.
_PAUSE_SECONDS, _PAUSE_POLL_SECONDS = 5.0, 0.001


def script_folders() -> list[Path]:
    """Where commands are looked for: a folder that a person names, then this environment's."""
    named = os.environ.get(COMMANDS_VARIABLE)
    own = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    return [Path(named), *own] if named else own


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


class _Group:
    """A command that leads a process group of its own."""

    pid: int

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Holds the whole group still meanwhile: what its files look like stays true.

        `stop` works within. Windows cannot do this; there it does nothing.
        """
        if os.name == "nt":
            yield
            return
        _signal_group(self.pid, signal.SIGSTOP)
        try:
            _wait_for_standstill(self.pid)
            yield
        finally:
            _signal_group(self.pid, signal.SIGCONT)


class LoggedProcess(_Group):
    """An installed command that runs in a process group of its own, with its output in a log.

    Attributes:
        log: the file.
        pid: of the command, which leads the group.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        ignored_signals: Sequence[signal.Signals] = (),
    ):
        """Starts it.

        Args:
            command: name of an installed command and its arguments.
            environment: the whole environment of the command.
            log: gets the command line and all output, appended.
            ignored_signals: by the command and its children, unless they handle them.

        Raises:
            CommandError: if the command is not installed.
        """
        arguments = [find_command(command[0]), *command[1:]]
        log.parent.mkdir(parents=True, exist_ok=True)
        own_group = (
            {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
            if os.name == "nt"
            else {"start_new_session": True}
        )
        if ignored_signals:

            def ignore():
                # The mask of the process that starts it is inherited as well.
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ignored_signals)
                for number in ignored_signals:
                    signal.signal(number, signal.SIG_IGN)

            own_group["preexec_fn"] = ignore
        self.log = log
        with log.open("ab") as output:
            output.write(f"$ {shlex.join(command)}\n".encode())
            output.flush()
            self._process = subprocess.Popen(
                arguments,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                **own_group,
            )
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit code, or None while it runs; minus the signal's number after a signal."""
        return self._process.poll()

    def stop(self) -> int:
        """Ends the whole group, which a command that has ended may have left; the exit code."""
        _stop_group(self._process)
        return self._process.returncode


class AdoptedProcess(_Group):
    """A command that another process has started as a `LoggedProcess`, and left.

    It is no child of this process: the system does not tell how it ends.

    Attributes:
        pid: of the command, which leads the group.
    """

    def __init__(self, leader: psutil.Process):
        self.pid = leader.pid
        self._leader = leader
        # Whoever left it may have been killed while it was paused.
        _signal_group(self.pid, signal.SIGCONT)

    def poll(self) -> int | None:
        """Whether it has ended: 0, whatever its exit code was, or None while it runs."""
        return None if is_alive(self._leader) else 0

    def stop(self) -> None:
        """Ends the whole group, which a command that has ended may have left."""
        if not processes_of_group(self.pid):
            return
        _signal_group(self.pid, signal.SIGTERM)
        _signal_group(self.pid, signal.SIGCONT)
        deadline = time.monotonic() + _GRACE_SECONDS
        try:
            while self.poll() is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        finally:
            _signal_group(self.pid, signal.SIGKILL)
        while processes_of_group(self.pid) and time.monotonic() < deadline + _GRACE_SECONDS:
            time.sleep(_PAUSE_POLL_SECONDS)


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs, and its number has not passed to another."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def processes_of_group(leader: int) -> list[psutil.Process]:
    """The living processes of a group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader and is_alive(process):
                found.append(process)
        except OSError:
            continue
    return found


def run_command(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    while_waiting: Callable[[], None] = lambda: None,
) -> None:
    """Runs a command to its end; whatever stops us stops it and its children.

    Args:
        command: name of an installed command and its arguments.
        environment: the whole environment of the command.
        log: gets the command line and all output, appended.
        while_waiting: called about five times a second.

    Raises:
        CommandError: with the end of the log, if the exit code is not 0.
    """
    process = LoggedProcess(command, environment, log)
    try:
        while process.poll() is None:
            while_waiting()
            time.sleep(_POLL_SECONDS)
    finally:
        # Also after a normal end: a crashed command may leave workers behind.
        exit_code = process.stop()
    if exit_code != 0:
        raise CommandError(
            f"{command[0]} failed with exit code {exit_code}; "
            f"the command and all it said: {log}\n{last_lines(log)}"
        )


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Lets SIGTERM and a closed terminal end this process as Ctrl-C does: `finally` clauses run.

    Python handles signals in the main thread alone; in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signal_number, frame):
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    # A process started with nohup ignores the closed terminal, and shall go on doing so.
    numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def last_lines(log: Path, number: int = _SHOWN_LOG_LINES) -> str:
    """The end of a log, indented; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 200 * number))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join("    " + line for line in lines[-number:])


def _stop_group(process: subprocess.Popen) -> None:
    if os.name == "nt":
        if process.poll() is None:
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False
            )
        process.wait()
        return
    _signal_group(process.pid, signal.SIGTERM)
    # What is paused would get it at its end only; the request to end comes first nevertheless.
    _signal_group(process.pid, signal.SIGCONT)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for_standstill(leader: int) -> None:
    """Returns when all processes of a paused group stand still, or after some seconds."""
    deadline = time.monotonic() + _PAUSE_SECONDS
    try:
        command = psutil.Process(leader)
        processes = [command, *command.children(recursive=True)]
    except psutil.Error:
        return
    while not all(_stands_still(process, leader) for process in processes):
        if time.monotonic() > deadline:
            return
        time.sleep(_PAUSE_POLL_SECONDS)


def _stands_still(process: psutil.Process, leader: int) -> bool:
    try:
        # What has left the group goes on; it is not ours to stop.
        stopped = process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
        return stopped or os.getpgid(process.pid) != leader
    except (psutil.Error, OSError):
        return True


def _signal_group(leader: int, number: int) -> None:
    # Nobody may be left; macOS then answers with a permission error for zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
