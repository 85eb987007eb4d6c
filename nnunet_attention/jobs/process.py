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
from types import FrameType

import psutil

from nnunet_attention.errors import CommandError

# For commands that are installed elsewhere, such as wrappers that start a container.
COMMANDS_VARIABLE = "NNUNET_ATTENTION_COMMANDS"
_SHOWN_LOG_LINES = 15
_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.2
# A process pauses only at the end of the system call that it is in.
_PAUSE_SECONDS, _PAUSE_POLL_SECONDS = 5.0, 0.001


def script_folders() -> list[Path]:
    """List the folders searched for commands: one that the user names, then the environment's."""
    named = os.environ.get(COMMANDS_VARIABLE)
    own = [Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))]
    return [Path(named), *own] if named else own


def find_command(name: str) -> str:
    """Find an installed command: in this Python environment first, then on the search path.

    Raises:
        CommandError: if it is not installed.
    """
    file_name = name + (".exe" if os.name == "nt" else "")
    for folder in script_folders():
        if (folder / file_name).is_file():
            return str(folder / file_name)
    path = shutil.which(name)
    if path is None:
        raise CommandError(
            f"the command {name} is not installed beside {sys.executable}; "
            "install nnU-Net with: pip install nnunetv2"
        )
    return path


# This program becomes the command, which inherits ignored signals. They are blocked at first, so
# that those that arrive meanwhile are dropped. Python ignores others, which the command must not.
_IGNORING = """
import os, signal, sys
numbers = [int(number) for number in sys.argv[1].split(",")]
for number in numbers:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
for name in ("SIGPIPE", "SIGXFSZ"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:])
"""


class _Group:
    """A command that leads a process group of its own."""

    pid: int

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause the whole group inside the `with` block, so that its files do not change.

        `stop` works inside the block. Windows cannot pause a group; there this does nothing.
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
        """Start it.

        Args:
            command: name of an installed command and its arguments.
            environment: the whole environment of the command.
            log: gets the command line and all output, appended.
            ignored_signals: signals that the command and its children ignore, unless they handle
                them.

        Raises:
            CommandError: if the command is not installed.
        """
        arguments = [find_command(command[0]), *command[1:]]
        if ignored_signals:
            numbers = ",".join(str(int(number)) for number in ignored_signals)
            arguments = [sys.executable, "-I", "-S", "-c", _IGNORING, numbers, *arguments]
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        with log.open("ab") as output, _blocked(ignored_signals):
            output.write(f"$ {shlex.join(command)}\n".encode())
            output.flush()
            self._process = subprocess.Popen(
                arguments,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                creationflags=_own_group_flags(),
            )
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs; after a signal, minus its number."""
        return self._process.poll()

    def stop(self) -> int:
        """End the whole group, as children may outlive the command; return the exit code."""
        _stop_group(self._process)
        return self._process.returncode


class AdoptedProcess(_Group):
    """A command that another process has started as a `LoggedProcess`, and left.

    It is no child of this process: the system does not tell how it ends.

    Attributes:
        pid: of the command, which leads the group.
    """

    def __init__(self, leader: psutil.Process):
        """Watch it from now on.

        Args:
            leader: the command's process.
        """
        self.pid = leader.pid
        self._leader = leader
        # The launcher that left it may have been killed while the group was paused.
        _signal_group(self.pid, signal.SIGCONT)

    def poll(self) -> int | None:
        """Return 0 if it has ended, whatever its exit code was, or None while it runs."""
        return None if is_alive(self._leader) else 0

    def stop(self) -> None:
        """End the whole group, as children may outlive the command."""
        if not processes_of_group(self.pid):
            return
        _signal_group(self.pid, signal.SIGTERM)
        _signal_group(self.pid, signal.SIGCONT)
        deadline = time.monotonic() + _GRACE_SECONDS
        try:
            while self.poll() is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        finally:
            _kill_group(self.pid)


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process runs, and its process ID has not passed to another."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def processes_of_group(leader: int) -> list[psutil.Process]:
    """List the living processes of a group."""
    members = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader and is_alive(process):
                members.append(process)
        except OSError:
            continue
    return members


def run_command(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    while_waiting: Callable[[], None] = lambda: None,
) -> None:
    """Run a command to its end; whatever stops us stops it and its children.

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
            f"the command and its output are in {log}\n{last_lines(log)}"
        )


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end this process as Ctrl-C does: `finally` clauses run.

    Python handles signals in the main thread alone; in another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signal_number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    # A process started with nohup ignores the closed terminal, and must go on doing so.
    numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def last_lines(log: Path, number: int = _SHOWN_LOG_LINES) -> str:
    """Return the end of a log, indented; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 200 * number))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join("    " + line for line in lines[-number:])


def _own_group_flags() -> int:
    # Where there are no sessions, this does what a session does elsewhere.
    if sys.platform == "win32":
        return subprocess.CREATE_NEW_PROCESS_GROUP
    return 0


@contextmanager
def _blocked(signals: Sequence[signal.Signals]) -> Iterator[None]:
    """Block signals in this thread, and so in a process that it starts meanwhile."""
    if not signals:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop_group(process: subprocess.Popen) -> None:
    if os.name == "nt":
        if process.poll() is None:
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False
            )
        process.wait()
        return
    _signal_group(process.pid, signal.SIGTERM)
    # Paused processes get the request to end only now; it is sent first nevertheless.
    _signal_group(process.pid, signal.SIGCONT)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _kill_group(process.pid)
        process.wait()


def _kill_group(leader: int) -> None:
    """Kill what is left of a group, and return when it is gone, or after some seconds."""
    _signal_group(leader, signal.SIGKILL)
    # A process that was killed runs for a moment more on a busy machine.
    deadline = time.monotonic() + _GRACE_SECONDS
    while processes_of_group(leader) and time.monotonic() < deadline:
        time.sleep(_PAUSE_POLL_SECONDS)


def _wait_for_standstill(leader: int) -> None:
    """Return when all processes of a paused group stand still, or after some seconds."""
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
        # A process that has left the group runs on; it is not ours to stop.
        stopped = process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
        return stopped or os.getpgid(process.pid) != leader
    except (psutil.Error, OSError):
        return True


def _signal_group(leader: int, number: int) -> None:
    # Perhaps no process is left; macOS then answers with a permission error for zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
