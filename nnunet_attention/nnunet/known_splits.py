"""Tells which cases a fold may be tested on, where a splits_final.json is available."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.splits import SPLITS_FILE, read_splits, trained_on


@dataclass(frozen=True)
class Splits:
    """Holds a splits_final.json.

    Attributes:
        path: the file's.
        folds: for each fold, its cases in `train` and `val`.
    """

    path: Path
    folds: list[dict]

    def refuse_training_cases(self, summary: Path, fold: int | str, cases: Iterable[str]) -> None:
        """Refuse a fold's summary that holds cases that the fold was trained on.

        nnU-Net evaluates whatever lies in the folder of the validation. Cases could be left out
        instead, but a fold that was trained with another split would then count as well.

        Raises:
            CommandError: if there are any.
        """
        trained = sorted(trained_on(self.folds, fold) & set(cases))
        if trained:
            raise CommandError(
                f"{summary} holds {len(trained)} case(s) that fold {fold} was trained on, such as "
                f"{trained[0]} (listed under train in {self.path}); move their files out of "
                f"{summary.parent} and validate again (nnUNetv2_train ... --val), or, if the fold "
                "was trained with another split, put that splits file back"
            )

    def validates(self, fold: int | str, cases: Collection[str]) -> bool:
        """Tell whether all these cases are among those that a fold, not "all", validates."""
        if not str(fold).isdecimal() or int(fold) >= len(self.folds):
            return False
        return set(cases) <= set(self.folds[int(fold)]["val"])


@dataclass(frozen=True)
class KnownSplit:
    """Holds what is known about the split that all results of a data set were validated with.

    Attributes:
        folds: their number.
        is_nnunet: whether nnU-Net would make the same split of these cases.
    """

    folds: int
    is_nnunet: bool


def find_splits(folders: Iterable[Path]) -> Splits | None:
    """Return the first splits_final.json in the folders.

    Raises:
        CommandError: if it is damaged.
    """
    for folder in folders:
        splits = read_splits(folder / SPLITS_FILE)
        if splits is not None:
            return Splits(folder / SPLITS_FILE, splits)
    return None
