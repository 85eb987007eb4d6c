"""Divides a data set's cases for fine-tuning: some with coarser labels, and others to learn from.

Two data sets are made in nnUNet_raw, with links to the original's images. The one for pretraining
has all labels merged into one. The other has the original's labels, and splits that train on 10, 20
and 40 cases and validate the same remaining cases. The original is only read.
"""

from __future__ import annotations

import glob
import os
import random
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.derived import FIRST_NUMBER, LAST_NUMBER
from nnunet_attention.experiments.predicting import images_of
from nnunet_attention.experiments.stages import Action
from nnunet_attention.files import NNUNET_LAYOUT, link, read_json, remove, write_json
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, read_dataset_json
from nnunet_attention.nnunet.dataset_names import (
    folders_of_datasets,
    full_dataset_name,
    number_of_dataset,
    short_dataset_name,
)
from nnunet_attention.nnunet.folders import RAW_REFERENCES, Folders

SIZES = (10, 20, 40)
"""Cases that are trained on, a fold each; the smaller are among the larger."""
PRETRAINING_SHARE = 0.4
"""Of all cases; 104 of the 260 of MSD Task04."""
_NOTE = "divided.json"
_MADE_BY = "nnunet-attention experiment finetune"
_SEED = 0
_IMAGES = "imagesTr"


@dataclass(frozen=True)
class Division:
    """Holds which cases go where.

    Attributes:
        original: Full name of the data set.
        pretraining: Full name of the data set with merged labels.
        target: Full name of the data set with the original's labels.
        merged: Cases of the pretraining.
        learnt: Cases that are trained on, the first ones in the smallest fold.
        tested: Cases that every fold validates.
    """

    original: str
    pretraining: str
    target: str
    merged: tuple[str, ...]
    learnt: tuple[str, ...]
    tested: tuple[str, ...]

    @property
    def splits(self) -> list[dict]:
        """The target's folds, as nnU-Net reads them."""
        return [{"train": sorted(self.learnt[:size]), "val": list(self.tested)} for size in SIZES]


def divide(folders: Folders, original: str, number: int | None = None) -> Division:
    """Find out which cases go where, and the names of the data sets, new or there already.

    Args:
        folders: nnU-Net's folders.
        original: Full name of the data set.
        number: Number of the first data set, which the second's follows; None: the first free ones
            from 900 on.

    Raises:
        CommandError: If there are too few cases, or the numbers are taken.
    """
    described = read_dataset_json(folders.raw_dataset_json(original), channels=True)
    _check_labels(folders, original, described)
    cases = _cases(folders, original, described["file_ending"])
    random.Random(_SEED).shuffle(cases)
    merged = round(len(cases) * PRETRAINING_SHARE)
    tested = len(cases) - merged - max(SIZES)
    if merged < 1 or tested < 1:
        raise CommandError(
            f"{original} has {len(cases)} cases: finetune takes {PRETRAINING_SHARE:.0%} for the "
            f"pretraining and {max(SIZES)} to learn from, which leaves none to test on; use a "
            "larger data set"
        )
    short = short_dataset_name(original)
    names: list[str] = []
    for kind in ("Pretraining", "Finetuning"):
        names.append(_name(folders, original, f"{short}{kind}", number, names))
        number = None if number is None else number + 1
    learnt = cases[merged : merged + max(SIZES)]
    return Division(
        original,
        names[0],
        names[1],
        tuple(sorted(cases[:merged])),
        tuple(learnt),
        tuple(sorted(cases[merged + max(SIZES) :])),
    )


