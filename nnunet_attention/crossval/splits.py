"""nnU-Net's division of a data set into folds, made before any fold starts.

Folds that start at the same time would otherwise each write it, and read each other's half.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from nnunet_attention.crossval.folders import Folders
from nnunet_attention.errors import CommandError
from nnunet_attention.files import written_beside

# nnU-Net's: the file must be the one that training would have written.
_FOLDS, _SEED = 5, 12345


def read_splits(path: Path) -> list[dict] | None:
    """The splits: for each fold the cases of `train` and `val`; None where there is no file.

    Raises:
        CommandError: if the file holds something else.
    """
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))
        if splits and all(isinstance(split[part], list) for split in splits for part in _PARTS):
            return splits
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(f"{path} cannot be read as splits ({error}); {_REMEDY}") from error
    raise CommandError(f"{path} holds no splits; {_REMEDY}")


_PARTS = ("train", "val")
_REMEDY = "put the file back, or remove it to have nnU-Net's own split made again"


def check_splits(splits: list[dict], path: Path, cases: Collection[str] | None, fold: str) -> None:
    """Refuses splits with which nnU-Net would do something else than was asked for.

    Args:
        splits: of `read_splits`.
        path: named in messages.
        cases: of the data set, if known.
        fold: that is to be trained; "all" needs no split.

    Raises:
        CommandError: if they have no such fold, or name cases that are not there.
    """
    if fold == "all":
        return
    if int(fold) >= len(splits):
        # nnU-Net would silently train on a random 80:20 split.
        raise CommandError(
            f"-f {fold}: {path} has {len(splits)} folds, 0 to {len(splits) - 1}; "
            "choose among them, or add a split"
        )
    if cases is not None:
        named = {case for part in _PARTS for case in splits[int(fold)][part]}
        unknown = sorted(named - set(cases))
        if unknown:
            raise CommandError(
                f"{path}, fold {fold}: {len(unknown)} of its cases are not in the data set, such "
                f"as {unknown[0]}; {_REMEDY}"
            )


def write_splits(folders: Folders, dataset: str, cases: Collection[str]) -> None:
    """Writes the split that nnU-Net's first training would write.

    Raises:
        CommandError: if there are fewer cases than folds.
    """
    # scikit-learn takes seconds to import.
    import numpy as np
    from batchgenerators.utilities.file_and_folder_operations import save_json
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    path = folders.splits(dataset)
    if len(cases) < _FOLDS:
        raise CommandError(
            f"{dataset} has {len(cases)} cases, and nnU-Net splits into {_FOLDS} folds; train "
            f"with -f all, or write your own {path}"
        )
    splits = generate_crossval_split(list(np.sort(list(cases))), seed=_SEED, n_splits=_FOLDS)
    with written_beside(path) as beside:
        save_json(splits, str(beside))
