"""What a cross-validation consists of, and what of it is missing in nnU-Net's folders.

Nothing is done here and nothing is remembered: the folders are the state. Whoever asks again after
a step, a crash or another launcher's work gets what is missing then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.dataset_json import number_of_cases, read_dataset_json
from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.folds import (
    FoldRun,
    FoldState,
    fold_state,
    predictions_of,
    validation_cases,
)
from nnunet_attention.nnunet.kept_cases import whole_predictions
from nnunet_attention.nnunet.making_splits import check_splits
from nnunet_attention.nnunet.planned import (
    check_unchanged,
    configuration_of,
    data_owner,
    identifier_of,
    next_stages,
    relevant,
)
from nnunet_attention.nnunet.planners import NNUNET_PLANNERS, OWN_PLANNERS, source_of_converted
from nnunet_attention.nnunet.splits import default_folds, read_splits, trained_on
from nnunet_attention.nnunet.summary_json import summarised_cases

FINGERPRINT, PLANS, DESCRIPTION, PREPROCESSING, SPLITS, FOLD, ACCUMULATION = (
    "fingerprint",
    "plans",
    "description",
    "preprocessing",
    "splits",
    "fold",
    "accumulation",
)
# As nnU-Net plans it; needed only to list steps before there are plans.
_CASCADE, _BEFORE_CASCADE = "3d_cascade_fullres", "3d_lowres"


@dataclass(frozen=True)
class CrossvalPlan:
    """What is wanted.

    Attributes:
        datasets: full names, DatasetXXX_Name.
        configurations: such as 3d_fullres; one that a cascade needs first is added by itself.
        models: trainer and plans of each.
        folds: numbers, or "all" alone; None: all that a data set's splits have.
        npz: keep the validation's probabilities.
        num_gpus: of each fold; nnU-Net's own distributed training.
        device: cuda, cpu or mps.
        processes: of fingerprint and preprocessing.
        pretrained_weights: a checkpoint that every fold starts from.
    """

    datasets: tuple[str, ...]
    configurations: tuple[str, ...]
    models: tuple[tuple[str, str], ...]
    folds: tuple[str, ...] | None = None
    npz: bool = False
    num_gpus: int = 1
    device: str = "cuda"
    processes: int = 8
    pretrained_weights: Path | None = None


@dataclass(frozen=True)
class Step:
    """Something that is missing.

    Attributes:
        kind: one of `FINGERPRINT` to `ACCUMULATION`.
        dataset: full name.
        name: for people, and unique.
        command: name of an installed command and its arguments; empty where we do it ourselves.
        needs: names of the missing steps that come first.
        run: of a fold.
        state: of a fold: how far it has come.
        data: of a preprocessing: its folder's name in the data set's; None before planning.
        plans_file: of planning: what it writes.
    """

    kind: str
    dataset: str
    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    run: FoldRun | None = None
    state: FoldState | None = None
    data: str | None = None
    plans_file: Path | None = None


def all_runs(plan: CrossvalPlan, folders: Folders) -> list[FoldRun]:
    """Every fold of the plan, those that a cascade needs included, in the order of training."""
    return [run for name in plan.datasets for run in _Dataset(plan, folders, name).runs]


def missing_steps(
    plan: CrossvalPlan, folders: Folders, datasets: Iterable[str] | None = None
) -> list[Step]:
    """What is to be done, in an order in which it can be done.

    Before a data set is planned, its list is what is known then; ask again afterwards.

    Args:
        plan: what is wanted.
        folders: nnU-Net's.
        datasets: look at these only.

    Raises:
        CommandError: if a data set is missing, plans have changed under a begun model, or what
            is wanted cannot be had.
    """
    names = plan.datasets if datasets is None else datasets
    return [step for name in names for step in _Dataset(plan, folders, name).steps()]


def state_of(run: FoldRun, folders: Folders) -> FoldState:
    """Where a fold stands now; see `fold_state`."""
    plan = CrossvalPlan((run.dataset,), (run.configuration,), ((run.trainer, run.plans),))
    dataset = _Dataset(plan, folders, run.dataset)
    return dataset.state_of(run)


def predictions_of_training_cases(run: FoldRun, folders: Folders) -> list[Path]:
    """What lies in a fold's validation folder though it was trained on; nnU-Net would count it."""
    plan = CrossvalPlan((run.dataset,), (run.configuration,), ((run.trainer, run.plans),))
    dataset = _Dataset(plan, folders, run.dataset)
    trained = trained_on(dataset.splits, run.fold)
    return predictions_of(run, folders, trained, dataset.file_ending)


