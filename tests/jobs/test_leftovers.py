import json
import os
import subprocess
import threading

import psutil
import pytest
from made_up_steps import MadeUpStep

from nnunet_attention.jobs.leftovers import (
    STEP_VARIABLE,
    end_leftovers,
    end_processes,
    processes_of_steps,
)
from nnunet_attention.jobs.lock import Owner
from nnunet_attention.jobs.process import is_alive

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sleep is no command there")


@pytest.fixture
def left():
    """A function that starts what a launcher that is gone has left of a step."""
    started = []

    def start(step, *command):
        environment = {**os.environ, STEP_VARIABLE: step.mark}
        process = subprocess.Popen(command or ["sleep", "100"], env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_variable_is_the_one_that_older_versions_set():
    assert STEP_VARIABLE == "NNUNET_ATTENTION_CROSSVAL_STEP"


def test_processes_are_found_by_the_mark_of_their_step(left, tmp_path):
    step = MadeUpStep(tmp_path, "thing")
    processes = {left(step).pid, left(step).pid}
    left(MadeUpStep(tmp_path, "other"))
    assert {process.pid for process in processes_of_steps()[str(tmp_path / "thing")]} == processes


def test_this_process_is_not_its_own_leftover(monkeypatch):
    monkeypatch.setenv(STEP_VARIABLE, "mine")
    pids = [process.pid for group in processes_of_steps().values() for process in group]
    assert os.getpid() not in pids


def test_leftovers_of_a_step_that_nobody_is_at_are_ended_and_named(left, tmp_path):
    step = MadeUpStep(tmp_path, "thing")
    process, other = left(step), left(MadeUpStep(tmp_path, "other"))
    (note,) = end_leftovers([step])
    assert note == f"thing: ended 1 process(es) left behind by a killed launcher: {process.pid}"
    assert not is_alive(psutil.Process(process.pid))
    assert other.poll() is None


def test_what_somebody_is_at_is_left_alone(left, tmp_path):
    step = MadeUpStep(tmp_path, "thing")
    process = left(step)
    (tmp_path / ".thing.lock").write_text(json.dumps(vars(Owner.this_process())))
    assert end_leftovers([step]) == []
    assert process.poll() is None


def test_who_does_not_hear_the_request_is_killed(left, tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_attention.jobs.leftovers._GRACE_SECONDS", 0.5)
    deaf = left(MadeUpStep(tmp_path, "thing"), "sh", "-c", 'trap "" TERM; sleep 100')
    child = None
    while child is None:
        child = next(iter(psutil.Process(deaf.pid).children()), None)
    end_processes([psutil.Process(deaf.pid), child])
    assert not is_alive(psutil.Process(deaf.pid))
    assert not is_alive(child)


def test_who_has_ended_and_is_not_collected_is_not_waited_for(left, tmp_path, monkeypatch):
    process = psutil.Process(left(MadeUpStep(tmp_path, "thing")).pid)
    # The test process does not collect it, so that it is a zombie until the end of the test.
    monkeypatch.setattr("nnunet_attention.jobs.leftovers._GRACE_SECONDS", 1000.0)
    ending = threading.Thread(target=end_processes, args=([process],), daemon=True)
    ending.start()
    ending.join(60)
    assert not ending.is_alive()
    assert process.status() == psutil.STATUS_ZOMBIE
