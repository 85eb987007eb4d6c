"""nnU-Net's division of a data set into folds, made before any fold starts.

Folds that start at the same time would otherwise each write it, and read each other's half.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import written_beside
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.splits import NNUNET_FOLDS, SPLITS_REMEDY

# nnU-Net's: the file must be the one that training would have written.
_SEED = 12345


def check_splits(splits: list[dict], path: Path, cases: Collection[str] | None, fold: str) -> None:
    """Refuses splits with which nnU-Net would do something else than was asked for.

    Args:
        splits: of `read_splits`.
        path: named in messages.
        cases: of the data set, if known.
        fold: that is to be trained; "all" needs no split.

    Raises:
        CommandError: if they have no such fold, one of its lists is empty, a case is in both, or
            they name cases that are not there.
    """
    if fold == "all":
        return
    if int(fold) >= len(splits):
        # nnU-Net would silently train on a random 80:20 split.
        raise CommandError(
            f"-f {fold}: {path} has {len(splits)} folds, 0 to {len(splits) - 1}; "
            "choose among them, or add a split"
        )
    train, val = (set(splits[int(fold)][part]) for part in ("train", "val"))
    for name, there in (("train", train), ("val", val)):
        if not there:
            raise CommandError(
                f"{path}, fold {fold}: {name} is empty, and a fold needs cases to train on and "
                f"others to validate; {SPLITS_REMEDY}"
            )
    both = sorted(train & val)
    if both:
        # nnU-Net would only warn, and the numbers would be those of cases it was trained on.
        raise CommandError(
            f"{path}, fold {fold}: {len(both)} of its cases are both in train and in val, such as "
            f"{both[0]}; {SPLITS_REMEDY}"
        )
    unknown = [] if cases is None else sorted((train | val) - set(cases))
    if unknown:
        raise CommandError(
            f"{path}, fold {fold}: {len(unknown)} of its cases are not in the data set, such "
            f"as {unknown[0]}; {SPLITS_REMEDY}"
        )


def write_splits(folders: Folders, dataset: str, cases: Collection[str]) -> None:
    """Writes the split that nnU-Net's first training would write.

    Raises:
        CommandError: if there are fewer cases than folds.
    """
    from batchgenerators.utilities.file_and_folder_operations import save_json

    path = folders.splits(dataset)
    if len(cases) < NNUNET_FOLDS:
        raise CommandError(
            f"{dataset} has {len(cases)} cases, and nnU-Net splits into {NNUNET_FOLDS} folds; "
            f"train with -f all, or write your own {path}"
        )
    with written_beside(path) as beside:
        save_json(_nnunet_splits(cases), str(beside))


def is_nnunet_split(splits: list[dict]) -> bool:
    """Whether these splits are those that nnU-Net makes of their cases."""
    cases = {case for split in splits for part in ("train", "val") for case in split[part]}
    if len(splits) != NNUNET_FOLDS or len(cases) < NNUNET_FOLDS:
        return False
    return all(
        sorted(split[part]) == sorted(theirs[part])
        for split, theirs in zip(splits, _nnunet_splits(cases), strict=True)
        for part in ("train", "val")
    )


def _nnunet_splits(cases: Collection[str]) -> list[dict]:
    # scikit-learn takes seconds to import.
    import numpy as np
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    ordered = list(np.sort(list(cases)))
    return generate_crossval_split(ordered, seed=_SEED, n_splits=NNUNET_FOLDS)
