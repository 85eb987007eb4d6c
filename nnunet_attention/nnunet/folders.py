"""Knows nnU-Net's three folders, and every path in them that cross-validation reads."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.environment import (
    PREPROCESSED,
    RAW,
    RESULTS,
    folder_from_environment,
)
from nnunet_attention.nnunet.model_folders import ModelName, fold_folder
from nnunet_attention.nnunet.splits import SPLITS_FILE

REFERENCES = "gt_segmentations"
"""nnU-Net's copy of the references, below a preprocessed data set."""
RAW_REFERENCES = "labelsTr"
_VARIABLES = (RAW, PREPROCESSED, RESULTS)


@dataclass(frozen=True)
class Folders:
    """Holds where nnU-Net has its data and results; absolute paths."""

    raw: Path
    preprocessed: Path
    results: Path

    @classmethod
    def from_environment(cls) -> Folders:
        """Take the folders that nnU-Net's variables name.

        Raises:
            CommandError: if one is not set, or has quotation marks or the like in it.
        """
        unset = [name for name in _VARIABLES if not os.environ.get(name)]
        if unset:
            raise CommandError(
                f"{' and '.join(unset)} not set; export {unset[0]}=/path/to/{unset[0]}"
            )
        return cls(*(folder_from_environment(name).absolute() for name in _VARIABLES))

    @property
    def variables(self) -> dict[str, str]:
        """Return nnU-Net's variables that name these folders."""
        places = (self.raw, self.preprocessed, self.results)
        return dict(zip(_VARIABLES, map(str, places), strict=True))

    def of_repeat(self, repeat: int) -> Folders:
        """Return the folders of a repeat of all trainings, counted from 1; the data are shared.

        The first repeat uses nnUNet_results itself, and each later one a folder inside it that
        nnU-Net's commands get as their nnUNet_results. nnU-Net looks for data sets only in folders
        named DatasetXXX_Name, so it ignores the folder `repeats`; and on the same disk as the
        first, the later ones are found, moved and copied with it.
        """
        return replace(self, results=folder_of_repeat(self.results, repeat))

    def raw_dataset(self, dataset: str) -> Path:
        """Return the folder of a data set's images and labels as the user has them."""
        return self.raw / dataset

    def raw_dataset_json(self, dataset: str) -> Path:
        """Return the description that the user has written."""
        return self.raw_dataset(dataset) / DATASET_JSON

    def dataset(self, dataset: str) -> Path:
        """Return the folder of a data set's plans, splits and preprocessed cases."""
        return self.preprocessed / dataset

    def dataset_json(self, dataset: str) -> Path:
        """Return the copy that planning makes, which training reads."""
        return self.dataset(dataset) / DATASET_JSON

    def fingerprint(self, dataset: str) -> Path:
        """Return the file of what planning has learnt of the images."""
        return self.dataset(dataset) / "dataset_fingerprint.json"

    def plans(self, dataset: str, plans: str) -> Path:
        """Return the file of the plans of a name."""
        return self.dataset(dataset) / f"{plans}.json"

    def data(self, dataset: str, identifier: str) -> Path:
        """Return the folder of preprocessed cases."""
        return self.dataset(dataset) / identifier

    def unfinished_data(self, dataset: str, identifier: str) -> Path:
        """Return the path of our mark, which exists while a preprocessing has begun, not ended."""
        return self.dataset(dataset) / f".{identifier}.unfinished"

    def references(self, dataset: str) -> Path:
        """Return the folder of the labels that validations are compared with."""
        return self.dataset(dataset) / REFERENCES

    def splits(self, dataset: str) -> Path:
        """Return the file that says which cases each fold trains and validates."""
        return self.dataset(dataset) / SPLITS_FILE

    def model(self, dataset: str, trainer: str, plans: str, configuration: str) -> Path:
        """Return the folder of a model with all its folds."""
        return self.results / dataset / ModelName(trainer, plans, configuration).folder

    def fold(self, dataset: str, trainer: str, plans: str, configuration: str, fold: str) -> Path:
        """Return the folder of a fold's checkpoints and logs."""
        return fold_folder(self.model(dataset, trainer, plans, configuration), fold)

    def next_stage(
        self, dataset: str, trainer: str, plans: str, configuration: str, following: str
    ) -> Path:
        """Return the folder of predictions that a cascade's next configuration is trained on."""
        model = self.model(dataset, trainer, plans, configuration)
        return model / "predicted_next_stage" / following

    def accumulated(
        self, dataset: str, trainer: str, plans: str, configuration: str, folds: tuple[str, ...]
    ) -> Path:
        """Return nnU-Net's folder of all folds' predictions."""
        model = self.model(dataset, trainer, plans, configuration)
        return model / f"crossval_results_folds_{'_'.join(folds)}"


def folder_of_repeat(folder: Path, repeat: int) -> Path:
    """Return the folder that a repeat, counted from 1, uses in place of the first one's."""
    return folder if repeat == 1 else folder / "repeats" / f"repeat_{repeat}"