def kept_predictions(run: FoldRun, folders: Folders) -> list[str]:
    """The cases of a trained fold that a validation need not predict again."""
    plan = CrossvalPlan((run.dataset,), (run.configuration,), ((run.trainer, run.plans),))
    dataset = _Dataset(plan, folders, run.dataset)
    fold, cases = run.folder(folders), dataset.validated(run.fold)
    # What a cascade is trained on is written beside, and tells not whether it is whole.
    if cases is None or run.next_stages:
        return []
    return whole_predictions(fold / "validation", fold / FINAL, cases, dataset.file_ending, run.npz)


def plans_in_use(plan: CrossvalPlan, folders: Folders) -> dict:
    """What the models depend on, by data set, plans and configuration, and the splits."""
    return {name: _Dataset(plan, folders, name).depends_on() for name in plan.datasets}


class _Dataset:
    """One data set of a plan, as it is in nnU-Net's folders now; what was read is kept."""

    def __init__(self, plan: CrossvalPlan, folders: Folders, name: str):
        self._wanted = plan
        self._folders = folders
        self._name = name
        self._number = str(int(number_of_dataset(name)))

    def steps(self) -> list[Step]:
        self._check()
        preparation = self._preparation()
        missing = {step.name for step in preparation}
        folds = self._folds(missing)
        return [*preparation, *folds, *self._accumulations({step.name for step in folds})]

    @cached_property
    def cases(self) -> tuple[str, ...] | None:
        """Of training, sorted; None where neither raw nor preprocessed data tell."""
        raw = self._folders.raw_dataset(self._name)
        if (raw / "dataset.json").is_file():
            return training_cases(raw)
        for plans, configuration in self._data_configurations:
            identifier = self._identifier(plans, configuration)
            if identifier is not None and self._folders.data(self._name, identifier).is_dir():
                data = self._folders.data(self._name, identifier)
                return tuple(sorted(path.stem for path in data.glob("*.pkl")))
        return None

    @cached_property
    def description(self) -> dict:
        """dataset.json, of the preprocessed data where there is one.

        Raises:
            CommandError: if the data set is in neither folder.
        """
        for path in (
            self._folders.dataset_json(self._name),
            self._folders.raw_dataset(self._name) / "dataset.json",
        ):
            if path.is_file():
                return read_dataset_json(path, channels=True)
        raise CommandError(
            f"-d {self._name}: there is no {self._folders.raw_dataset(self._name)} with a "
            "dataset.json, nor preprocessed data; check -d, nnUNet_raw and nnUNet_preprocessed"
        )

    @property
    def _stated_cases(self) -> int:
        return number_of_cases(self.description, f"{self._name}'s dataset.json")

    @property
    def file_ending(self) -> str:
        return self.description["file_ending"]

    @cached_property
    def splits(self) -> list[dict] | None:
        return read_splits(self._folders.splits(self._name))

    def validated(self, fold: str) -> tuple[str, ...] | None:
        """The cases that a fold validates."""
        return validation_cases(self.splits, fold, self.cases)

    def state_of(self, run: FoldRun) -> FoldState:
        """Where a fold stands."""
        return fold_state(
            run,
            self._folders,
            self.validated(run.fold),
            self.file_ending,
            trained_on(self.splits, run.fold),
        )

    @cached_property
    def runs(self) -> list[FoldRun]:
        plan = self._wanted
        options = ("-device", plan.device)
        if plan.num_gpus > 1:
            options += ("-num_gpus", str(plan.num_gpus))
        weights = plan.pretrained_weights
        first = () if weights is None else ("-pretrained_weights", str(weights))
        found: dict[str, FoldRun] = {}
        for configuration, folds in self._stages:
            for fold in folds:
                for trainer, plans in plan.models:
                    run = FoldRun(
                        self._name,
                        configuration,
                        trainer,
                        plans,
                        fold,
                        options,
                        first,
                        plan.npz,
                        self._followers(plans, configuration),
                    )
                    found.setdefault(run.name, run)
        return list(found.values())

    def depends_on(self) -> dict:
        found = {}
        for (plans, content), configuration in (
            (item, one) for item in self._plans.items() for one, _ in self._stages
        ):
            if content is not None:
                found[f"{plans} {configuration}"] = relevant(
                    content, configuration, self.description
                )
        return {**found, **({"splits": {"folds": self.splits}} if self.splits else {})}

    def _check(self) -> None:
        _ = self.description
        if self.splits is not None:
            for _, folds in self._stages:
                for fold in folds:
                    check_splits(self.splits, self._folders.splits(self._name), self.cases, fold)
        for plans, content in self._plans.items():
            if content is None:
                continue
            for configuration, _ in self._stages:
                configuration_of(content, configuration)
                for trainer in (one for one, used in self._wanted.models if used == plans):
                    model = self._folders.model(self._name, trainer, plans, configuration)
                    check_unchanged(model, content, configuration, self.description)

    @cached_property
    def _plans(self) -> dict[str, dict | None]:
        """By name; None where they are still to be made."""
        found: dict[str, dict | None] = {}
        for _, name in self._wanted.models:
            path = self._folders.plans(self._name, name)
            found[name] = _plans_or_none(path)
        return found

    @cached_property
    def _stages(self) -> list[tuple[str, tuple[str, ...]]]:
        """Configurations and their folds; a cascade's first stage before it, with all folds."""
        stages: dict[str, tuple[str, ...]] = {}
        for configuration in self._wanted.configurations:
            earlier = {self._previous(plans, configuration) for _, plans in self._wanted.models}
            for one in sorted(earlier - {None}):
                # A fold of the second stage trains on the predictions of all the others.
                every_fold = default_folds(self.splits)
                stages[one] = ("all",) if self._wanted_folds == ("all",) else every_fold
        for configuration in self._wanted.configurations:
            stages.setdefault(configuration, self._wanted_folds)
        return list(stages.items())

    @property
    def _wanted_folds(self) -> tuple[str, ...]:
        folds = self._wanted.folds
        return default_folds(self.splits) if folds is None else folds

    def _previous(self, plans: str, configuration: str) -> str | None:
        content = self._plans[plans]
        if content is None:
            return _BEFORE_CASCADE if configuration == _CASCADE else None
        return configuration_of(content, configuration).get("previous_stage")

    def _followers(self, plans: str, configuration: str) -> tuple[str, ...]:
        """Those configurations of the plan that are trained on this one's predictions."""
        return tuple(
            one
            for one in self._wanted.configurations
            if self._previous(plans, one) == configuration
            and (self._plans[plans] is None or one in self._next(plans, configuration))
        )

    def _next(self, plans: str, configuration: str) -> tuple[str, ...]:
        return next_stages(configuration_of(self._plans[plans], configuration))

    def _identifier(self, plans: str, configuration: str) -> str | None:
        content = self._plans[plans]
        if content is None:
            return None
        return identifier_of(content, configuration)

    @property
    def _data_configurations(self) -> list[tuple[str, str]]:
        """Plans and configuration of all data that are trained on."""
        found = [
            (plans, one if content is None else data_owner(content, one))
            for one, _ in self._stages
            for plans, content in self._plans.items()
        ]
        return list(dict.fromkeys(found))

    def _preparation(self) -> list[Step]:
        steps: list[Step] = []
        name, plan = self._name, self._wanted

        def add(kind: str, detail: str, command: tuple[str, ...], **more) -> None:
            # Everything that prepares a data set writes into one folder: one after the other.
            needs = (steps[-1].name,) if steps else ()
            steps.append(Step(kind, name, f"{name} {detail}", command, needs, **more))

        fingerprint = self._folders.fingerprint(name)
        if not _is_json(fingerprint):
            clean = ("--clean",) if fingerprint.exists() else ()
            processes = ("-np", str(plan.processes), "--verify_dataset_integrity")
            add(
                FINGERPRINT,
                "fingerprint",
                ("nnUNetv2_extract_fingerprint", "-d", self._number, *processes, *clean),
            )
        for plans, content in self._plans.items():
            if content is None:
                for wanted, command in self._planning(plans):
                    if f"{name} plans {wanted}" not in [step.name for step in steps]:
                        add(
                            PLANS,
                            f"plans {wanted}",
                            command,
                            plans_file=self._folders.plans(name, wanted),
                        )
        if not self._folders.dataset_json(name).is_file() and not any(
            step.kind == PLANS for step in steps
        ):
            add(DESCRIPTION, "dataset.json", ())
        begun: set[str] = set()
        for plans, configuration in self._data_configurations:
            identifier = self._identifier(plans, configuration)
            if identifier is None or (identifier not in begun and self._is_unprepared(identifier)):
                begun.add(identifier or "")
                add(
                    PREPROCESSING,
                    _preprocessing(plans, configuration),
                    (
                        *("nnUNetv2_preprocess", "-d", self._number, "-plans_name", plans),
                        *("-c", configuration, "-np", str(plan.processes)),
                    ),
                    data=identifier,
                )
        if self.splits is None and self._wanted_folds != ("all",):
            add(SPLITS, "splits", ())
        if steps:
            raw = self._folders.raw_dataset(name)
            if steps[0].kind != SPLITS and not (raw / "dataset.json").is_file():
                raise CommandError(
                    f"{steps[0].name} is missing, and to make it {raw} with the raw data is "
                    "needed; check nnUNet_raw"
                )
        return steps

    def _planning(self, plans: str) -> list[tuple[str, tuple[str, ...]]]:
        """Names of plans and the commands that make them."""
        if planner := NNUNET_PLANNERS.get(plans):
            return [(plans, ("nnUNetv2_plan_experiment", "-d", self._number, "-pl", planner))]
        if planner := OWN_PLANNERS.get(plans):
            return [(plans, ("nnunet-attention", "plan", "-d", self._name, "-pl", planner))]
        if source := source_of_converted(plans):
            before = (
                []
                if _plans_or_none(self._folders.plans(self._name, source)) is not None
                else self._planning(source)
            )
            command = ("nnunet-attention", "plan", "-d", self._name, "--from", source)
            return [*before, (plans, command)]
        path = self._folders.plans(self._name, plans)
        found, remedy = f"there is no {path}", "plan with nnUNetv2_plan_experiment first"
        if path.exists():
            found, remedy = f"{path} is damaged", "put it back, or plan again"
        raise CommandError(
            f"-p {plans}: {found}, and this name says not which planner makes it; {remedy}"
        )

    def _is_unprepared(self, identifier: str) -> bool:
        # nnunetv2's paths are found in time only here: its import is not for `--help`.
        from nnunet_attention.nnunet.datasets import needs_preprocessing

        folders, name = self._folders, self._name
        number = len(self.cases) if self.cases is not None else self._stated_cases
        references = folders.references(name)
        return (
            folders.unfinished_data(name, identifier).exists()
            or needs_preprocessing(folders.dataset(name), {"data_identifier": identifier}, number)
            or not references.is_dir()
            or sum(1 for _ in references.glob(f"*{self.file_ending}")) < number
        )

    def _folds(self, missing: set[str]) -> list[Step]:
        steps: list[Step] = []
        for run in self.runs:
            state = self.state_of(run)
            if state is FoldState.FINISHED:
                continue
            # A missing step of the preparation is done after all those before it.
            needs = [
                f"{self._name} {detail}"
                for detail in (
                    "dataset.json",
                    *(_preprocessing(plans, one) for plans, one in self._data_configurations),
                    "splits",
                )
            ]
            previous = self._previous(run.plans, run.configuration)
            needs += [
                step.name
                for step in steps
                if step.run.configuration == previous
                and (step.run.trainer, step.run.plans) == (run.trainer, run.plans)
            ]
            there = missing | {step.name for step in steps}
            steps.append(
                Step(
                    FOLD,
                    self._name,
                    run.name,
                    run.command(state),
                    tuple(dict.fromkeys(need for need in needs if need in there)),
                    run,
                    state,
                )
            )
        self._check_models({step.run.model for step in steps if _trains(step.state)})
        return steps

    def _check_models(self, trained_again: set[str]) -> None:
        """Refuses models without whole plans, unless a training is to write them again."""
        one_of_each = {run.model: run for run in self.runs if run.model not in trained_again}
        for run in one_of_each.values():
            model = run.folder(self._folders).parent
            for path, original in (
                (model / "plans.json", self._folders.plans(self._name, run.plans)),
                (model / "dataset.json", self._folders.dataset_json(self._name)),
            ):
                try:
                    if path.exists():
                        read_json(path)
                except CommandError as error:
                    raise CommandError(
                        f"{error}; the model has no fold left to train, which would write it "
                        f"again. Copy {original} there"
                    ) from error

    def _accumulations(self, unfinished: set[str]) -> list[Step]:
        steps = []
        chosen = self._wanted_folds
        folds = () if chosen == ("all",) else tuple(sorted(chosen, key=int))
        validated = [self.validated(fold) for fold in folds]
        every = [case for cases in validated for case in cases or ()]
        # nnU-Net refuses to gather folds that share validation cases.
        if not folds or len(every) > len(set(every)):
            return []
        for configuration in self._wanted.configurations:
            for trainer, plans in self._wanted.models:
                wanted = [
                    FoldRun(self._name, configuration, trainer, plans, fold) for fold in folds
                ]
                needs = tuple(run.name for run in wanted if run.name in unfinished)
                if not needs and not self._is_unaccumulated(wanted, folds, every):
                    continue
                model = f"{trainer}__{plans}__{configuration}"
                steps.append(
                    Step(
                        ACCUMULATION,
                        self._name,
                        f"{self._name} {model} accumulation",
                        (
                            *("nnUNetv2_accumulate_crossval_results", self._name),
                            *("-c", configuration, "-tr", trainer, "-p", plans, "-f", *folds),
                        ),
                        needs,
                    )
                )
        return steps

    def _is_unaccumulated(
        self, runs: list[FoldRun], folds: tuple[str, ...], cases: list[str]
    ) -> bool:
        one = runs[0]
        summary = (
            self._folders.accumulated(one.dataset, one.trainer, one.plans, one.configuration, folds)
            / "summary.json"
        )
        if not set(cases) <= summarised_cases(summary, self.file_ending):
            return True
        made = summary.stat().st_mtime
        validations = [run.folder(self._folders) / "validation" / "summary.json" for run in runs]
        return any(path.stat().st_mtime > made for path in validations)


