import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.jobs import process
from nnunet_attention.jobs.process import find_command, run_command

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def test_a_command_of_this_environment_is_found_without_the_search_path(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert find_command("nnUNetv2_train").startswith(os.path.dirname(sys.executable))


def test_a_command_elsewhere_is_found_on_the_search_path(tmp_path, monkeypatch):
    (tmp_path / "made_up").write_text("#!/bin/sh\n")
    (tmp_path / "made_up").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_command("made_up") == str(tmp_path / "made_up")


def test_a_command_that_is_not_installed_is_named_with_the_remedy():
    with pytest.raises(CommandError, match=r"made_up is not installed.*pip install nnunetv2"):
        find_command("made_up")


def test_output_and_errors_go_to_the_log_after_the_command(install_command, tmp_path):
    install_command("talk", "import sys; print(sys.argv[1]); print('oh', file=sys.stderr)")
    run_command(["talk", "hello"], os.environ, tmp_path / "logs" / "talk.log")
    assert (tmp_path / "logs" / "talk.log").read_text().split("\n")[0] == "$ talk hello"
    assert {"hello", "oh"} < set((tmp_path / "logs" / "talk.log").read_text().split("\n"))


def test_the_command_gets_the_given_environment_only(install_command, tmp_path):
    install_command("show", "import os; print(sorted(os.environ))")
    run_command(["show"], {"ONLY": "1"}, tmp_path / "log")
    assert "'ONLY'" in (tmp_path / "log").read_text()
    assert "'PATH'" not in (tmp_path / "log").read_text()


def test_a_failure_names_command_exit_code_log_and_the_last_lines(install_command, tmp_path):
    install_command("fail", "for i in range(40): print('line', i)\nraise SystemExit(3)")
    with pytest.raises(CommandError) as failure:
        run_command(["fail"], os.environ, tmp_path / "log")
    message = str(failure.value)
    assert "fail failed with exit code 3" in message
    assert str(tmp_path / "log") in message
    assert "line 39" in message
    assert "line 25" in message
    assert "line 24" not in message


def test_an_interrupt_stops_the_command_and_its_children(install_command, tmp_path):
    install_command(
        "parent",
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
        f"pathlib.Path({str(tmp_path / 'part')!r}).write_text(str(child.pid))\n"
        f"pathlib.Path({str(tmp_path / 'part')!r}).rename({str(tmp_path / 'pid')!r})\n"
        "time.sleep(100)",
    )

    def interrupt_once_started():
        if (tmp_path / "pid").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_command(["parent"], os.environ, tmp_path / "log", interrupt_once_started)
    child = int((tmp_path / "pid").read_text())
    wait_for(lambda: not is_running(child))


def test_a_child_left_behind_by_a_finished_command_is_stopped(install_command, tmp_path):
    install_command(
        "leave",
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(100)'])\n"
        "print(child.pid)",
    )
    run_command(["leave"], os.environ, tmp_path / "log")
    child = int((tmp_path / "log").read_text().split("\n")[1])
    wait_for(lambda: not is_running(child))


def test_a_stop_returns_only_when_no_process_of_the_group_runs(
    install_command, tmp_path, monkeypatch
):
    install_command("stay", "import time\ntime.sleep(100)")
    looks = [["a child"], ["a child"], []]
    monkeypatch.setattr(process, "processes_of_group", lambda leader: looks.pop(0))
    running = process.LoggedProcess(["stay"], os.environ, tmp_path / "log")
    running.stop()
    assert looks == []


def test_termination_interrupts_and_the_handler_comes_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), process.termination_as_interrupt():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_parser_needs_neither_torch_nor_nnunet():
    code = (
        "import sys, argparse; from nnunet_attention.cli import demo;"
        "demo.add_arguments(argparse.ArgumentParser());"
        "print(sorted({'torch', 'nnunetv2', 'matplotlib', 'SimpleITK'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_commands_of_a_folder_that_is_named_come_first(tmp_path, monkeypatch):
    (tmp_path / "nnUNetv2_train").write_text("#!/bin/sh\n")
    monkeypatch.setenv(process.COMMANDS_VARIABLE, str(tmp_path))
    assert find_command("nnUNetv2_train") == str(tmp_path / "nnUNetv2_train")


def test_an_ignored_signal_does_not_end_the_command(install_command, tmp_path):
    install_command(
        "stay", "import time\nprint('ready', flush=True)\ntime.sleep(1)\nprint('still here')"
    )
    log = tmp_path / "log"
    running = process.LoggedProcess(["stay"], os.environ, log, (signal.SIGUSR2,))
    wait_for(lambda: "ready" in log.read_text())
    os.kill(running.pid, signal.SIGUSR2)
    wait_for(lambda: running.poll() is not None)
    assert running.stop() == 0
    assert "still here" in log.read_text()


def test_a_signal_is_ignored_from_the_first_moment(install_command, tmp_path):
    install_command("stay", "import time\ntime.sleep(1)\nprint('still here')")
    running = process.LoggedProcess(["stay"], os.environ, tmp_path / "log", (signal.SIGUSR2,))
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        os.kill(running.pid, signal.SIGUSR2)
    wait_for(lambda: running.poll() is not None)
    assert running.stop() == 0
    assert "still here" in (tmp_path / "log").read_text()


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_nothing_else_is_ignored_and_nothing_blocked(tmp_path, monkeypatch):
    script = tmp_path / "show"
    script.write_text("#!/bin/sh\nexec grep ^Sig /proc/self/status\n")
    script.chmod(0o755)
    monkeypatch.setattr(process, "script_folders", lambda: [tmp_path])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    running = process.LoggedProcess(["show"], os.environ, tmp_path / "log", (signal.SIGUSR2,))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    wait_for(lambda: running.poll() is not None)
    lines = (tmp_path / "log").read_text().splitlines()
    masks = dict(line.split(":\t") for line in lines if line.startswith("Sig"))
    # Whoever started the tests may have had some ignored, as nohup has; Python's own come back.
    status = Path("/proc/self/status").read_text().splitlines()
    inherited = int(next(line for line in status if line.startswith("SigIgn")).split()[1], 16)
    assert int(masks["SigIgn"], 16) & ~inherited == 1 << (signal.SIGUSR2 - 1)
    assert int(masks["SigBlk"], 16) == 0


def test_with_a_signal_to_ignore_the_log_and_the_process_name_the_command_alone(
    install_command, tmp_path
):
    install_command("stay", "import time\nprint('ready', flush=True)\ntime.sleep(100)")
    log = tmp_path / "log"
    running = process.LoggedProcess(["stay", "a"], os.environ, log, (signal.SIGUSR2,))
    try:
        wait_for(lambda: "ready" in log.read_text())
        assert log.read_text().splitlines()[0] == "$ stay a"
        line = psutil.Process(running.pid).cmdline()
        assert line[-2:] == [str(tmp_path / "bin" / "stay"), "a"]
        assert "-c" not in line
        assert os.getpgid(running.pid) == running.pid
    finally:
        running.stop()


@pytest.fixture
def growing(install_command, tmp_path):
    """A command with a child, whose files grow without an end; and the files' sizes."""
    install_command(
        "grow",
        "import os, pathlib\n"
        "name = 'parent' if os.fork() else 'child'\n"
        f"file = pathlib.Path({str(tmp_path)!r}, name).open('ab', buffering=0)\n"
        "while file.write(b'x'):\n"
        "    pass",
    )
    files = [tmp_path / "parent", tmp_path / "child"]
    running = process.LoggedProcess(["grow"], os.environ, tmp_path / "log")
    wait_for(lambda: all(file.is_file() for file in files))
    yield running, lambda: [file.stat().st_size for file in files]
    running.stop()


def test_a_paused_command_and_its_children_stand_still_and_then_go_on(growing):
    running, sizes = growing
    with running.paused():
        paused = sizes()
        time.sleep(0.3)
        assert sizes() == paused
        assert running.poll() is None
    wait_for(lambda: all(now > then for now, then in zip(sizes(), paused, strict=True)))


def test_a_paused_command_can_be_stopped_and_writes_nothing_more(growing):
    running, sizes = growing
    with running.paused():
        paused = sizes()
        assert running.stop() == -signal.SIGTERM
    assert sizes() == paused


def test_pausing_what_has_ended_does_nothing(install_command, tmp_path):
    install_command("end", "")
    running = process.LoggedProcess(["end"], os.environ, tmp_path / "log")
    wait_for(lambda: running.poll() is not None)
    with running.paused():
        assert running.stop() == 0


def test_of_a_long_log_the_last_lines_are_shown_and_of_none_nothing(tmp_path):
    (tmp_path / "log").write_text("".join(f"line {number}\n" for number in range(1000)))
    assert process.last_lines(tmp_path / "log", 2) == "    line 998\n    line 999"
    assert process.last_lines(tmp_path / "none") == ""
