"""Stages are run once each, in time, and killed at any moment go on where they stopped."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from repository import REPOSITORY

from benchmarks.gpu import running
from benchmarks.gpu.running import Stage, run_stages
from benchmarks.gpu.work import Work
from nnunet_attention.errors import CommandError

# Notes that it begins, works, writes what it found whole, and notes that it ended.
WORKS = """
import os, signal, sys, time
journal, found, seconds = sys.argv[1:4]
def note(text):
    with open(journal, "a") as file:
        file.write(text + chr(10))
note("begin")
time.sleep(float(seconds))
# What is noted and what is found shall be the same thing.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
note("measured")
with open(found + ".part", "w") as file:
    file.write('{"value": 1}')
os.replace(found + ".part", found)
"""
PYTHON = Path(sys.executable).name


def stage(work, name, seconds=0.0, program=WORKS, **options):
    journal = work.root / f"{name}.journal"
    found = work.scratch(name) / "found.json"
    command = (PYTHON, "-c", program, str(journal), str(found), str(seconds))
    options = {"expected_seconds": 0.0, **options}
    return Stage(
        name, lambda scratch: json.loads((scratch / "found.json").read_text()), command, **options
    )


def journal(work, name):
    path = work.root / f"{name}.journal"
    return path.read_text().split() if path.is_file() else []


@pytest.fixture
def work(tmp_path):
    return Work(tmp_path)


def run(work, stages, seconds=60.0, said=None):
    deadline = time.monotonic() + seconds
    return run_stages(
        work,
        lambda finished: stages,
        {"kind": "Abacus"},
        lambda: deadline - time.monotonic(),
        (said if said is not None else []).append,
    )


def test_each_stage_is_run_once_and_its_result_names_the_machine(work):
    stages = [stage(work, "a"), stage(work, "b")]
    assert run(work, stages)
    assert run(work, stages)
    assert journal(work, "a") == journal(work, "b") == ["begin", "measured"]
    result = work.finished()["a"]
    assert result["found"] == {"value": 1}
    assert result["machine"] == {"kind": "Abacus"}
    assert result["ok"]
    assert result["seconds"] > 0


def test_later_stages_may_depend_on_what_earlier_ones_found(work):
    def stages(finished):
        yield stage(work, "a")
        if "a" in finished:
            yield Stage("twice", lambda _: {"value": 2 * finished["a"]["found"]["value"]})

    assert run_stages(work, stages, {}, lambda: 60.0, lambda _: None)
    assert work.finished()["twice"]["found"] == {"value": 2}


def test_a_failed_stage_is_told_recorded_and_not_run_again(work):
    said = []
    failing = stage(work, "a", program="print('why it failed'); raise SystemExit(3)")
    assert run(work, [failing, stage(work, "b")], said=said)
    result = work.finished()["a"]
    assert (result["ok"], result["reason"]) == (False, "exit code 3")
    assert "why it failed" in result["log_end"]
    assert work.finished()["b"]["ok"]
    assert any("a: FAILED, exit code 3" in line for line in said)
    before = work.log("a").stat().st_size
    assert run(work, [failing])
    assert work.log("a").stat().st_size == before


def test_a_stage_over_the_limit_is_ended_and_recorded_as_failed(work, monkeypatch):
    monkeypatch.setattr(running, "LIMIT_SECONDS", 0.5)
    assert run(work, [stage(work, "slow", 60)])
    assert work.finished()["slow"]["reason"] == "took more than 0 s"


def test_the_run_stops_in_time_and_leaves_no_result_of_what_it_stopped(work):
    began = time.monotonic()
    assert not run(work, [stage(work, "slow", 60)], seconds=1.0)
    assert time.monotonic() - began < 10
    assert work.finished() == {}


def test_what_is_too_long_for_the_time_left_waits_and_shorter_stages_go_first(work):
    said = []
    long = stage(work, "long", expected_seconds=3600.0)
    assert not run(work, [long, stage(work, "short")], said=said)
    assert list(work.finished()) == ["short"]
    assert said[-1] == "no time left for: long"


def test_findings_of_a_run_that_was_killed_before_it_wrote_the_result_are_taken(work):
    work.scratch("a").mkdir(parents=True)
    (work.scratch("a") / "found.json").write_text('{"value": 5}')
    assert run(work, [stage(work, "a")])
    assert work.finished()["a"]["found"] == {"value": 5}
    assert journal(work, "a") == []


def test_a_command_that_goes_on_is_told_to_end_in_good_order(work):
    program = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    open(sys.argv[1], 'a').write('ended in order')\n"
        "    sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open(sys.argv[1], 'a').write('begin ')\n"
        "time.sleep(60)\n"
    )
    trains = stage(work, "training", program=program, goes_on=True)
    assert not run(work, [trains], seconds=running._STOP_SECONDS + 1.5)
    assert journal(work, "training") == ["begin", "ended", "in", "order"]
    assert work.finished() == {}


KILLED = """
import sys, time
sys.path[:0] = {paths!r}
from pathlib import Path
import nnunet_attention
from benchmarks.gpu.running import run_stages
from benchmarks.gpu.work import Work
from test_gpu_running import stage
work = Work(Path(sys.argv[1]))
stages = [stage(work, name, 0.3) for name in "abcd"]
run_stages(work, lambda finished: stages, {{}}, lambda: 60.0, print)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments_nothing_is_measured_twice_and_nothing_lost(work, seed):
    folders = [Path(__file__).parent, REPOSITORY / "tests", REPOSITORY]
    program = KILLED.format(paths=[str(folder) for folder in folders])
    chance = random.Random(seed)

    def start():
        return subprocess.Popen([sys.executable, "-c", program, str(work.root)], cwd=work.root)

    for _ in range(5):
        process = start()
        if chance.random() < 0.7:
            # Until it is at work, however slow the machine is.
            lines = sum(len(journal(work, name)) for name in "abcd")
            wanted = lines + chance.randint(1, 3)
            while process.poll() is None:
                if sum(len(journal(work, name)) for name in "abcd") >= wanted:
                    break
                time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.4))
        process.kill()  # Unless it has come to its end by now.
        process.wait()
        for path in work.results.glob("*"):
            # Whole, or a part that carries another name.
            assert path.suffix == ".part" or json.loads(path.read_text())["ok"]
    assert start().wait(timeout=60) == 0
    assert list(work.finished()) == ["a", "b", "c", "d"]
    for name in "abcd":
        assert work.finished()[name]["found"] == {"value": 1}
        # A killed measurement is begun again; one that came to its end is not.
        assert journal(work, name).count("measured") == 1


def test_two_runs_in_one_folder_are_refused(work):
    with (
        running.Lock(work.root / ".lock", "it").held(),
        pytest.raises(CommandError, match=f"process {os.getpid()}"),
    ):
        run(work, [])


def test_a_stage_that_only_reads_and_finds_nothing_is_an_error(work):
    with pytest.raises(CommandError, match="choice: nothing to read"):
        run(work, [Stage("choice", lambda scratch: json.loads((scratch / "no").read_text()))])