def training_cases(raw: Path) -> tuple[str, ...]:
    """The names of a raw data set's cases for training, sorted."""
    # Not the function that nnU-Net calls, which starts a pool of processes to find their files.
    from nnunetv2.utilities.utils import get_identifiers_from_splitted_dataset_folder

    description = read_dataset_json(raw / "dataset.json")
    if "dataset" in description:
        return tuple(sorted(description["dataset"]))
    ending = description["file_ending"]
    names = get_identifiers_from_splitted_dataset_folder(str(raw / "imagesTr"), ending)
    return tuple(sorted(map(str, names)))


def _trains(state: FoldState) -> bool:
    return state in (FoldState.ABSENT, FoldState.INTERRUPTED)


def _preprocessing(plans: str, configuration: str) -> str:
    return f"preprocessing {plans} {configuration}"


def _plans_or_none(path: Path) -> dict | None:
    """Plans; None where there are none, or only what a kill has left of them."""
    try:
        content = read_json(path)
    except CommandError:
        return None
    return content if isinstance(content.get("configurations"), dict) else None


def _is_json(path: Path) -> bool:
    try:
        read_json(path)
    except CommandError:
        return False
    return True


def with_state(step: Step, state: FoldState) -> Step:
    """A fold's step as it is in another state."""
    return replace(step, state=state, command=step.run.command(state))
