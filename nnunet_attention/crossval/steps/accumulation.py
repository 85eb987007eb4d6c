"""The step that gathers the validations of a model's folds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from nnunet_attention.crossval.steps.base import CrossvalStep, existing
from nnunet_attention.jobs.lock import Lock
from nnunet_attention.nnunet.fold_state import repeat_in_words
from nnunet_attention.nnunet.model_folders import ModelName


@dataclass(frozen=True)
class AccumulationStep(CrossvalStep):
    """Gathers the validations of a model's folds.

    Attributes:
        model: trainer, plans and configuration.
        folds: their numbers.
        repeat: counted from 1.
    """

    model: ModelName
    folds: tuple[str, ...]
    repeat: int = 1
    kind: ClassVar[str] = "accumulation"

    @property
    def name(self) -> str:
        """Return the step's name."""
        repeat = repeat_in_words(self.repeat)
        return f"{self.dataset} {self.model.folder} accumulation{repeat}"

    @property
    def command(self) -> tuple[str, ...]:
        """Return nnU-Net's command."""
        trainer, plans, configuration = self.model
        return (
            *("nnUNetv2_accumulate_crossval_results", self.dataset),
            *("-c", configuration, "-tr", trainer, "-p", plans, "-f", *self.folds),
        )

    @property
    def cells(self) -> tuple[str, ...]:
        """Return data set, model and action, and instead of a fold the repeat if a later one."""
        repeat = repeat_in_words(self.repeat).removeprefix(", ")
        return (self.dataset_in_words, " ".join((*self.model, self.kind)), repeat)

    def place(self) -> Path:
        """Return the folder of the model."""
        return self.folders.model(self.dataset, *self.model)

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """Return the data set's folder of results, or nnUNet_results before there is one."""
        return (existing(self.place().parent),)

    @property
    def mark(self) -> str:
        """Return the mark of its processes, which are not those of the model's folds."""
        return f"{self.kind}{self.place()}"

    def lock(self) -> Lock:
        """Return the lock on the gathering of this model's folds."""
        place = self.place()
        return Lock(place / ".accumulation.lock", f"the accumulation in {place}")
