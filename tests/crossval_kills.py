"""Kills a cross-validation at random moments and looks at what the folds have gone through."""

import json
import os
import random
import signal
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import psutil
from fake_nnunet import FakeNnunet, kill, wait_for

EPOCHS = 5
SECONDS = 0.04
# On a quiet machine, when nothing is killed.
_PREPARATION_SECONDS = 2.5
_MOST_LINES = 12


def run_with_kills(fake: FakeNnunet, seed: int, kills: int) -> list[str]:
    """Starts, kills and restarts, and at last lets it come to its end; says what was killed."""
    chance = random.Random(seed)
    done = []
    for _ in range(kills):
        before = _number_of_lines(fake)
        process = fake.start("-f", "0", "1", "--at-once", "2", **_speed())
        if chance.random() < 0.3:
            time.sleep(chance.uniform(0.1, _PREPARATION_SECONDS))
        else:
            wait_for_lines(fake, process, before + chance.randint(1, _MOST_LINES))
            time.sleep(chance.uniform(0, 3 * SECONDS))
        what = chance.choice(("launcher", "fold", "both"))
        if what in ("fold", "both"):
            folds = _training_processes(fake)
            for pid in folds if what == "both" else folds[:1]:
                _kill_process(pid)
            done += [f"fold of {len(folds)}"] if folds else []
        if what in ("launcher", "both"):
            kill(process)
            done.append("launcher")
        else:
            output, _ = process.communicate(timeout=120)
            assert process.returncode in (0, 1), output
    code, output = fake.run("-f", "0", "1", "--at-once", "2", **_speed())
    assert code == 0, output
    return done


def assert_nothing_lost(fake: FakeNnunet) -> None:
    """All is there, whole, and no fold was trained twice or by two processes at a time."""
    code, output = fake.run("-f", "0", "1", "--dry-run")
    assert code == 0, output
    assert output == "nothing is missing\n"
    journals = fake.journals()
    assert len(journals) == 4, journals
    for name, lines in journals.items():
        assert "overlap" not in lines, (name, lines)
        assert "afresh in spite of a checkpoint" not in lines, (name, lines)
        assert lines.count("trained") <= 1 or _final_was_damaged(fake, name), (name, lines)
        if "trained" in lines and not _final_was_damaged(fake, name):
            after = lines[lines.index("trained") :]
            assert not [line for line in after if line.startswith("epoch")], (name, lines)
        _assert_whole(fake, name)
        epochs = [int(line.split()[1]) for line in lines if line.startswith("epoch")]
        assert set(epochs) == set(range(EPOCHS)), (name, lines)
    for left in fake.left_processes():
        _kill_process(left)
        raise AssertionError(f"process {left} was left")


def _assert_whole(fake: FakeNnunet, name: str) -> None:
    fold = next(fake.folders.results.glob(f"*/{name}"))
    splits = json.loads(next(fake.folders.preprocessed.glob("*/splits_final.json")).read_text())
    wanted = splits[int(fold.name.removeprefix("fold_"))]["val"]
    summary = json.loads((fold / "validation" / "summary.json").read_text())
    found = [Path(one["prediction_file"]).name for one in summary["metric_per_case"]]
    assert found == [f"{case}.nii.gz" for case in wanted], name
    for prediction in found:
        assert (fold / "validation" / prediction).read_bytes() == b"whole", name
    with zipfile.ZipFile(fold / "checkpoint_final.pth") as archive:
        assert archive.testzip() is None, name


def wait_for_lines(fake: FakeNnunet, process, number: int) -> None:
    """Until the folds have noted so much, or the launcher has ended."""
    wait_for(lambda: _number_of_lines(fake) >= number or process.poll() is not None)


def _number_of_lines(fake: FakeNnunet) -> int:
    return sum(map(len, fake.journals().values()))


def _speed() -> dict:
    return {"FAKE_EPOCHS": EPOCHS, "FAKE_SECONDS": SECONDS}


def _final_was_damaged(fake: FakeNnunet, name: str) -> bool:
    model, fold = name.split("/")
    return any(fake.folders.results.glob(f"*/{model}/{fold}/checkpoint_final.pth.damaged-*"))


def _training_processes(fake: FakeNnunet) -> list[int]:
    found = []
    for pid in fake.left_processes():
        try:
            if "nnUNetv2_train" in psutil.Process(pid).cmdline():
                found.append(pid)
        except psutil.Error:
            continue
    return found


def _kill_process(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
