"""Asks whether gates help where there are few cases to train on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from nnunet_attention.crossval import CrossvalPlan
from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.derived import (
    LARGE,
    SMALL,
    Derived,
    choose_derived,
    derive,
    is_derived,
    read_split,
)
from nnunet_attention.experiments.paper_table import Layout
from nnunet_attention.experiments.stages import (
    TRAINING_SIZE,
    Action,
    Arm,
    Experiment,
    Trainings,
    method_titles,
    repeats_of,
    single_stage_configuration_of,
)
from nnunet_attention.nnunet.dataset_names import number_of_dataset, short_dataset_name
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.model_folders import ALL


@dataclass(frozen=True)
class Derivation(Action):
    """The stage that makes the data set with the two splits.

    Attributes:
        derived: The data set.
        folders: nnU-Net's folders.
        models: Trainer and plans of each model that will be trained on it.
        configuration: The configuration that will be trained.
    """

    derived: Derived
    folders: Folders
    models: tuple[tuple[str, str], ...]
    configuration: str

    @property
    def name(self) -> str:
        return f"derive {self.derived.name}"

    @property
    def description(self) -> str:
        return (
            f"link {self.derived.name} to the data of {self.derived.original}, with fold "
            f"{self.derived.fold} and its swap as splits"
        )

    def is_done(self) -> bool:
        return is_derived(self.derived, self.folders, self.models, self.configuration)

    def do(self, log: Path) -> None:
        derive(self.derived, self.folders, self.models, self.configuration)


def training_size(
    plan: CrossvalPlan, folders: Folders, derived_number: int | None = None
) -> Experiment:
    """Lay out training on four fifths of the cases with tests on the rest, and its reverse.

    Args:
        plan: As for `capacity`; its one fold says which of nnU-Net's is meant.
        folders: nnU-Net's folders.
        derived_number: Number of the data set that gets the two splits, see `choose_derived`.

    Returns:
        The experiment.

    Raises:
        CommandError: If there is not one fold and one configuration, or the number cannot be used.
    """
    if plan.folds is None or len(plan.folds) != 1 or plan.folds == (ALL,):
        raise CommandError(
            f"-f {' '.join(plan.folds or ())}: training size takes one fold, whose training and "
            "validation cases are swapped for the small split; give one number"
        )
    if derived_number is not None and len(plan.datasets) > 1:
        raise CommandError("--derived-id is for a single data set; give one with -d")
    configuration = single_stage_configuration_of(plan)
    methods = method_titles(plan.models)
    stages: list[Trainings | Action] = []
    arms: list[Arm] = []
    titles: dict[str, Callable[[], str]] = {}
    reserved: set[int] = set()
    groups = None if plan.groups is None else dict(plan.groups)
    for dataset in plan.datasets:
        derived = choose_derived(folders, dataset, plan.folds[0], derived_number, reserved)
        reserved.add(int(number_of_dataset(derived.name)))
        short = short_dataset_name(dataset)
        if groups is not None:
            # The cases are the same, and swapping a fold's parts keeps its groups together.
            groups[derived.name] = groups[dataset]
        stages += [
            Trainings(f"prepare {short}", replace(plan, datasets=(dataset,), folds=())),
            Derivation(derived, folders, plan.models, configuration),
            Trainings(
                f"trainings {short}",
                replace(plan, datasets=(derived.name,), folds=(LARGE, SMALL), groups=groups),
            ),
        ]
        for fold in (LARGE, SMALL):
            setting = f"{derived.name} fold {fold}"
            before = f"{short}, " if len(plan.datasets) > 1 else ""
            titles[setting] = partial(_title, folders, derived.name, fold, before)
            arms += [
                Arm(setting, method, derived.name, *model, (fold,), repeat=repeat)
                for model, method in methods.items()
                for repeat in repeats_of(plan)
            ]

    def layout() -> Layout:
        settings = {setting: title() for setting, title in titles.items()}
        return Layout("Training size", settings, next(iter(methods.values())), True)

    return Experiment(TRAINING_SIZE, configuration, tuple(stages), tuple(arms), layout, groups)


def _title(folders: Folders, dataset: str, fold: str, before: str) -> str:
    """Name a setting as the paper does: by the numbers of training and test cases."""
    split = read_split(folders, dataset, fold)
    return f"{before}{len(split['train'])}/{len(split['val'])}"
