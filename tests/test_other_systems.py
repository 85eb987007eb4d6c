"""What of Windows and macOS can be imitated on Linux; neither has been tried itself.

Names that only POSIX systems have are taken away, and the branches for Windows are run with its
names in place of ours.
"""

import ast
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from repository import REPOSITORY

from nnunet_attention import doorway
from nnunet_attention.engines import sessions
from nnunet_attention.errors import CommandError
from nnunet_attention.jobs import adoption, process

# Of what this package might use, the names that Python does not have on Windows.
NOT_IN_OS = (
    *("chown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups", "getloadavg"),
    *("getpgid", "getpgrp", "getpriority", "getsid", "getuid", "killpg", "lchown", "mkfifo"),
    *("nice", "posix_fadvise", "posix_spawn", "sched_getaffinity", "sched_setaffinity"),
    *("setpgid", "setpriority", "setsid", "setuid", "statvfs", "sysconf", "uname", "wait"),
)
NOT_IN_SIGNAL = (
    *("SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP"),
    *("SIGTSTP", "SIGUSR1", "SIGUSR2", "SIGXFSZ", "alarm", "pause", "pthread_kill"),
    *("pthread_sigmask", "setitimer", "sigwait", "SIG_BLOCK", "SIG_SETMASK", "SIG_UNBLOCK"),
)
MODULES_NOT_THERE = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios")

# All modules are imported once, for what they import of others, and then again without the names.
IMPORTING = f"""
import importlib, os, pkgutil, signal, sys
import nnunet_attention

def import_all():
    root = importlib.import_module("nnunet_attention")
    names = []
    for module in pkgutil.walk_packages(root.__path__, "nnunet_attention."):
        importlib.import_module(module.name)
        names.append(module.name)
    return names

first = import_all()
for name in [*sys.modules]:
    if name.partition(".")[0] == "nnunet_attention":
        del sys.modules[name]
for name in {NOT_IN_OS}:
    vars(os).pop(name, None)
for name in {NOT_IN_SIGNAL}:
    vars(signal).pop(name, None)
for name in {MODULES_NOT_THERE}:
    sys.modules[name] = None
assert import_all() == first
assert "nnunet_attention.jobs.slurm" in first
"""

# Where nothing leads on Windows: SLURM's jobs, process groups, exit codes below 0.
FOR_POSIX_ONLY = {
    ("jobs/adoption.py", "getpgid"),
    ("jobs/attempt.py", "SIGKILL"),
    *(("jobs/process.py", name) for name in ("SIGCONT", "SIGHUP", "SIGKILL", "SIGSTOP")),
    *(("jobs/process.py", name) for name in ("SIG_BLOCK", "SIG_SETMASK", "getpgid", "killpg")),
    ("jobs/process.py", "pthread_sigmask"),
    *(("jobs/slurm.py", name) for name in ("SIGUSR2", "SIG_BLOCK", "SIG_UNBLOCK")),
    ("jobs/slurm.py", "pthread_sigmask"),
    # Has another way where there is none.
    ("processor.py", "sched_getaffinity"),
}


def test_all_modules_can_be_imported_without_what_only_posix_has():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IMPORTING],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_names_that_only_posix_has_stand_where_nothing_leads_on_windows():
    package = REPOSITORY / "nnunet_attention"
    used = set()
    for path in (*package.rglob("*.py"), *(REPOSITORY / "trainers").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names = {"os": NOT_IN_OS, "signal": NOT_IN_SIGNAL}.get(node.value.id, ())
                if node.attr in names:
                    used.add((path.relative_to(package).as_posix(), node.attr))
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                imported = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not imported.intersection(MODULES_NOT_THERE), path
    assert used == FOR_POSIX_ONLY


@pytest.fixture
def windows(monkeypatch):
    """The modules that start commands see the `os` and `signal` of Windows."""
    poorer = {name: value for name, value in vars(os).items() if name not in NOT_IN_OS}
    fake = SimpleNamespace(**poorer | {"name": "nt"})
    signals = {name: value for name, value in vars(signal).items() if name not in NOT_IN_SIGNAL}
    for module in (process, adoption):
        monkeypatch.setattr(module, "os", fake)
    monkeypatch.setattr(process, "signal", SimpleNamespace(**signals))


def test_commands_of_windows_end_in_exe(windows, monkeypatch, tmp_path):
    (tmp_path / "nnUNetv2_train.exe").touch()
    monkeypatch.setenv(process.COMMANDS_VARIABLE, str(tmp_path))
    assert process.find_command("nnUNetv2_train") == str(tmp_path / "nnUNetv2_train.exe")
    with pytest.raises(CommandError, match="made_up is not installed"):
        process.find_command("made_up")


class Sleeping:
    """A command that runs until taskkill, or not at all."""

    def __init__(self, exit_code=None):
        self.pid, self.returncode = 4711, exit_code

    def poll(self):
        return self.returncode

    def wait(self):
        assert self.returncode is not None
        return self.returncode


def test_a_command_is_stopped_with_its_children_by_taskkill(windows, monkeypatch):
    command, calls = Sleeping(), []

    def taskkill(arguments, **_):
        calls.append(arguments)
        command.returncode = 1

    monkeypatch.setattr(process.subprocess, "run", taskkill)
    process._stop_group(command)
    assert calls == [["taskkill", "/T", "/F", "/PID", "4711"]]
    process._stop_group(Sleeping(exit_code=0))
    assert len(calls) == 1


def test_a_command_runs_in_a_group_of_its_own_as_windows_makes_them(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(process.subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    assert process._own_group_flags() == 512


def test_nothing_is_paused_or_adopted_where_there_are_no_process_groups(windows):
    group = process._Group()
    group.pid = 4711
    with group.paused():
        pass
    assert adoption.command_that_runs([("nnUNetv2_train", "4")], []) is None


def test_ctrl_c_ends_a_command_where_no_terminal_can_hang_up(windows):
    with process.termination_as_interrupt():
        assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_processors_are_counted_where_none_can_be_reserved(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert sessions.processors() == 6


def start_up_line() -> str:
    setup = ast.parse((REPOSITORY / "setup.py").read_text(encoding="utf-8"))
    (value,) = (
        node.value
        for node in setup.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "START_UP_LINE"
    )
    return ast.literal_eval(value)


def test_the_start_up_line_parts_folders_as_windows_does(monkeypatch):
    monkeypatch.setattr(os, "pathsep", ";")
    monkeypatch.setenv(doorway.SEARCH_PATH_VARIABLE, r"C:\mine;D:\yours")
    for _ in range(2):
        exec(start_up_line(), {})
        folders = os.environ[doorway.SEARCH_PATH_VARIABLE].split(";")
        assert folders == [r"C:\mine", r"D:\yours", doorway.directory()]
