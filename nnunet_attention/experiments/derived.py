"""Makes a data set with splits of its own that shares another one's preprocessed data.

nnU-Net takes a data set's splits from one file in its folder, and trains on a random split where
that has too few folds. Other splits therefore get another data set: its folder in
nnUNet_preprocessed has links to the original's data and references, copies of its plans with the
data set's name changed, and its own splits. The original is only read.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import (
    NNUNET_LAYOUT,
    disk_error,
    link,
    read_json,
    remove,
    write_json,
    write_text,
)
from nnunet_attention.nnunet.dataset_names import (
    folders_of_datasets,
    full_dataset_name,
    number_of_dataset,
    short_dataset_name,
)
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.plans import differences, identifier_of, relevant
from nnunet_attention.nnunet.splits import read_splits

FIRST_NUMBER, LAST_NUMBER = 900, 999
_MADE_BY = "nnunet-attention experiment training-size"
_NOTE = "derived.json"
LARGE, SMALL = "0", "1"  # Folds of the derived data set.


@dataclass(frozen=True)
class Derived:
    """A data set with two folds: one of the original's, and that with its parts swapped.

    Attributes:
        name: Full name.
        original: Full name of the original.
        fold: Fold of the original: its training cases train fold `LARGE` and validate fold `SMALL`.
    """

    name: str
    original: str
    fold: str


def choose_derived(
    folders: Folders,
    original: str,
    fold: str,
    number: int | None = None,
    reserved: Collection[int] = (),
) -> Derived:
    """Find the derived data set that is there, or a name for a new one.

    Args:
        folders: nnU-Net's folders.
        original: Full name of the original.
        fold: Fold of the original's splits.
        number: Number of a new data set; None: the first free one from 900 on.
        reserved: Numbers that are not free although nothing has them yet.

    Returns:
        The data set; it need not be there yet.

    Raises:
        CommandError: If the number is taken, or all are.
    """
    short = f"{short_dataset_name(original)}TrainingSize{fold}"
    for place in folders_of_datasets(folders.preprocessed):
        path = place / _NOTE
        if short_dataset_name(place.name) != short or not path.is_file():
            continue
        if read_json(path) == _note(original, fold) and number in (None, _number(place.name)):
            return Derived(place.name, original, fold)
    taken = {
        _number(path.name): path
        for place in (folders.raw, folders.preprocessed, folders.results)
        for path in folders_of_datasets(place)
    }
    if number is not None and number in taken:
        raise CommandError(f"--derived-id {number}: taken by {taken[number]}; choose another")
    free = [
        candidate
        for candidate in range(FIRST_NUMBER, LAST_NUMBER + 1)
        if candidate not in taken and candidate not in reserved
    ]
    if number is None and not free:
        raise CommandError(
            f"all data set numbers from {FIRST_NUMBER} to {LAST_NUMBER} are taken; choose another "
            "with --derived-id"
        )
    chosen = free[0] if number is None else number
    return Derived(full_dataset_name(chosen, short), original, fold)


def is_derived(
    derived: Derived, folders: Folders, models: Sequence[tuple[str, str]], configuration: str
) -> bool:
    """Tell whether everything that training with these plans needs is there.

    Args:
        derived: The data set, from `choose_derived`.
        folders: nnU-Net's folders.
        models: Trainer and plans of each model.
        configuration: The configuration that will be trained.

    Raises:
        CommandError: If the original has changed since.
    """
    folder = folders.dataset(derived.name)
    if not (folder / _NOTE).is_file():
        return False
    if read_splits(folders.splits(derived.name)) != _splits(derived, folders):
        raise CommandError(
            f"the splits of {derived.original} are no longer those from which {folder} was made; "
            "put them back, or choose another number with --derived-id"
        )
    for plans in _plans_of(models):
        if not folders.plans(derived.name, plans).is_file():
            return False
        identifier = _refuse_changed_plans(derived, folders, plans, configuration)
        if not folders.data(derived.name, identifier).is_dir():
            return False
    return folders.references(derived.name).is_dir()


def derive(
    derived: Derived, folders: Folders, models: Sequence[tuple[str, str]], configuration: str
) -> None:
    """Make the data set, or add what it lacks.

    Args:
        derived: The data set, from `choose_derived`.
        folders: nnU-Net's folders, in which the original is planned, preprocessed and split.
        models: Trainer and plans of each model.
        configuration: The configuration that will be trained.

    Raises:
        CommandError: If the original lacks something, or links cannot be made.
    """
    folder = folders.dataset(derived.name)
    beside = folder.with_name(f".{derived.name}.part")
    original = folders.dataset(derived.original)
    is_new = not (folder / _NOTE).is_file()
    target = beside if is_new else folder
    try:
        if is_new:
            remove(beside)
            beside.mkdir()
            for path in (
                folders.dataset_json(derived.original),
                folders.fingerprint(derived.original),
            ):
                write_text(beside / path.name, path.read_text(encoding="utf-8"))
            splits = _splits(derived, folders)
            write_json(beside / folders.splits(derived.name).name, splits, **NNUNET_LAYOUT)
            write_json(beside / _NOTE, _note(derived.original, derived.fold))
        _link(original / folders.references(derived.original).name, target)
        for plans in _plans_of(models):
            content = read_json(folders.plans(derived.original, plans))
            _link(original / identifier_of(content, configuration), target)
            path = target / folders.plans(derived.name, plans).name
            if not path.is_file():
                write_json(path, {**content, "dataset_name": derived.name}, **NNUNET_LAYOUT)
        if is_new:
            os.replace(beside, folder)
    except OSError as error:
        raise CommandError(f"{folder} cannot be made of {original}: {disk_error(error)}") from error


def read_split(folders: Folders, dataset: str, fold: str) -> dict:
    """Return the cases of `train` and `val` of a fold.

    Raises:
        CommandError: If the data set has no such fold.
    """
    path = folders.splits(dataset)
    splits = read_splits(path)
    if splits is None or int(fold) >= len(splits):
        raise CommandError(f"-f {fold}: {path} has {len(splits or ())} folds; choose one of these")
    return splits[int(fold)]


def _splits(derived: Derived, folders: Folders) -> list[dict]:
    split = read_split(folders, derived.original, derived.fold)
    return [
        {"train": split["train"], "val": split["val"]},
        {"train": split["val"], "val": split["train"]},
    ]


def _refuse_changed_plans(
    derived: Derived, folders: Folders, plans: str, configuration: str
) -> str:
    """Return the name of the plans' data.

    Raises:
        CommandError: With the differences, if the original's plans are no longer the same.
    """
    before = read_json(folders.plans(derived.name, plans))
    now = read_json(folders.plans(derived.original, plans))
    changed = differences(relevant(before, configuration), relevant(now, configuration))
    if changed:
        raise CommandError(
            f"the plans {plans} of {derived.original} have changed since "
            f"{folders.dataset(derived.name)} was made from them: {'; '.join(changed)}. Put the "
            "old ones back, or choose another number with --derived-id"
        )
    return identifier_of(before, configuration)


def _link(original: Path, folder: Path) -> None:
    if not original.is_dir():
        raise CommandError(f"{original} is missing; preprocess the data set first")
    path = folder / original.name
    if not path.is_dir():
        path.unlink(missing_ok=True)
        # Relative: the three folders may be moved together.
        link(path, Path("..") / original.parent.name / original.name, to_folder=True)


def _note(original: str, fold: str) -> dict:
    return {"made_by": _MADE_BY, "original": original, "fold": fold}


def _number(dataset: str) -> int:
    return int(number_of_dataset(dataset))


def _plans_of(models: Sequence[tuple[str, str]]) -> list[str]:
    return list(dict.fromkeys(plans for _, plans in models))
