"""How far a running fold is, from the log that nnU-Net's training writes."""

from __future__ import annotations

import math
import re
import statistics
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.folds import FoldRun, validation_cases
from nnunet_attention.nnunet.splits import read_splits

# More than the ten epochs that the time of an epoch is taken from.
_TAIL_BYTES = 64_000
_EPOCHS_AVERAGED = 10
_EPOCH = re.compile(r": Epoch (\d+)\s*$")
_SECONDS = re.compile(r": Epoch time: ([\d.]+) s")
_DICE = re.compile(r": Pseudo dice \[(.*)\]")
_NUMBER = re.compile(r"(?<![\w.])(nan|-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)(?![\w.])")
_LINE_TRAINED = ": Training done."
_LINE_PREDICTING = ": predicting "
# As our trainers say it.
_KEPT = re.compile(r": The predictions of (\d+) of \d+ cases are kept")
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
        seconds_left: of the training without the validation, or of the validation.
        validated_cases: begun cases of the validation, and those kept from an earlier one.
        cases: that are to be validated; None where that is not known.
        case_seconds: from the beginning of a validated case to the next, on average.
    """

    phase: str = "starting"
    epoch: int | None = None
    epochs: int | None = None
    pseudo_dice: float | None = None
    epoch_seconds: float | None = None
    seconds_left: float | None = None
    validated_cases: int = 0
    cases: int | None = None
    case_seconds: float | None = None


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
    progress = parse_log(_tail(log), _number_of_epochs(fold, since))
    cases = _number_of_cases(run, folders) if progress.phase == "validating" else None
    if cases is None:
        return progress
    left = None
    if progress.case_seconds is not None:
        # The last one that was begun has not ended.
        left = max(1, cases - progress.validated_cases + 1) * progress.case_seconds
    return replace(progress, cases=cases, seconds_left=left)


def parse_log(text: str, epochs: int | None = None) -> Progress:
    """Reads the end of a training log.

    Args:
        text: whole lines, but for the first.
        epochs: of the training.
    """
    phase, epoch, dice, cases = "starting", None, None, 0
    ended = None
    begun: list[datetime] = []
    seconds: list[float] = []
    for line in text.splitlines():
        if found := _EPOCH.search(line):
            phase, epoch = "training", int(found[1]) + 1
        elif found := _DICE.search(line):
            dice = _mean(_NUMBER.findall(_plain(found[1])))
        elif found := _SECONDS.search(line):
            seconds.append(float(found[1]))
            ended = epoch
        elif found := _KEPT.search(line):
            phase, cases = "validating", cases + int(found[1])
        elif _LINE_TRAINED in line:
            phase = "validating"
        elif _LINE_PREDICTING in line:
            phase, cases = "validating", cases + 1
            with suppress(ValueError):
                begun.append(datetime.fromisoformat(line.partition(": ")[0]))
        elif _LINE_VALIDATED in line:
            phase = "validated"
    epoch_seconds = statistics.median(seconds[-_EPOCHS_AVERAGED:]) if seconds else None
    left = None
    if phase == "training" and epochs is not None and epoch_seconds is not None:
        left = max(0, epochs - (ended or 0)) * epoch_seconds
    case_seconds = None
    if len(begun) > 1:
        case_seconds = (begun[-1] - begun[0]).total_seconds() / (len(begun) - 1)
    return Progress(
        phase, epoch, epochs, dice, epoch_seconds, left, cases, case_seconds=case_seconds
    )


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


def _number_of_cases(run: FoldRun, folders: Folders) -> int | None:
    # Each of several GPUs validates its share, and one alone writes the log.
    if run.fold == "all" or "-num_gpus" in run.options:
        return None
    try:
        cases = validation_cases(read_splits(folders.splits(run.dataset)), run.fold, None)
    except CommandError:
        return None
    return None if cases is None else len(cases)


def _plain(text: str) -> str:
    """Without the names of numpy's types, as in np.float32(0.5)."""
    return re.sub(r"np\.\w+\(([^)]*)\)", r"\1", text)


def _mean(texts: list[str]) -> float | None:
    values = [value for value in map(float, texts) if not math.isnan(value)]
    return sum(values) / len(values) if values else None
