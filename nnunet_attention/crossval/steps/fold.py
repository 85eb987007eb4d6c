"""The step that trains and validates a fold, and all that is special about stopping one."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from nnunet_attention.crossval.dataset import Dataset
from nnunet_attention.crossval.steps.base import CrossvalStep, existing, set_damaged_aside
from nnunet_attention.jobs.lock import Lock
from nnunet_attention.jobs.step import Note, Progress
from nnunet_attention.nnunet.checkpoints import FINAL, damaged_checkpoints, set_aside
from nnunet_attention.nnunet.datasets import is_packed
from nnunet_attention.nnunet.fold_progress import Progress as FoldProgress
from nnunet_attention.nnunet.fold_progress import read_progress
from nnunet_attention.nnunet.fold_state import FoldRun, FoldState, predictions_of, repeat_in_words
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.kept_cases import VARIABLE as KEPT_VARIABLE
from nnunet_attention.nnunet.kept_cases import whole_predictions
from nnunet_attention.nnunet.model_folders import short_title, validation_folder
from nnunet_attention.nnunet.seeds import VARIABLE as SEED_VARIABLE
from nnunet_attention.nnunet.splits import trained_on
from nnunet_attention.pace import duration

# A training that computes may only be busy-waiting for a device that does not answer. It must end
# an epoch in this many times the duration of earlier ones, and is given at least this time.
_MOST_EPOCHS, _MOST_QUIET_SECONDS = 10, 1800.0
_MANNERS = {
    FoldState.ABSENT: "new",
    FoldState.INTERRUPTED: "continues",
    FoldState.TRAINED: "validation only",
    FoldState.FINISHED: "finished",
}


@dataclass(frozen=True)
class FoldStep(CrossvalStep):
    """Trains and validates a fold, or does what is left of it.

    Attributes:
        run: the fold.
        state: how far it has come.
        variables: environment variables for its command.
    """

    run: FoldRun
    state: FoldState
    variables: tuple[tuple[str, str], ...] = ()
    kind: ClassVar[str] = "fold"
    takes_device: ClassVar[bool] = True
    # A checkpoint of a large network takes seconds to write to a slow disk.
    stop_seconds: ClassVar[float] = 60.0

    @property
    def name(self) -> str:
        """Return the fold's name."""
        return self.run.name

    @property
    def command(self) -> tuple[str, ...]:
        """Return nnU-Net's command for what is left to do."""
        return self.run.command(self.state)

    def place(self) -> Path:
        """Return the folder of the fold."""
        return self.run.folder(self.folders)

    def lock(self) -> Lock:
        """Return the lock that is held while a fold is trained or validated."""
        fold = self.place()
        return Lock(fold.with_name(f".{fold.name}.lock"), str(fold))

    @property
    def state_before(self) -> str:
        """Return how far it has come."""
        return self.state.value

    @property
    def remark(self) -> str:
        """Return how far it has come, and its seed if it has one."""
        seed = dict(self.variables).get(SEED_VARIABLE)
        return self.state.value if seed is None else f"{self.state.value}, seed {seed}"

    @property
    def manner(self) -> str:
        """Say whether it begins anew."""
        return _MANNERS[self.state]

    @property
    def cells(self) -> tuple[str, ...]:
        """Return data set, model and fold."""
        run = self.run
        model = f"{short_title(run.trainer, run.plans)} {run.configuration}"
        return (self.dataset_in_words, model, f"{run.fold}{repeat_in_words(run.repeat)}")

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """Return the data set's folder of results, and that of its data if these are unpacked."""
        results = existing(self.place().parents[1])
        if self.state is FoldState.TRAINED or not unpacks_data(self.run, self.folders):
            return (results,)
        return (results, *super().written_folders)

    def environment(self) -> dict[str, str]:
        """Return the fold's variables; a validation is told which cases need no prediction."""
        variables = {**super().environment(), **dict(self.variables)}
        if self.state is FoldState.TRAINED:
            variables[KEPT_VARIABLE] = json.dumps(kept_predictions(self.run, self.folders))
        return variables

    def cleared(self, note: Note) -> FoldStep | None:
        """Set aside damaged checkpoints and stray predictions; None if the fold is finished."""
        set_damaged_aside(damaged_checkpoints(self.place(), every_byte=True), note)
        state = state_of(self.run, self.folders)
        if state is FoldState.FINISHED:
            return None
        self._set_training_cases_aside(note)
        return replace(self, state=state)

    def is_done(self) -> bool:
        """Tell whether the fold is finished."""
        return state_of(self.run, self.folders) is FoldState.FINISHED

    def is_safe_to_stop(self) -> bool:
        """Tell whether all checkpoints are whole: nnU-Net writes in place."""
        return not damaged_checkpoints(self.place())

    def adoptable_commands(self) -> tuple[tuple[str, ...], ...]:
        """Return the fold's command in whatever state it was begun."""
        return tuple(self.run.command(state) for state in FoldState)

    def signature(self) -> frozenset[tuple[str, int, int]]:
        """Return all files that nnU-Net writes in a fold, its logs and predictions too."""
        fold = self.place()
        return frozenset(_files_in(fold) | _files_in(validation_folder(fold)))

    def longest_silence_seconds(self, since: float) -> float:
        """Return several times an epoch's duration; infinity before one ends or in validation."""
        progress = read_progress(self.run, self.folders, since)
        if progress.phase != "training" or progress.epoch_seconds is None:
            return float("inf")
        return max(_MOST_QUIET_SECONDS, _MOST_EPOCHS * progress.epoch_seconds)

    def progress(self, since: float) -> Progress:
        """Return the progress that the training's log shows."""
        progress = read_progress(self.run, self.folders, since)
        return Progress(_state(progress), _numbers(progress), _line(progress))

    def _set_training_cases_aside(self, note: Note) -> None:
        # nnU-Net evaluates whatever lies in the folder of the validation.
        strays = predictions_of_training_cases(self.run, self.folders)
        moved = set_aside(strays, "trained-on")
        if moved:
            first, target = next(iter(moved.items()))
            note(
                f"{first.parent} had {len(moved)} segmentation(s) of cases that the fold is "
                f"trained on; kept under other names, such as {target.name}. If it was trained "
                f"with another split, move {first.parent.parent} away to train it again"
            )


