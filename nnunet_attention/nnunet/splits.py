"""Reads, checks and makes nnU-Net's division of a data set into folds, splits_final.json."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import parse_json, written_beside
from nnunet_attention.nnunet.model_folders import ALL

SPLITS_FILE = "splits_final.json"
# As many as nnU-Net makes where there is no such file.
NNUNET_FOLDS = 5
# A cross-validation whose folds have different splits has no meaning.
_OR_REMOVE = (
    "or, if no fold has been trained with it, remove it so that nnU-Net makes its own split again"
)
SPLITS_REMEDY = f"put the file back, {_OR_REMOVE}"
_PARTS = ("train", "val")
# nnU-Net's: the file must be the one that training would have written.
_SEED = 12345


def read_splits(path: Path) -> list[dict] | None:
    """Read the cases of `train` and `val` of each fold; None where there is no file.

    Raises:
        CommandError: if the file holds something else.
    """
    try:
        splits = parse_json(path.read_text(encoding="utf-8"))
        if splits and all(_are_cases(split[part]) for split in splits for part in _PARTS):
            return splits
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path} cannot be read as splits ({error}); {SPLITS_REMEDY}") from error
    raise CommandError(f"{path} holds no splits; {SPLITS_REMEDY}")


def default_folds(splits: list[dict] | None) -> tuple[str, ...]:
    """List all folds that there are, or will be where nnU-Net makes the split."""
    return tuple(map(str, range(NNUNET_FOLDS if splits is None else len(splits))))


def trained_on(splits: list[dict] | None, fold: int | str) -> frozenset[str]:
    """Return the cases that a fold must not be tested on; none where the splits do not tell.

    Fold "all" trains on what it validates, and nnU-Net chooses cases of its own for a fold that
    the splits do not have.
    """
    if splits is None or not str(fold).isdecimal() or int(fold) >= len(splits):
        return frozenset()
    return frozenset(splits[int(fold)]["train"])


def check_splits(splits: list[dict], path: Path, cases: Collection[str] | None, fold: str) -> None:
    """Refuse splits with which nnU-Net would do something other than what was asked for.

    Args:
        splits: from `read_splits`.
        path: the file's, for messages.
        cases: all cases of the data set, if known.
        fold: the one to be trained; "all" needs no split.

    Raises:
        CommandError: if they have no such fold, one of its lists is empty, a case is in both, or
            they name cases that are not there.
    """
    if fold == ALL:
        return
    if int(fold) >= len(splits):
        # nnU-Net would silently train on a random 80:20 split.
        raise CommandError(
            f"-f {fold}: {path} has {len(splits)} folds, 0 to {len(splits) - 1}; choose one of "
            "them, or add a split"
        )
    train, val = (set(splits[int(fold)][part]) for part in _PARTS)
    for name, part in (("train", train), ("val", val)):
        if not part:
            raise CommandError(
                f"{path}, fold {fold}: {name} is empty, but a fold needs both training and "
                f"validation cases; {SPLITS_REMEDY}"
            )
    both = sorted(train & val)
    if both:
        # nnU-Net would only warn, and the results would be those of cases it was trained on.
        raise CommandError(
            f"{path}, fold {fold}: {len(both)} of its cases are both in train and in val, such as "
            f"{both[0]}; {SPLITS_REMEDY}"
        )
    unknown = [] if cases is None else sorted((train | val) - set(cases))
    if unknown:
        raise CommandError(
            f"{path}, fold {fold}: {len(unknown)} of its cases are not in the data set, such "
            f"as {unknown[0]}; put the cases or the file back, {_OR_REMOVE}"
        )


def write_splits(path: Path, cases: Collection[str]) -> None:
    """Write the split that nnU-Net's first training would write.

    It is made before any fold starts: folds that start at the same time would each write it, and
    read each other's half-written file.

    Args:
        path: the path of splits_final.json, in the data set's folder.
        cases: all cases of the data set.

    Raises:
        CommandError: if there are fewer cases than folds.
    """
    if len(cases) < NNUNET_FOLDS:
        raise CommandError(
            f"{path.parent.name} has only {len(cases)} cases, but nnU-Net splits into "
            f"{NNUNET_FOLDS} folds; train with -f all, or write your own {path}"
        )
    save_splits(path, _nnunet_splits(cases))


def save_splits(path: Path, splits: list[dict]) -> None:
    """Write splits in nnU-Net's layout to a file beside the target, and rename it."""
    from batchgenerators.utilities.file_and_folder_operations import save_json

    with written_beside(path) as beside:
        save_json(splits, str(beside))


def is_nnunet_split(splits: list[dict]) -> bool:
    """Tell whether these splits are those that nnU-Net makes of their cases."""
    cases = {case for split in splits for part in _PARTS for case in split[part]}
    if len(splits) != NNUNET_FOLDS or len(cases) < NNUNET_FOLDS:
        return False
    return all(
        sorted(split[part]) == sorted(theirs[part])
        for split, theirs in zip(splits, _nnunet_splits(cases), strict=True)
        for part in _PARTS
    )


def _nnunet_splits(cases: Collection[str]) -> list[dict]:
    # scikit-learn takes seconds to import.
    import numpy as np
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    ordered = list(np.sort(list(cases)))
    return generate_crossval_split(ordered, seed=_SEED, n_splits=NNUNET_FOLDS)


def _are_cases(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)
