import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest
from fake_nnunet import wait_for
from made_up_steps import DeviceStep, MadeUpStep, MomentStep

from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.attempt import Attempt
from nnunet_attention.jobs.leftovers import STEP_VARIABLE
from nnunet_attention.jobs.lock import Lock, Owner
from nnunet_attention.jobs.output import Output
from nnunet_attention.jobs.process import LoggedProcess

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")

SLEEP = "import time; print('ready', flush=True); time.sleep(100)"


@pytest.fixture
def output(tmp_path):
    return Output(tmp_path / "out")


def ended(step, output, **options):
    """Makes an attempt to its end."""
    attempt = Attempt(step, output, dict(os.environ), "GPU 7", **options)
    attempt.start()
    wait_for(lambda: attempt.poll() is not None)
    return attempt


def records(output) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(output.attempts.glob("*.json"))]


def test_the_record_of_an_attempt_says_what_ran_where_and_how_it_ended(
    install_command, tmp_path, output
):
    install_command("thing", "raise SystemExit(3)")
    attempt = ended(MadeUpStep(tmp_path, "thing", words=("a", "b")), output)
    (record,) = records(output)
    expected = {
        "step": "thing",
        "kind": "made-up",
        "command": ["thing", "a", "b"],
        "state_before": None,
        "pid": os.getpid(),
        "device": "GPU 7",
        "notes": [],
        "log": str(tmp_path / "out" / "logs" / "thing.log"),
        "ok": False,
        "exit_code": 3,
        "message": attempt.poll().message,
    }
    assert {name: record[name] for name in expected} == expected
    assert "thing failed with exit code 3; its output is in" in record["message"]
    assert not (tmp_path / ".thing.lock").exists()


def test_a_command_gets_the_steps_variables_and_its_mark(install_command, tmp_path, output):
    install_command(
        "thing", f"import os; print(os.environ['MADE_UP'], os.environ[{STEP_VARIABLE!r}])"
    )
    assert ended(DeviceStep(tmp_path, "thing"), output).poll().ok
    assert f"thing {tmp_path / 'thing'}" in output.log("thing").read_text()


def test_a_step_without_a_command_is_done_at_once_and_recorded(tmp_path, output):
    attempt = Attempt(MomentStep(tmp_path, "thing"), output, {})
    attempt.start()
    assert attempt.poll().ok
    assert attempt.poll().exit_code is None
    assert (tmp_path / "thing").is_file()
    assert records(output)[0]["command"] == []


@dataclass(frozen=True)
class Prepared(MadeUpStep):
    """One that notes what is asked of it."""

    def cleared(self, note):
        note("something lay there")
        return None if self.is_there else self

    def before_start(self):
        (self.folder / "before").touch()

    def after(self):
        (self.folder / "after").touch()


@pytest.mark.parametrize("code", [0, 1])
def test_what_comes_after_a_command_is_done_only_if_it_succeeds(
    install_command, tmp_path, output, code
):
    install_command("thing", f"raise SystemExit({code})")
    ended(Prepared(tmp_path, "thing"), output)
    assert (tmp_path / "before").exists()
    assert (tmp_path / "after").exists() == (code == 0)
    assert records(output)[0]["notes"] == ["something lay there"]


def test_a_step_that_turns_out_to_be_done_starts_nothing(tmp_path, output):
    (tmp_path / "thing").touch()
    attempt = ended(Prepared(tmp_path, "thing"), output)
    assert attempt.poll().ok
    assert attempt.notes == ["something lay there"]
    assert records(output) == []
    assert not (tmp_path / "before").exists()


@dataclass(frozen=True)
class Unable(MomentStep):
    def do(self):
        raise CommandError("no data")


def test_a_step_that_cannot_be_done_says_why(tmp_path, output):
    result = ended(Unable(tmp_path, "thing"), output).poll()
    assert (result.ok, result.message) == (False, "thing cannot be started: no data")
    assert records(output)[0]["ok"] is False


def test_a_step_that_somebody_else_is_at_is_not_begun(tmp_path, output):
    child = subprocess.Popen(["sleep", "100"])
    try:
        owner = {**vars(Owner.this_process()), "pid": child.pid, "started": time.time()}
        (tmp_path / ".thing.lock").write_text(json.dumps(owner))
        result = ended(MomentStep(tmp_path, "thing"), output).poll()
    finally:
        child.kill()
        child.wait()
    assert f"thing is in use by process {child.pid}" in result.message
    assert not (tmp_path / "thing").exists()


def test_a_stop_waits_until_nothing_is_lost(install_command, tmp_path, output):
    install_command(
        "thing",
        f"import pathlib, time; busy = pathlib.Path({str(tmp_path / 'busy')!r}); busy.touch()\n"
        "time.sleep(1); busy.unlink(); time.sleep(100)",
    )
    attempt = Attempt(DeviceStep(tmp_path, "thing"), output, dict(os.environ))
    attempt.start()
    wait_for((tmp_path / "busy").exists)
    attempt.stop()
    assert not (tmp_path / "busy").exists()
    assert attempt.poll().exit_code == -signal.SIGTERM
    assert records(output)[0]["message"] == "stopped"


@pytest.fixture
def left(install_command, tmp_path):
    """A function that starts a command as a launcher that is gone has."""
    started = []

    def start(step, source):
        install_command(step.title, source)
        variables = {**os.environ, STEP_VARIABLE: step.mark}
        process = LoggedProcess(step.command, variables, tmp_path / "log")
        started.append(process)
        wait_for(lambda: "ready" in (tmp_path / "log").read_text())
        return process

    yield start
    for process in started:
        process.stop()


def test_a_command_that_was_left_running_is_watched_to_its_end(left, tmp_path, output):
    step = DeviceStep(tmp_path, "thing", words=("a", "b"))
    target = str(tmp_path / "thing")
    process = left(
        step,
        "import pathlib, time; print('ready', flush=True); time.sleep(1)\n"
        f"pathlib.Path({target!r}).touch()",
    )
    attempt = Attempt(step, output, dict(os.environ), adopts=True)
    attempt.start()
    assert attempt.adopted
    wait_for(lambda: process.poll() is not None)
    wait_for(lambda: attempt.poll() is not None)
    assert attempt.poll().ok
    assert f"as process {process.pid}, whose launcher is gone" in records(output)[0]["notes"][0]


def test_a_command_that_was_left_running_is_ended_where_it_is_not_watched(left, tmp_path, output):
    step = DeviceStep(tmp_path, "thing")
    process = left(step, SLEEP)
    attempt = Attempt(step, output, dict(os.environ))
    attempt.start()
    try:
        assert not attempt.adopted
        wait_for(lambda: process.poll() is not None)
        assert str(process.pid) in attempt.notes[0]
    finally:
        attempt.stop()


def test_the_lock_is_held_while_a_step_runs(install_command, tmp_path, output):
    install_command("thing", SLEEP)
    attempt = Attempt(MadeUpStep(tmp_path, "thing"), output, dict(os.environ))
    attempt.start()
    lock = Lock(tmp_path / ".thing.lock", "thing")
    assert lock.owner() == Owner.this_process()
    attempt.stop()
    assert lock.owner() is None
