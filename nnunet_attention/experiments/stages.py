"""Defines what an experiment consists of: stages to be done, and arms that stand in its table.

Oktay et al.: Attention U-Net: learning where to look for the pancreas. 2018,
https://arxiv.org/abs/1804.03999
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.crossval import CrossvalPlan, Folders
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.model_folders import short_title

if TYPE_CHECKING:
    from nnunet_attention.experiments.paper_table import Layout

CAPACITY, TRAINING_SIZE, TRANSFER = "capacity", "training-size", "transfer"
FINETUNE = "finetune"
EXPERIMENTS = (CAPACITY, TRAINING_SIZE, TRANSFER, FINETUNE)
DEFAULT_TRAINERS = {
    CAPACITY: ("nnUNetTrainer", "WideUNetTrainer", "AttentionUNetTrainer"),
    TRAINING_SIZE: ("nnUNetTrainer", "AttentionUNetTrainer"),
    TRANSFER: ("nnUNetTrainer", "AttentionUNetTrainer"),
    FINETUNE: (
        "nnUNetTrainer",
        "PlainUNetFinetuneTrainer",
        "PlainUNetFinetuneTrainer_decoderFirst",
        "AttentionUNetFinetuneTrainer",
        "AttentionUNetFinetuneTrainer_decoderFirst",
    ),
}
_TITLES = {
    "AttentionUNetFinetuneTrainer_decoderFirst": "Attention U-Net, fine-tuned, decoder first",
    "AttentionUNetFinetuneTrainer": "Attention U-Net, fine-tuned",
    "PlainUNetFinetuneTrainer_decoderFirst": "U-Net, fine-tuned, decoder first",
    "PlainUNetFinetuneTrainer": "U-Net, fine-tuned",
    "AttentionUNetTrainer": "Attention U-Net",
    "WideUNetTrainer": "U-Net (wide)",
    "nnUNetTrainer": "U-Net",
}
_CASCADE = "3d_cascade_fullres"


@dataclass(frozen=True)
class Trainings:
    """A stage that is done by cross-validation.

    Attributes:
        name: Name of the stage and of the folder with its logs; unique in the experiment.
        plan: What the stage trains.
        repeat: Repeat, counted from 1, in whose folders the plan is trained, or begins.
    """

    name: str
    plan: CrossvalPlan
    repeat: int = 1

    def folders(self, folders: Folders) -> Folders:
        """Return the folders that the stage works in, given nnU-Net's."""
        return folders.of_repeat(self.repeat)


class Action(ABC):
    """A stage of one action, which cross-validation knows nothing of."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the stage and of its log; unique in the experiment."""

    @property
    @abstractmethod
    def description(self) -> str:
        """The command, or what is done, for the run list."""

    @abstractmethod
    def is_done(self) -> bool:
        """Tell whether nothing is left to do; asked when the stage's turn has come."""

    @abstractmethod
    def do(self, log: Path) -> None:
        """Do what the stage is for.

        Args:
            log: File for the commands' output.

        Raises:
            CommandError: If it cannot be done.
        """


@dataclass(frozen=True)
class Elsewhere:
    """Results that are not in nnUNet_results, because no validation made them.

    Attributes:
        folder: Folder of named results.
        dataset: Data set of the model that made them.
        plans: Plans of the model that made them.
    """

    folder: Path
    dataset: str
    plans: str


@dataclass(frozen=True)
class Arm:
    """A method in a setting, and where its results will be.

    Attributes:
        setting: Key of the layout's settings.
        method: Title of the method.
        dataset: Full name of the data set that is tested on.
        trainer: Name of the trainer.
        plans: Name of the plans.
        folds: Numbers of the folds; None: all of the data set's splits.
        elsewhere: Where the results are, if not in nnUNet_results.
        repeat: Training of the method, counted from 1.
        shares_training: Whether its folds start from one pre-training, so that the statistics
            count a repeat of all folds as a single training.
    """

    setting: str
    method: str
    dataset: str
    trainer: str
    plans: str
    folds: tuple[str, ...] | None
    elsewhere: Elsewhere | None = None
    repeat: int = 1
    shares_training: bool = False


@dataclass(frozen=True)
class Experiment:
    """What is to be done, and what comes of it.

    Attributes:
        name: One of `EXPERIMENTS`.
        configuration: nnU-Net's configuration, such as 3d_fullres.
        stages: What is done, in order.
        arms: What stands in the table, in order.
        layout: Returns the table's layout; asked when all stages are done.
        groups: The groups by case, by data set of the arms; None: each case is by itself.
        paired_repeats: Whether trainings of different methods in the same repeat have something in
            common that those of other repeats have not.
    """

    name: str
    configuration: str
    stages: tuple[Trainings | Action, ...]
    arms: tuple[Arm, ...]
    layout: Callable[[], Layout]
    groups: Mapping[str, Mapping[str, str]] | None = None
    paired_repeats: bool = False

    @property
    def groups_of_settings(self) -> dict[str, Mapping[str, str]] | None:
        """The groups by setting and case; None: each case is by itself."""
        if self.groups is None:
            return None
        return {arm.setting: self.groups[arm.dataset] for arm in self.arms}


def repeats_of(plan: CrossvalPlan) -> range:
    """Return the numbers of a plan's repeats."""
    return range(1, plan.repeats + 1)


def method_titles(models: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Name models as the paper does; where that is not unique, by trainer and plans.

    Args:
        models: Trainer and plans of each.

    Returns:
        Titles by model.
    """
    titles = {model: _title(model[0]) for model in models}
    if len(set(titles.values())) < len(titles):
        titles = {model: short_title(*model) for model in models}
    return titles


def configuration_of(plan: CrossvalPlan) -> str:
    """Return the one configuration of an experiment.

    Raises:
        CommandError: If the plan has another number of them.
    """
    if len(plan.configurations) != 1:
        raise CommandError(
            f"-c {' '.join(plan.configurations)}: an experiment compares methods in one "
            "configuration; give one"
        )
    return plan.configurations[0]


def single_stage_configuration_of(plan: CrossvalPlan) -> str:
    """Return the one configuration of an experiment that cannot train a cascade.

    Raises:
        CommandError: If the plan has another number of them, or a cascade.
    """
    configuration = configuration_of(plan)
    if configuration == _CASCADE:
        raise CommandError(
            f"-c {_CASCADE}: a cascade needs all folds of its first stage, which other splits and "
            "a network from other data do not have; choose a single-stage configuration"
        )
    return configuration


def _title(trainer: str) -> str:
    return next((title for start, title in _TITLES.items() if trainer.startswith(start)), trainer)
