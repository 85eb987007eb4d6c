"""How far a running fold is, from the log that nnU-Net's training writes."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.crossval.folders import Folders
from nnunet_attention.crossval.folds import FoldRun
from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json

# More than the ten epochs that the time of an epoch is taken from.
_TAIL_BYTES = 64_000
_EPOCHS_AVERAGED = 10
_EPOCH = re.compile(r": Epoch (\d+)\s*$")
_SECONDS = re.compile(r": Epoch time: ([\d.]+) s")
_DICE = re.compile(r": Pseudo dice \[(.*)\]")
_NUMBER = re.compile(r"(?<![\w.])(nan|-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)(?![\w.])")
_LINE_TRAINED = ": Training done."
_LINE_PREDICTING = ": predicting "
_LINE_VALIDATED = "Validation complete"


@dataclass(frozen=True)
class Progress:
    """Of one fold.

    Attributes:
        phase: "starting", "training", "validating" or "validated".
        epoch: that runs, or ran last, counted from 1.
        epochs: of how many; None where nnU-Net has not said so.
        pseudo_dice: mean over the labels after the last whole epoch; labels without a value are
            left out.
        epoch_seconds: median of the last ten.
        seconds_left: of the training, without the validation.
        validated_cases: begun cases of the validation.
    """

    phase: str = "starting"
    epoch: int | None = None
    epochs: int | None = None
    pseudo_dice: float | None = None
    epoch_seconds: float | None = None
    seconds_left: float | None = None
    validated_cases: int = 0


def read_progress(run: FoldRun, folders: Folders, since: float = 0.0) -> Progress:
    """Reads the newest log of a fold.

    Args:
        run: the fold.
        folders: nnU-Net's.
        since: time in seconds since the epoch; older logs are those of earlier attempts.
    """
    fold = run.folder(folders)
    log = _newest_log(fold, since)
    if log is None:
        return Progress()
    return parse_log(_tail(log), _number_of_epochs(fold, since))


def parse_log(text: str, epochs: int | None = None) -> Progress:
    """Reads the end of a training log.

    Args:
        text: whole lines, but for the first.
        epochs: of the training.
    """
    phase, epoch, dice, cases = "starting", None, None, 0
    ended = None
    seconds: list[float] = []
    for line in text.splitlines():
        if found := _EPOCH.search(line):
            phase, epoch = "training", int(found[1]) + 1
        elif found := _DICE.search(line):
            dice = _mean(_NUMBER.findall(_plain(found[1])))
        elif found := _SECONDS.search(line):
            seconds.append(float(found[1]))
            ended = epoch
        elif _LINE_TRAINED in line:
            phase = "validating"
        elif _LINE_PREDICTING in line:
            phase, cases = "validating", cases + 1
        elif _LINE_VALIDATED in line:
            phase = "validated"
    epoch_seconds = statistics.median(seconds[-_EPOCHS_AVERAGED:]) if seconds else None
    left = None
    if phase == "training" and epochs is not None and epoch_seconds is not None:
        left = max(0, epochs - (ended or 0)) * epoch_seconds
    return Progress(phase, epoch, epochs, dice, epoch_seconds, left, cases)


def _newest_log(fold: Path, since: float) -> Path | None:
    # Their names do not sort by time: months and days have no leading zero.
    logs = []
    for path in fold.glob("training_log_*.txt"):
        try:
            changed = path.stat().st_mtime
        except OSError:
            continue
        if changed >= since:
            logs.append((changed, path))
    return max(logs)[1] if logs else None


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def _number_of_epochs(fold: Path, since: float) -> int | None:
    """nnU-Net's log does not say it; the file with all of the trainer's attributes does."""
    path = fold / "debug.json"
    try:
        if path.stat().st_mtime < since:
            return None
        return int(read_json(path)["num_epochs"])
    except (OSError, CommandError, KeyError, ValueError):
        return None


def _plain(text: str) -> str:
    """Without the names of numpy's types, as in np.float32(0.5)."""
    return re.sub(r"np\.\w+\(([^)]*)\)", r"\1", text)


def _mean(texts: list[str]) -> float | None:
    values = [value for value in map(float, texts) if not math.isnan(value)]
    return sum(values) / len(values) if values else None
