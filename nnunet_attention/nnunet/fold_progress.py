"""Tells how far a running fold is, from the log that nnU-Net's training writes."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json
from nnunet_attention.nnunet.fold_state import FoldRun, validation_cases
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.model_folders import ALL
from nnunet_attention.nnunet.splits import read_splits
from nnunet_attention.nnunet.training_log import Phase, TrainingLog, read_newest_log

_EPOCHS_AVERAGED = 10


@dataclass(frozen=True)
class Progress:
    """Holds how far one fold is.

    Attributes:
        phase: "starting", "training", "validating" or "validated".
        epoch: the current or last epoch, counted from 1.
        epochs: their number; None where nnU-Net has not said it.
        pseudo_dice: mean over the labels after the last whole epoch; labels without a value are
            left out.
        epoch_seconds: the median duration of the last ten epochs.
        seconds_left: the time that the training without the validation, or the validation, will
            still take.
        validated_cases: the number of cases whose validation has begun or that are kept from an
            earlier one.
        cases: the number of cases to be validated; None where it is not known.
        case_seconds: the average time from the beginning of one case's validation to the next.
    """

    phase: Phase = "starting"
    epoch: int | None = None
    epochs: int | None = None
    pseudo_dice: float | None = None
    epoch_seconds: float | None = None
    seconds_left: float | None = None
    validated_cases: int = 0
    cases: int | None = None
    case_seconds: float | None = None


def read_progress(run: FoldRun, folders: Folders, since: float = 0.0) -> Progress:
    """Read how far a fold is from its newest log.

    Args:
        run: the fold.
        folders: nnU-Net's.
        since: a time in seconds since 1970; older logs are those of earlier attempts.
    """
    fold = run.folder(folders)
    progress = progress_of(read_newest_log(fold, since), _number_of_epochs(fold, since))
    cases = _number_of_cases(run, folders) if progress.phase == "validating" else None
    if cases is None:
        return progress
    left = None
    if progress.case_seconds is not None:
        # The case that was begun last has not ended.
        left = max(1, cases - progress.validated_cases + 1) * progress.case_seconds
    return replace(progress, cases=cases, seconds_left=left)


def progress_of(log: TrainingLog, epochs: int | None = None) -> Progress:
    """Work out how far a fold is.

    Args:
        log: its newest one, or the end of it.
        epochs: the number of epochs of the training, where known.
    """
    durations = [epoch.seconds for epoch in log.epochs if epoch.seconds is not None]
    epoch_seconds = statistics.median(durations[-_EPOCHS_AVERAGED:]) if durations else None
    left = None
    if log.phase == "training" and epochs is not None and epoch_seconds is not None:
        ended = max(log.seconds_of_epoch, default=-1) + 1
        left = max(0, epochs - ended) * epoch_seconds
    begun = [time for time in log.predictions_begun if time is not None]
    case_seconds = None
    if len(begun) > 1:
        case_seconds = (begun[-1] - begun[0]).total_seconds() / (len(begun) - 1)
    return Progress(
        phase=log.phase,
        epoch=None if log.last_epoch is None else log.last_epoch + 1,
        epochs=epochs,
        pseudo_dice=_last_pseudo_dice(log),
        epoch_seconds=epoch_seconds,
        seconds_left=left,
        validated_cases=log.kept_cases + len(log.predictions_begun),
        case_seconds=case_seconds,
    )


def _last_pseudo_dice(log: TrainingLog) -> float | None:
    for epoch in reversed(log.epochs):
        if epoch.pseudo_dice is not None:
            values = [value for value in epoch.pseudo_dice if not math.isnan(value)]
            return sum(values) / len(values) if values else None
    return None


def _number_of_epochs(fold: Path, since: float) -> int | None:
    """Read the number of epochs, which no log tells, from the trainer's attributes."""
    path = fold / "debug.json"
    try:
        if path.stat().st_mtime < since:
            return None
        return int(read_json(path)["num_epochs"])
    except (OSError, CommandError, KeyError, ValueError):
        return None


def _number_of_cases(run: FoldRun, folders: Folders) -> int | None:
    # Each of several GPUs validates its share, and one alone writes the log.
    if run.fold == ALL or "-num_gpus" in run.options:
        return None
    try:
        cases = validation_cases(read_splits(folders.splits(run.dataset)), run.fold, None)
    except CommandError:
        return None
    return None if cases is None else len(cases)
