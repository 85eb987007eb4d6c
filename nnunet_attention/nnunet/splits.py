"""nnU-Net's division of a data set into folds, as its splits_final.json has it."""

from __future__ import annotations

from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import parse_json

SPLITS_FILE = "splits_final.json"
# As many as nnU-Net makes where there is no such file.
NNUNET_FOLDS = 5
SPLITS_REMEDY = "put the file back, or remove it to have nnU-Net's own split made again"
_PARTS = ("train", "val")


def read_splits(path: Path) -> list[dict] | None:
    """The splits: for each fold the cases of `train` and `val`; None where there is no file.

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
    """All folds that there are, or will be where nnU-Net makes the split."""
    return tuple(map(str, range(NNUNET_FOLDS if splits is None else len(splits))))


def trained_on(splits: list[dict] | None, fold: int | str) -> frozenset[str]:
    """The cases that a fold must not be tested on; none where the splits do not tell.

    Fold "all" trains on what it validates, and nnU-Net chooses cases of its own for a fold that
    the splits do not have.
    """
    if splits is None or not str(fold).isdecimal() or int(fold) >= len(splits):
        return frozenset()
    return frozenset(splits[int(fold)]["train"])


def _are_cases(names) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)
