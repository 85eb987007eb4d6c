import io
import time
from types import SimpleNamespace

import pytest
from fake_nnunet import DATASET, FakeNnunet, plan
from rich.console import Console

from nnunet_attention.crossval import FoldStep, missing_steps
from nnunet_attention.crossval.work import CrossvalWork
from nnunet_attention.jobs.attempt import Result
from nnunet_attention.jobs.view import Status, duration

LOG = """\
x: Epoch 0
x: Pseudo dice [0.25, 0.75]
x: Epoch time: 90.0 s
x: Epoch 1
"""


@pytest.fixture
def prepared(tmp_path):
    fake = FakeNnunet(tmp_path)
    fake.prepare()
    return fake


def shown(prepared, terminal: bool) -> str:
    """What is on the screen after one fold has begun, trained an epoch, and failed."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=160)
    steps = missing_steps(plan(), prepared.folders)
    run = steps[0].run
    with Status(console) as status:
        status.begin(CrossvalWork(plan(), prepared.folders), steps)
        running = SimpleNamespace(
            step=steps[0],
            device="GPU 3",
            started=time.time() - 5,
            notes=["something was found"],
            waits=False,
            adopted=False,
        )
        waiting = SimpleNamespace(
            step=steps[1],
            device="SLURM job 7_1",
            started=time.time(),
            notes=[],
            waits=True,
            adopted=False,
        )
        status.started(running)
        run.folder(prepared.folders).mkdir(parents=True)
        (run.folder(prepared.folders) / "training_log_2026_1_1_0_0_0.txt").write_text(LOG)
        (run.folder(prepared.folders) / "debug.json").write_text('{"num_epochs": "1000"}')
        status.update(steps[2:], [running, waiting])
        status.ended(steps[0], Result(False, "it broke\n    its last line", 5.0, 1))
        return console.file.getvalue()


def test_a_terminal_shows_every_running_fold_with_its_progress(prepared):
    text = shown(prepared, terminal=True)
    for part in (
        "901 Tiny",
        "TrainerA 3d_fullres",
        "2/1000",
        "0.5000",
        "90.0",
        "24:58 h",
        "GPU 3",
    ):
        assert part in text
    assert "waiting" in text
    assert "queued" in text
    assert "0 of 4 folds finished" in text


def test_elsewhere_lines_tell_beginning_and_end(prepared):
    text = shown(prepared, terminal=False)
    assert "0 of 4 folds are finished; 6 steps to do" in text
    assert "note: something was found" in text
    assert f"start {DATASET} TrainerA__nnUNetPlans__3d_fullres fold 0 (new) on GPU 3" in text
    assert "FAILED it broke\n    its last line" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1:00 min"),
        (3725, "1:02 h"),
        (90000, "25:00 h"),
    ],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def line_about(prepared, monkeypatch, log: str, kind: str = "fold") -> str:
    """The line that a running step gets where nobody looks at a table."""
    monkeypatch.setattr("nnunet_attention.jobs.view.Pace.is_due", lambda pace: True)
    console = Console(file=io.StringIO(), width=160)
    step = next(step for step in missing_steps(plan(), prepared.folders) if step.kind == kind)
    if isinstance(step, FoldStep):
        fold = step.run.folder(prepared.folders)
        fold.mkdir(parents=True)
        (fold / "training_log_2026_1_1_0_0_0.txt").write_text(log)
        (fold / "debug.json").write_text('{"num_epochs": "1000"}')
    running = SimpleNamespace(
        step=step, device="", started=time.time() - 125, notes=[], waits=False, adopted=False
    )
    with Status(console) as status:
        status.update([], [running])
    return console.file.getvalue().partition(f"{step.name}: ")[2].strip()


def test_elsewhere_a_line_tells_epoch_dice_and_time_left(prepared, monkeypatch):
    assert line_about(prepared, monkeypatch, LOG) == (
        "epoch 2 of 1000, pseudo Dice 0.5000, 90.0 s per epoch, 24:58 h left"
    )


def test_elsewhere_a_line_tells_the_case_that_is_validated(prepared, monkeypatch):
    log = (
        "2026-01-01 00:00:00.5: Training done.\n"
        "2026-01-01 00:00:01.250000: predicting case_00\n"
        "2026-01-01 00:00:31.250000: predicting case_05\n"
    )
    line = line_about(prepared, monkeypatch, log)
    assert line == "validating, case 2 of 2, 30 s left"


def test_elsewhere_a_step_of_the_preparation_tells_how_long_it_runs(prepared, monkeypatch):
    prepared.folders.splits(DATASET).unlink()
    assert line_about(prepared, monkeypatch, "", "splits") == "running for 2:05 min"


def test_elsewhere_lines_about_a_step_come_at_a_pace(prepared):
    console = Console(file=io.StringIO(), width=160)
    step = missing_steps(plan(), prepared.folders)[0]
    running = SimpleNamespace(
        step=step, device="", started=time.time(), notes=[], waits=False, adopted=False
    )
    with Status(console) as status:
        for _ in range(100):
            status.update([], [running])
    assert console.file.getvalue() == ""


def test_what_is_noted_meanwhile_is_said_once(prepared):
    console = Console(file=io.StringIO(), width=160)
    step = missing_steps(plan(), prepared.folders)[0]
    running = SimpleNamespace(
        step=step, device="GPU 3", started=time.time(), notes=["a"], waits=False, adopted=True
    )
    with Status(console) as status:
        status.started(running)
        running.notes.append("b")
        status.update([], [running])
        status.update([], [running])
    said = [line.split(" ", 1)[1] for line in console.file.getvalue().splitlines()]
    assert said == ["note: a", f"watch {step.name} on GPU 3", "note: b"]
