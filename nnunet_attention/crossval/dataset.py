"""Reads how far a data set of a plan is, from nnU-Net's folders.

Nothing is done here and nothing is remembered: the folders are the state. A new query after a step,
a crash or another launcher's work sees the folders as they are then.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from nnunet_attention.crossval.plan import CrossvalPlan
from nnunet_attention.errors import CommandError
from nnunet_attention.files import disk_error, read_json
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, number_of_cases, read_dataset_json
from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.datasets import needs_preprocessing
from nnunet_attention.nnunet.fold_state import FoldRun, FoldState, fold_state, validation_cases
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.grouped_splits import torn_groups
from nnunet_attention.nnunet.model_folders import ALL, PLANS_JSON
from nnunet_attention.nnunet.plans import (
    check_unchanged,
    configuration_of,
    data_owner,
    identifier_of,
    next_stages,
    relevant,
    whole_plans,
)
from nnunet_attention.nnunet.splits import check_splits, default_folds, read_splits, trained_on

IMAGES = "imagesTr"
# As nnU-Net plans it; needed only to list steps before there are plans.
_CASCADE, _BEFORE_CASCADE = "3d_cascade_fullres", "3d_lowres"


class Dataset:
    """One data set of a plan, as it is in nnU-Net's folders now; what was read is cached."""

    def __init__(self, plan: CrossvalPlan, folders: Folders, name: str, repeat: int = 1):
        """Read nothing yet.

        Args:
            plan: says what is wanted.
            folders: nnU-Net's, of the first repeat.
            name: full name, DatasetXXX_Name.
            repeat: counted from 1; only the results differ.

        Raises:
            CommandError: if the name is none of nnU-Net's.
        """
        number_of_dataset(name)
        self.plan = plan
        self.folders = folders.of_repeat(repeat)
        self.name = name
        self.repeat = repeat

    @classmethod
    def of_run(cls, run: FoldRun, folders: Folders) -> Dataset:
        """Return the data set of a single fold, whose folders are those of its repeat."""
        plan = CrossvalPlan((run.dataset,), (run.configuration,), ((run.trainer, run.plans),))
        return cls(plan, folders, run.dataset)

    @cached_property
    def cases(self) -> tuple[str, ...] | None:
        """Return the cases for training, sorted; None without raw or preprocessed data.

        Where all raw cases are preprocessed, these are the preprocessed ones, as in nnU-Net's
        trainings: the images may be moved away after preprocessing, even while folds train.

        Raises:
            CommandError: if nothing is preprocessed, and the raw data cannot be read.
        """
        prepared = self._prepared_cases
        try:
            raw = self.raw_cases
        except CommandError:
            if not prepared:
                raise
            raw = None
        if raw is None:
            return prepared[0] if prepared else None
        return next((cases for cases in prepared if set(raw) <= set(cases)), raw)

    @cached_property
    def raw_cases(self) -> tuple[str, ...] | None:
        """Return the cases for training that nnUNet_raw has; None without raw data.

        Raises:
            CommandError: if they cannot be read.
        """
        raw = self.folders.raw_dataset(self.name)
        return training_cases(raw) if (raw / DATASET_JSON).is_file() else None

    @cached_property
    def _prepared_cases(self) -> list[tuple[str, ...]]:
        """Return the cases of each folder of preprocessed data that is there."""
        found = (self.identifier(*pair) for pair in self.data_configurations)
        identifiers = dict.fromkeys(name for name in found if name is not None)
        folders = (self.folders.data(self.name, identifier) for identifier in identifiers)
        return [
            tuple(sorted(path.stem for path in data.glob("*.pkl")))
            for data in folders
            if data.is_dir()
        ]

    @cached_property
    def description(self) -> dict:
        """Return dataset.json, of the preprocessed data where there is one.

        Raises:
            CommandError: if the data set is in neither folder.
        """
        for path in (
            self.folders.dataset_json(self.name),
            self.folders.raw_dataset_json(self.name),
        ):
            if path.is_file():
                return read_dataset_json(path, channels=True)
        raise CommandError(
            f"-d {self.name}: found neither {self.folders.raw_dataset(self.name)} with a "
            "dataset.json nor preprocessed data; check -d, nnUNet_raw and nnUNet_preprocessed"
        )

    @property
    def file_ending(self) -> str:
        """Return the ending of the images' names, such as .nii.gz."""
        return self.description["file_ending"]

    @cached_property
    def splits(self) -> list[dict] | None:
        """Return the splits; None where they are still to be made."""
        return read_splits(self.folders.splits(self.name))

    @property
    def groups(self) -> Mapping[str, str] | None:
        """Return the groups by case; None where each case is by itself."""
        return None if self.plan.groups is None else self.plan.groups.get(self.name)

    @cached_property
    def plans(self) -> dict[str, dict | None]:
        """Return the plans by name; None where they are still to be made."""
        names = dict.fromkeys(name for _, name in self.plan.models)
        return {name: self.whole_plans(name) for name in names}

    @cached_property
    def runs(self) -> list[FoldRun]:
        """Return every fold that is wanted, in the order of training."""
        plan = self.plan
        options: tuple[str, ...] = ("-device", plan.device)
        if plan.num_gpus > 1:
            options = (*options, "-num_gpus", str(plan.num_gpus))
        weights = plan.pretrained_weights
        first = () if weights is None else ("-pretrained_weights", str(weights))
        runs: dict[str, FoldRun] = {}
        for configuration, folds in self.stages:
            for fold in folds:
                for trainer, plans in plan.models:
                    run = FoldRun(
                        self.name,
                        configuration,
                        trainer,
                        plans,
                        fold,
                        options,
                        first,
                        plan.npz,
                        self._followers(plans, configuration),
                        self.repeat,
                    )
                    runs.setdefault(run.name, run)
        return list(runs.values())

    @cached_property
    def stages(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return configurations and folds; before a cascade comes its first stage, all folds."""
        stages: dict[str, tuple[str, ...]] = {}
        for configuration in self.plan.configurations:
            earlier = {self.previous(plans, configuration) for _, plans in self.plan.models}
            for first in sorted(stage for stage in earlier if stage is not None):
                # A fold of the second stage trains on the predictions of all the others.
                every_fold = default_folds(self.splits)
                stages[first] = (ALL,) if self.wanted_folds == (ALL,) else every_fold
        for configuration in self.plan.configurations:
            stages.setdefault(configuration, self.wanted_folds)
        return list(stages.items())

    @property
    def wanted_folds(self) -> tuple[str, ...]:
        """Return the folds that are asked for, those of a cascade's first stage left out."""
        folds = self.plan.folds
        return default_folds(self.splits) if folds is None else folds

    @property
    def data_configurations(self) -> list[tuple[str, str]]:
        """Return plans and configuration of all data that are trained on."""
        pairs = [
            (plans, configuration if content is None else data_owner(content, configuration))
            for configuration, _ in self.stages
            for plans, content in self.plans.items()
        ]
        return list(dict.fromkeys(pairs))

    def check(self) -> None:
        """Refuse requests that nnU-Net would not carry out as asked, or would fail at.

        Raises:
            CommandError: if the data set is missing, its splits or plans lack what is wanted, or
                plans have changed since a model's training began.
        """
        _ = self.description
        if self.splits is not None:
            for _, folds in self.stages:
                for fold in folds:
                    check_splits(self.splits, self.folders.splits(self.name), self.cases, fold)
            fault = self.torn_groups_in_words()
            if fault and not self.plan.keep_splits:
                raise CommandError(
                    f"{fault}; give --keep-splits to use these splits, or, if no fold has been "
                    "trained with them, remove the file to get new ones that keep groups together"
                )
        for plans, content in self.plans.items():
            if content is None:
                continue
            for configuration, _ in self.stages:
                configuration_of(content, configuration)
                for trainer, used in self.plan.models:
                    if used == plans:
                        model = self.folders.model(self.name, trainer, plans, configuration)
                        check_unchanged(model, content, configuration, self.description)

    def torn_groups_in_words(self) -> str:
        """Say which groups the splits both train on and validate; empty where there are none.

        Raises:
            CommandError: if a case of the splits has no group.
        """
        if self.groups is None or self.splits is None:
            return ""
        torn = torn_groups(self.splits, self.groups)
        if not torn:
            return ""
        return (
            f"{self.folders.splits(self.name)} tears {len(torn)} of "
            f"{len(set(self.groups.values()))} groups apart, such as {torn[0]}, with cases in both "
            "train and val of a fold"
        )

    def check_models(self, trained_again: set[str]) -> None:
        """Refuse models without whole plans, unless a training is to write them again.

        Args:
            trained_again: names of the models of which a fold is trained.

        Raises:
            CommandError: if there are any, with the remedy.
        """
        run_of_model = {run.model: run for run in self.runs if run.model not in trained_again}
        for run in run_of_model.values():
            model = run.folder(self.folders).parent
            for path, original in (
                (model / PLANS_JSON, self.folders.plans(self.name, run.plans)),
                (model / DATASET_JSON, self.folders.dataset_json(self.name)),
            ):
                try:
                    if path.exists():
                        read_json(path)
                except CommandError as error:
                    raise CommandError(
                        f"{error}; no fold of the model is left to train, which would write it "
                        f"again. Copy {original} there"
                    ) from error

    def validated(self, fold: str) -> tuple[str, ...] | None:
        """Return the cases that a fold validates; None where that is not known yet."""
        return validation_cases(self.splits, fold, self.cases)

    def state_of(self, run: FoldRun) -> FoldState:
        """Return where a fold stands."""
        return fold_state(
            run,
            self.folders,
            self.validated(run.fold),
            self.file_ending,
            trained_on(self.splits, run.fold),
        )

    def depends_on(self) -> dict[str, dict]:
        """Return what the models depend on, by plans and configuration, and the splits."""
        entries = {
            f"{plans} {configuration}": relevant(content, configuration, self.description)
            for plans, content in self.plans.items()
            if content is not None
            for configuration, _ in self.stages
        }
        return {**entries, **({"splits": {"folds": self.splits}} if self.splits else {})}

    def previous(self, plans: str, configuration: str) -> str | None:
        """Return the configuration that a cascade's second stage comes after."""
        content = self.plans[plans]
        if content is None:
            return _BEFORE_CASCADE if configuration == _CASCADE else None
        return configuration_of(content, configuration).get("previous_stage")

    def identifier(self, plans: str, configuration: str) -> str | None:
        """Return the name of a configuration's folder of data; None before planning."""
        content = self.plans[plans]
        return None if content is None else identifier_of(content, configuration)

    def whole_plans(self, name: str) -> dict | None:
        """Return plans; None where there are none, or only what a kill left half written."""
        return whole_plans(self.folders.plans(self.name, name))

    def has_fingerprint(self) -> bool:
        """Tell whether there is a whole fingerprint."""
        try:
            read_json(self.folders.fingerprint(self.name))
        except CommandError:
            return False
        return True

    def is_unprepared(self, identifier: str) -> bool:
        """Tell whether preprocessed data are missing or incomplete."""
        folders, name = self.folders, self.name
        if self.cases is not None:
            number = len(self.cases)
        else:
            number = number_of_cases(self.description, f"{name}'s dataset.json")
        references = folders.references(name)
        return (
            folders.unfinished_data(name, identifier).exists()
            or needs_preprocessing(folders.dataset(name), {"data_identifier": identifier}, number)
            or not references.is_dir()
            or sum(1 for _ in references.glob(f"*{self.file_ending}")) < number
        )

    def _followers(self, plans: str, configuration: str) -> tuple[str, ...]:
        """Return those configurations of the plan that are trained on this one's predictions."""
        content = self.plans[plans]
        return tuple(
            later
            for later in self.plan.configurations
            if self.previous(plans, later) == configuration
            and (content is None or later in next_stages(configuration_of(content, configuration)))
        )


def training_cases(raw: Path) -> tuple[str, ...]:
    """Return the names of a raw data set's cases for training, sorted.

    Raises:
        CommandError: if its description or its folder of images cannot be read.
    """
    # Not the function that nnU-Net calls, which starts a pool of processes to find their files.
    from nnunetv2.utilities.utils import get_identifiers_from_splitted_dataset_folder

    description = read_dataset_json(raw / DATASET_JSON)
    if "dataset" in description:
        return tuple(sorted(description["dataset"]))
    images, ending = raw / IMAGES, description["file_ending"]
    try:
        names = get_identifiers_from_splitted_dataset_folder(str(images), ending)
    except OSError as error:
        raise CommandError(
            f"{images}, the folder of the training images, cannot be read: {disk_error(error)}"
        ) from error
    return tuple(sorted(map(str, names)))


def cases_with_data(folders: Folders, dataset: str) -> list[str]:
    """Return the cases of the first preprocessed data that a plans file names.

    Raises:
        CommandError: if there are none.
    """
    for path in sorted(folders.dataset(dataset).glob("*.json")):
        try:
            configurations = read_json(path).get("configurations")
        except CommandError:
            continue
        for configuration in (configurations or {}).values():
            identifier = configuration.get("data_identifier")
            if identifier is None or folders.unfinished_data(dataset, identifier).exists():
                continue
            cases = sorted(case.stem for case in folders.data(dataset, identifier).glob("*.pkl"))
            if cases:
                return cases
    raise CommandError(
        f"{dataset} has no preprocessed cases in {folders.dataset(dataset)}; preprocess it again"
    )
