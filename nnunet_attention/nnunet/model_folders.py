"""Knows the names of the files and folders that nnU-Net's training leaves in a model's folder.

DATASET/TRAINER__PLANS__CONFIGURATION/fold_k/validation/summary.json
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from nnunet_attention.nnunet.planners import STOCK_PLANS

ALL = "all"
SUMMARY = "summary.json"
PLANS_JSON = "plans.json"
"""A model's copy of the plans that it was trained with; DATASET_JSON lies beside it."""
PREDICTION_JSON = "predict_from_raw_data_args.json"
"""The arguments of a prediction, beside its segmentations; PLANS_JSON and DATASET_JSON too."""
SEPARATOR = "__"
"""Stands between the parts of a model's name, and so in none of them."""
_FOLD = "fold_"


class ModelName(NamedTuple):
    """Names a trained model, as nnU-Net names its folder."""

    trainer: str
    plans: str
    configuration: str

    @property
    def folder(self) -> str:
        """The folder's name, `TRAINER__PLANS__CONFIGURATION`."""
        return SEPARATOR.join(self)


def model_name(folder: str) -> ModelName | None:
    """Read trainer, plans and configuration off a folder's name; None if it is no model's."""
    parts = folder.split(SEPARATOR)
    return ModelName(*parts) if len(parts) == 3 and all(parts) else None


def model_title(trainer: str, plans: str) -> str:
    """Name a model in tables, `TRAINER__PLANS`; its configuration stands elsewhere."""
    return f"{trainer}{SEPARATOR}{plans}"


def split_title(title: str) -> tuple[str, str | None]:
    """Split `TRAINER__PLANS`; the plans are None where a trainer alone is named."""
    trainer, separator, plans = title.partition(SEPARATOR)
    return trainer, plans if separator else None


def fold_folder(model: Path, fold: int | str) -> Path:
    """Return the folder of a fold, a number or "all"."""
    return model / f"{_FOLD}{fold}"


def fold_folders(model: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and the folder of each fold in a model's folder, sorted by name."""
    for path in sorted(model.glob(f"{_FOLD}*")):
        yield path.name.removeprefix(_FOLD), path


def validation_folder(fold: Path) -> Path:
    """Return the folder of a fold's predictions of the cases that it was not trained on."""
    return fold / "validation"


def validation_summary(fold: Path) -> Path:
    """Return the path of the metrics of a fold's validation."""
    return validation_folder(fold) / SUMMARY


def validation_summaries(model: Path, folds: Iterable[int | str]) -> list[Path]:
    """Return the paths of the metrics of several folds' validations."""
    return [validation_summary(fold_folder(model, fold)) for fold in folds]


def short_title(trainer: str, plans: str) -> str:
    """Name a model where there is little room: its trainer, and plans other than nnU-Net's own."""
    return trainer if plans == STOCK_PLANS else f"{trainer} {plans}"