@dataclass(frozen=True)
class Divide(Action):
    """The stage that makes the two data sets.

    Attributes:
        folders: nnU-Net's folders.
        division: Which cases go where.
    """

    folders: Folders
    division: Division

    @property
    def name(self) -> str:
        return f"divide {short_dataset_name(self.division.original)}"

    @property
    def description(self) -> str:
        division = self.division
        return (
            f"make {division.pretraining} of {len(division.merged)} cases of {division.original} "
            f"with merged labels, and {division.target} of {len(division.learnt)} others and "
            f"{len(division.tested)} to test on"
        )

    def is_done(self) -> bool:
        """Tell whether both data sets are there.

        Raises:
            CommandError: If the original's cases are no longer those that they were made of.
        """
        for dataset, cases in self._cases().items():
            path = self.folders.raw_dataset(dataset) / _NOTE
            if not path.is_file():
                return False
            if read_json(path) != _note(self.division.original, cases):
                raise CommandError(
                    f"{self.division.original} no longer has the cases from which {path.parent} "
                    "was made; put them back, or move that folder and its models away"
                )
        return self.folders.splits(self.division.target).is_file()

    def do(self, log: Path) -> None:
        """Make what is missing.

        Raises:
            CommandError: If an image is missing, or something cannot be written.
        """
        try:
            for dataset, cases in self._cases().items():
                if not (self.folders.raw_dataset(dataset) / _NOTE).is_file():
                    self._make(dataset, cases)
            splits = self.folders.splits(self.division.target)
            splits.parent.mkdir(parents=True, exist_ok=True)
            write_json(splits, self.division.splits, **NNUNET_LAYOUT)
        except OSError as error:
            raise CommandError(f"{self.name}: {error}") from error

    def _cases(self) -> dict[str, tuple[str, ...]]:
        division = self.division
        return {
            division.pretraining: division.merged,
            division.target: tuple(sorted((*division.learnt, *division.tested))),
        }

    def _make(self, dataset: str, cases: Collection[str]) -> None:
        original = self.folders.raw_dataset(self.division.original)
        described = read_dataset_json(original / DATASET_JSON, channels=True)
        ending = described["file_ending"]
        folder = self.folders.raw_dataset(dataset)
        beside = folder.with_name(f".{folder.name}.part")
        remove(beside)
        for name in (_IMAGES, RAW_REFERENCES):
            (beside / name).mkdir(parents=True)
        merge = dataset == self.division.pretraining
        for case, images in images_of(original, sorted(cases)).items():
            for image in images:
                link(beside / _IMAGES / image.name, image.absolute())
            labels = original / RAW_REFERENCES / f"{case}{ending}"
            copy = beside / RAW_REFERENCES / labels.name
            if merge:
                _merge_labels(labels, copy)
            else:
                link(copy, labels.absolute())
        described["numTraining"] = len(cases)
        if merge:
            described["labels"] = {"background": 0, "foreground": 1}
        write_json(beside / DATASET_JSON, described, **NNUNET_LAYOUT)
        write_json(beside / _NOTE, _note(self.division.original, cases))
        os.replace(beside, folder)


def _merge_labels(labels: Path, merged: Path) -> None:
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(labels))
        SimpleITK.WriteImage(SimpleITK.Cast(image > 0, image.GetPixelID()), str(merged))
    except RuntimeError as error:
        raise CommandError(
            f"{labels} cannot be read or {merged} cannot be written: {error}"
        ) from error


def _check_labels(folders: Folders, original: str, described: dict) -> None:
    labels = described["labels"]
    if (
        "dataset" in described
        or "ignore" in labels
        or any(isinstance(value, (list, tuple)) for value in labels.values())
    ):
        raise CommandError(
            f"{folders.raw_dataset_json(original)}: finetune merges plain labels of cases in "
            f"{_IMAGES} and {RAW_REFERENCES}; regions, an ignore label and files listed in "
            "dataset.json are not supported"
        )


def _cases(folders: Folders, original: str, ending: str) -> list[str]:
    place = folders.raw_dataset(original) / RAW_REFERENCES
    return sorted(path.name.removesuffix(ending) for path in place.glob(f"*{glob.escape(ending)}"))


def _note(original: str, cases: Collection[str]) -> dict:
    return {"made_by": _MADE_BY, "original": original, "cases": sorted(cases)}


def _name(
    folders: Folders, original: str, short: str, number: int | None, reserved: Collection[str]
) -> str:
    """Find the data set that is there, or a name for a new one."""
    taken: dict[int, Path] = {int(number_of_dataset(name)): Path(name) for name in reserved}
    for place in (folders.raw, folders.preprocessed, folders.results):
        for path in folders_of_datasets(place):
            taken.setdefault(int(number_of_dataset(path.name)), path)
            note = path / _NOTE
            if (
                short_dataset_name(path.name) == short
                and note.is_file()
                and read_json(note).get("original") == original
                and number in (None, int(number_of_dataset(path.name)))
            ):
                return path.name
    if number is not None and number in taken:
        raise CommandError(f"--derived-id {number}: taken by {taken[number]}; choose another")
    free = (n for n in range(FIRST_NUMBER, LAST_NUMBER + 1) if n not in taken)
    chosen = next(free, None) if number is None else number
    if chosen is None:
        raise CommandError(
            f"all data set numbers from {FIRST_NUMBER} to {LAST_NUMBER} are taken; choose another "
            "with --derived-id"
        )
    return full_dataset_name(chosen, short)
