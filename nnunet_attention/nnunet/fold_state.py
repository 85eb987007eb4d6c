"""Tells how far a fold has come, from what nnU-Net has left in its folder."""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.nnunet.checkpoints import BEST, FINAL, LATEST, damaged_checkpoints
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.model_folders import ALL, SUMMARY, ModelName, validation_folder
from nnunet_attention.nnunet.summary_json import summarised_cases

# Of predictions for a cascade's next stage, by version of nnU-Net.
_STAGE_ENDINGS = (".b2nd", ".npz", ".npy")


class FoldState(enum.Enum):
    """Names how far a fold has come."""

    ABSENT = "absent"
    INTERRUPTED = "interrupted"
    TRAINED = "trained"
    FINISHED = "finished"


@dataclass(frozen=True)
class FoldRun:
    """Names one training of nnU-Net with its validation.

    Attributes:
        dataset: full name, DatasetXXX_Name.
        configuration: such as 3d_fullres.
        trainer: name of the class.
        plans: name of the plans.
        fold: a number, or "all".
        options: further options of nnUNetv2_train, for every start.
        first_options: options for the first start only, such as -pretrained_weights.
        npz: whether probabilities are wanted too.
        next_stages: the configurations of a cascade that are trained on this one's predictions.
        repeat: counted from 1; its folder is that of `Folders.of_repeat`.
    """

    dataset: str
    configuration: str
    trainer: str
    plans: str
    fold: str
    options: tuple[str, ...] = ()
    first_options: tuple[str, ...] = ()
    npz: bool = False
    next_stages: tuple[str, ...] = ()
    repeat: int = 1

    @property
    def model(self) -> str:
        """The name of the model's folder."""
        return ModelName(self.trainer, self.plans, self.configuration).folder

    @property
    def name(self) -> str:
        """A unique name, for people."""
        return f"{self.dataset} {self.model} fold {self.fold}{repeat_in_words(self.repeat)}"

    def folder(self, folders: Folders) -> Path:
        """Return the folder of the fold's checkpoints and logs."""
        return folders.fold(self.dataset, self.trainer, self.plans, self.configuration, self.fold)

    def command(self, state: FoldState) -> tuple[str, ...]:
        """Return nnU-Net's command for what is left to do."""
        go_on = {FoldState.INTERRUPTED: ("--c",), FoldState.TRAINED: ("--val",)}
        return (
            *("nnUNetv2_train", self.dataset, self.configuration, self.fold),
            *("-tr", self.trainer, "-p", self.plans, *self.options),
            *(("--npz",) if self.npz else ()),
            *go_on.get(state, self.first_options),
        )


def repeat_in_words(repeat: int) -> str:
    """Return a name's suffix in a repeat; empty in the first, as if there were no others."""
    return "" if repeat == 1 else f", repeat {repeat}"


def fold_state(
    run: FoldRun,
    folders: Folders,
    cases: Collection[str] | None,
    file_ending: str,
    trained_on: Collection[str] = (),
) -> FoldState:
    """Tell where a fold stands.

    Args:
        run: the fold.
        folders: nnU-Net's.
        cases: those that it validates; None where they are not known yet.
        file_ending: that of the data set's images.
        trained_on: the cases that a validation must not hold.
    """
    fold = run.folder(folders)
    damaged = damaged_checkpoints(fold)
    usable = {
        name
        for name in (FINAL, LATEST, BEST)
        if (fold / name).is_file() and fold / name not in damaged
    }
    if FINAL in usable:
        validated = cases is not None and is_validated(run, folders, cases, file_ending, trained_on)
        return FoldState.FINISHED if validated else FoldState.TRAINED
    return FoldState.INTERRUPTED if usable else FoldState.ABSENT


def is_validated(
    run: FoldRun,
    folders: Folders,
    cases: Collection[str],
    file_ending: str,
    trained_on: Collection[str] = (),
) -> bool:
    """Tell whether a validation has left all files of all cases, and none of a training case."""
    validation = validation_folder(run.folder(folders))
    summarised = summarised_cases(validation / SUMMARY, file_ending)
    if not set(cases) <= summarised or summarised & set(trained_on):
        return False
    endings = [file_ending, *([".npz"] if run.npz else [])]
    if any(not _has(validation, case + ending) for case in cases for ending in endings):
        return False
    for following in run.next_stages:
        predicted = folders.next_stage(
            run.dataset, run.trainer, run.plans, run.configuration, following
        )
        present = {path.name for path in predicted.glob("*")}
        # Names of cases may have dots themselves, as DICOM's identifiers do.
        if any(present.isdisjoint(case + ending for ending in _STAGE_ENDINGS) for case in cases):
            return False
    return True


def predictions_of(
    run: FoldRun, folders: Folders, cases: Collection[str], file_ending: str
) -> list[Path]:
    """List those of the cases' segmentations that the fold's validation has left, sorted."""
    validation = validation_folder(run.folder(folders))
    paths = (validation / f"{case}{file_ending}" for case in sorted(cases))
    return [path for path in paths if path.is_file()]


def validation_cases(
    splits: Sequence[dict] | None, fold: str, all_cases: Collection[str] | None
) -> tuple[str, ...] | None:
    """Return the cases that a fold validates; None where they are not known yet."""
    if fold == ALL:
        return None if all_cases is None else tuple(sorted(all_cases))
    if splits is None or int(fold) >= len(splits):
        return None
    return tuple(splits[int(fold)]["val"])


def _has(folder: Path, name: str) -> bool:
    path = folder / name
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
