import io
import time
from types import SimpleNamespace

import pytest
from fake_nnunet import DATASET, FakeNnunet, plan
from rich.console import Console

from nnunet_attention.crossval import missing_steps
from nnunet_attention.crossval.attempt import Result
from nnunet_attention.crossval.view import Status, duration

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
    with Status(prepared.folders, console) as status:
        status.begin(plan(), steps)
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
