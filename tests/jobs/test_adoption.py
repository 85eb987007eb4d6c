"""A process that a killed launcher has left is judged by what it does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_nnunet import wait_for

from nnunet_attention.crossval import Folders, FoldRun, FoldState, FoldStep
from nnunet_attention.crossval.steps import fold as fold_module
from nnunet_attention.jobs import adoption
from nnunet_attention.jobs.adoption import Movement, command_that_runs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups")

IDLE = "import time; time.sleep(100)"
BUSY = "while True: pass"
RUN = FoldRun("Dataset901_Tiny", "3d_fullres", "Trainer", "nnUNetPlans", "0", ("-device", "cpu"))


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(adoption, "_STILL_SECONDS", 0.6)
    monkeypatch.setattr(adoption, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(fold_module, "_MOST_QUIET_SECONDS", 0.6)
    folders = Folders(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")
    RUN.folder(folders).mkdir(parents=True)
    return folders


@pytest.fixture
def start():
    """Starts Python with some words behind its program, in a group of its own."""
    started = []

    def start(program, *words, **options):
        command = [sys.executable, "-c", program, *words]
        process = subprocess.Popen(command, **{"start_new_session": True, **options})
        started.append(process)
        found = psutil.Process(process.pid)
        # The system shows no command line in the moment in which a process becomes a program.
        wait_for(lambda: found.cmdline() == command)
        return found

    yield start
    for process in started:
        process.kill()
        process.wait()


def has_stopped(folders, process, meanwhile=lambda: None) -> bool:
    """Whether it is thought to, within three seconds."""
    step = FoldStep(folders, RUN.dataset, (), RUN, FoldState.ABSENT)
    movement = Movement(step, process)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        if movement.has_stopped():
            return True
        meanwhile()
        time.sleep(0.02)
    return False


def commands() -> tuple[tuple[str, ...], ...]:
    nowhere = Folders(*(Path("nowhere"),) * 3)
    return FoldStep(nowhere, RUN.dataset, (), RUN, FoldState.ABSENT).adoptable_commands()


def write_log(folders, text: str) -> None:
    with (RUN.folder(folders) / "training_log_2026_1_1_0_0_0.txt").open("a") as log:
        log.write(text)


def test_who_neither_writes_nor_computes_has_stopped(folders, start):
    write_log(folders, "x: Epoch 0\n")
    assert has_stopped(folders, start(IDLE))


def test_who_writes_moves(folders, start):
    assert not has_stopped(folders, start(IDLE), lambda: write_log(folders, "x: Epoch 0\n"))


def test_a_prediction_is_a_movement(folders, start):
    validation = RUN.folder(folders) / "validation"
    validation.mkdir()
    names = iter(range(10_000))
    assert not has_stopped(
        folders, start(IDLE), lambda: (validation / f"{next(names)}.nii.gz").touch()
    )


def test_who_computes_moves_as_long_as_no_epoch_was_measured(folders, start):
    write_log(folders, "x: Epoch 0\n")
    assert not has_stopped(folders, start(BUSY))


def test_who_computes_and_ends_no_epoch_for_much_longer_than_epochs_take_has_stopped(
    folders, start
):
    process = start(BUSY)
    write_log(folders, "x: Epoch 0\nx: Epoch time: 0.01 s\nx: Epoch 1\n")
    assert has_stopped(folders, process)


def test_an_epoch_may_take_several_times_as_long_as_those_before(folders, start):
    process = start(BUSY)
    write_log(folders, "x: Epoch 0\nx: Epoch time: 1.0 s\nx: Epoch 1\n")
    assert not has_stopped(folders, process)


def test_a_long_case_of_the_validation_is_no_standstill(folders, start):
    process = start(BUSY)
    write_log(folders, "x: Epoch 0\nx: Epoch time: 0.01 s\nx: Training done.\nx: predicting a\n")
    assert not has_stopped(folders, process)


@pytest.mark.parametrize("state", list(FoldState))
def test_the_command_of_a_fold_is_known_in_whatever_state_it_was_begun(start, state):
    command = RUN.command(state)
    process = start(IDLE, *command)
    found, line = command_that_runs(commands(), [start(IDLE, "worker"), process])
    assert found == process
    assert line[1:] == command[1:]


def test_commands_with_other_options_workers_and_two_at_once_are_not_adopted(start):
    command = RUN.command(FoldState.ABSENT)
    assert command_that_runs(commands(), []) is None
    assert command_that_runs(commands(), [start(IDLE, *command, "--npz")]) is None
    assert command_that_runs(commands(), [start(IDLE, *command, start_new_session=False)]) is None
    assert command_that_runs(commands(), [start(IDLE, *command), start(IDLE, *command)]) is None