def state_of(run: FoldRun, folders: Folders) -> FoldState:
    """Return where a fold stands now; see `fold_state`."""
    return Dataset.of_run(run, folders).state_of(run)


def predictions_of_training_cases(run: FoldRun, folders: Folders) -> list[Path]:
    """List predictions in a fold's validation folder of cases that the fold was trained on."""
    dataset = Dataset.of_run(run, folders)
    trained = trained_on(dataset.splits, run.fold)
    return predictions_of(run, folders, trained, dataset.file_ending)


def unpacks_data(run: FoldRun, folders: Folders) -> bool:
    """Tell whether the training writes unpacked data beside the preprocessed ones."""
    dataset = Dataset.of_run(run, folders)
    found = (dataset.identifier(*pair) for pair in dataset.data_configurations)
    return any(is_packed(folders.data(run.dataset, name)) for name in found if name is not None)


def kept_predictions(run: FoldRun, folders: Folders) -> list[str]:
    """List the cases of a trained fold that a validation need not predict again."""
    dataset = Dataset.of_run(run, folders)
    fold, cases = run.folder(folders), dataset.validated(run.fold)
    # Predictions for a cascade's next stage lie elsewhere, and do not show whether they are whole.
    if cases is None or run.next_stages:
        return []
    validation = validation_folder(fold)
    return whole_predictions(validation, fold / FINAL, cases, dataset.file_ending, run.npz)


def _files_in(folder: Path) -> set[tuple[str, int, int]]:
    files = set()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                status = entry.stat()
                files.add((entry.path, status.st_size, status.st_mtime_ns))
    return files


def _state(progress: FoldProgress) -> str:
    if progress.phase == "validating" and progress.validated_cases:
        of = "" if progress.cases is None else f" of {progress.cases}"
        return f"validating, case {progress.validated_cases}{of}"
    return progress.phase


def _numbers(progress: FoldProgress) -> tuple[str, str, str, str]:
    """Return epoch, pseudo Dice, seconds of an epoch, and time left."""
    of = "" if progress.epochs is None else f"/{progress.epochs}"
    return (
        "" if progress.epoch is None else f"{progress.epoch}{of}",
        "" if progress.pseudo_dice is None else f"{progress.pseudo_dice:.4f}",
        "" if progress.epoch_seconds is None else f"{progress.epoch_seconds:.1f}",
        duration(progress.seconds_left),
    )


def _line(progress: FoldProgress) -> str:
    parts = [_state(progress)]
    if progress.phase == "training":
        of = "" if progress.epochs is None else f" of {progress.epochs}"
        parts = [f"epoch {progress.epoch}{of}"]
        if progress.pseudo_dice is not None:
            parts.append(f"pseudo Dice {progress.pseudo_dice:.4f}")
        if progress.epoch_seconds is not None:
            parts.append(f"{progress.epoch_seconds:.1f} s per epoch")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts)
