"""The paper's experiments as lists of stages, each ending in a table laid out as there.

Oktay et al.: Attention U-Net: learning where to look for the pancreas. 2018,
https://arxiv.org/abs/1804.03999
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.crossval import CrossvalPlan, all_runs, missing_steps
from nnunet_attention.errors import CommandError
from nnunet_attention.experiments import derived as derived_data
from nnunet_attention.experiments import transfer as moving
from nnunet_attention.nnunet.dataset_json import read_dataset_json
from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.fold_state import FoldState
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.splits import default_folds, read_splits

if TYPE_CHECKING:
    import pandas as pd

    from nnunet_attention.evaluation.leaderboard.collect import CountParameters
    from nnunet_attention.evaluation.leaderboard.costs import Cost
    from nnunet_attention.experiments.paper_table import Layout, PaperTable

CAPACITY, TRAINING_SIZE, TRANSFER = "capacity", "training-size", "transfer"
EXPERIMENTS = (CAPACITY, TRAINING_SIZE, TRANSFER)
DEFAULT_TRAINERS = {
    CAPACITY: ("nnUNetTrainer", "WideUNetTrainer", "AttentionUNetTrainer"),
    TRAINING_SIZE: ("nnUNetTrainer", "AttentionUNetTrainer"),
    TRANSFER: ("nnUNetTrainer", "AttentionUNetTrainer"),
}
_TITLES = {
    "AttentionUNetTrainer": "Attention U-Net",
    "WideUNetTrainer": "U-Net (wide)",
    "nnUNetTrainer": "U-Net",
}
_BEFORE, _AFTER, _SCRATCH = "before", "after", "scratch"


@dataclass(frozen=True)
class Trainings:
    """A stage that cross-validation does.

    Attributes:
        name: unique in the experiment; of the folder with its logs.
        plan: what is wanted.
    """

    name: str
    plan: CrossvalPlan


@dataclass(frozen=True)
class Own:
    """A stage of one action.

    Attributes:
        name: unique in the experiment; of its log.
        says: the command, or what is done, for the run list.
        is_done: asked when its turn has come.
        do: given the log.
    """

    name: str
    says: str
    is_done: Callable[[], bool]
    do: Callable[[Path], None]


@dataclass(frozen=True)
class Arm:
    """A method in a setting: where its results will be.

    Attributes:
        setting: key of the layout's settings.
        method: title.
        dataset: full name.
        trainer: name of the class.
        plans: name of the plans.
        folds: numbers; None: all of the data set's splits.
        named: folder of named results; None: nnUNet_results.
        network: data set and plans of the model whose network it is, if another one.
    """

    setting: str
    method: str
    dataset: str
    trainer: str
    plans: str
    folds: tuple[str, ...] | None
    named: Path | None = None
    network: tuple[str, str] | None = None


@dataclass(frozen=True)
class Experiment:
    """What is to be done, and what comes of it.

    Attributes:
        name: one of `EXPERIMENTS`.
        configuration: such as 3d_fullres.
        stages: in order.
        arms: in the order of the table.
        layout: of the table; asked when all stages are done.
    """

    name: str
    configuration: str
    stages: tuple[Trainings | Own, ...]
    arms: tuple[Arm, ...]
    layout: Callable[[], Layout]


def capacity(wanted: CrossvalPlan) -> Experiment:
    """Whether gates do more than as many other parameters: all trainers on the same folds.

    Args:
        wanted: data sets, one configuration, models, folds, and how they are run.
    """
    methods = method_titles(wanted.models)
    arms = [
        Arm(dataset, method, dataset, *model, wanted.folds)
        for dataset in wanted.datasets
        for model, method in methods.items()
    ]

    def layout() -> Layout:
        from nnunet_attention.experiments.paper_table import Layout

        settings = {dataset: _short(dataset) for dataset in wanted.datasets}
        return Layout("Capacity", settings, next(iter(methods.values())))

    stages = (Trainings("trainings", wanted),)
    return Experiment(CAPACITY, _configuration(wanted), stages, tuple(arms), layout)


def training_size(
    wanted: CrossvalPlan, folders: Folders, derived_number: int | None = None
) -> Experiment:
    """Training on four fifths of the cases and testing on the rest, and the other way round.

    Args:
        wanted: as for `capacity`; its one fold says which of nnU-Net's is meant.
        folders: nnU-Net's.
        derived_number: see `derived.choose_derived`.
    """
    if wanted.folds is None or len(wanted.folds) != 1 or wanted.folds == ("all",):
        raise CommandError(
            f"-f {' '.join(wanted.folds or ())}: training size takes one fold, whose training and "
            "validation cases are swapped for the small split; give one number"
        )
    if derived_number is not None and len(wanted.datasets) > 1:
        raise CommandError("--derived-id is for a single data set; give one with -d")
    configuration = _single_stage(wanted)
    methods = method_titles(wanted.models)
    stages: list[Trainings | Own] = []
    arms: list[Arm] = []
    titles: dict[str, Callable[[], str]] = {}
    numbers: set[int] = set()
    for dataset in wanted.datasets:
        derived = derived_data.choose_derived(
            folders, dataset, wanted.folds[0], derived_number, numbers
        )
        numbers.add(int(number_of_dataset(derived.name)))
        short = _short(dataset)
        stages += [
            Trainings(f"prepare {short}", replace(wanted, datasets=(dataset,), folds=())),
            Own(
                f"derive {derived.name}",
                f"link {derived.name} to the data of {dataset}, with fold {derived.fold} and its "
                "swap as splits",
                _call(derived_data.is_derived, derived, folders, wanted.models, configuration),
                _ignoring_log(derived_data.derive, derived, folders, wanted.models, configuration),
            ),
            Trainings(
                f"trainings {short}",
                replace(
                    wanted,
                    datasets=(derived.name,),
                    folds=(derived_data.LARGE, derived_data.SMALL),
                ),
            ),
        ]
        for fold in (derived_data.LARGE, derived_data.SMALL):
            setting = f"{derived.name} fold {fold}"
            name = f"{short}, " if len(wanted.datasets) > 1 else ""
            titles[setting] = _call(_sizes, folders, derived.name, fold, name)
            arms += [
                Arm(setting, method, derived.name, *model, (fold,))
                for model, method in methods.items()
            ]

    def layout() -> Layout:
        from nnunet_attention.experiments.paper_table import Layout

        settings = {setting: title() for setting, title in titles.items()}
        return Layout("Training size", settings, next(iter(methods.values())), True)

    return Experiment(TRAINING_SIZE, configuration, tuple(stages), tuple(arms), layout)


def transfer(wanted: CrossvalPlan, folders: Folders, root: Path) -> Experiment:
    """From a first data set to a second: before and after fine-tuning, and from scratch.

    The first is trained as a whole, with the second's plans; the second is cross-validated.

    Args:
        wanted: as for `capacity`, with two data sets of the same labels.
        folders: nnU-Net's.
        root: the experiment's folder; gets the predictions before fine-tuning.

    Raises:
        CommandError: if there are not two data sets, or one network cannot serve both.
    """
    if len(wanted.datasets) != 2:
        raise CommandError(
            f"-d {' '.join(wanted.datasets)}: transfer needs two data sets, the one it comes from "
            "and the one it goes to"
        )
    if wanted.folds == ("all",):
        raise CommandError("-f all: there are no cases left to test on; give numbers of folds")
    source, target = wanted.datasets
    configuration = _single_stage(wanted)
    moving.check_alike(folders, source, target)
    methods = method_titles(wanted.models)
    predictions = root / "before"
    to_source = replace(wanted, datasets=(source,), folds=("all",))
    to_target = replace(wanted, datasets=(target,))
    plans_names = list(dict.fromkeys(plans for _, plans in wanted.models))
    stages: list[Trainings | Own] = [Trainings("prepare", replace(to_target, folds=()))]
    for plans in plans_names:
        what = (folders, source, target, plans)
        stages += [
            Own(
                f"move {plans}",
                " ".join(moving.moving_command(source, target, plans)),
                _call(moving.are_moved, *what, configuration),
                _with_log(moving.move_plans, *what),
            ),
            Own(
                f"copy {plans}",
                f"copy {plans} of {target} to {moving.tuned_name(plans, source)}",
                _call(moving.are_copied, *what, configuration),
                _ignoring_log(moving.copy_plans, *what),
            ),
        ]
    moved = tuple((trainer, moving.moved_name(plans, target)) for trainer, plans in wanted.models)
    stages.append(Trainings(f"pretrain {_short(source)}", replace(to_source, models=moved)))
    arms: dict[str, list[Arm]] = {_BEFORE: [], _AFTER: [], _SCRATCH: []}
    for model, method in methods.items():
        trainer, plans = model
        tuned = (trainer, moving.tuned_name(plans, source))
        stages += [
            _prediction(folders, wanted, model, method, predictions),
            Trainings(
                f"fine-tune {method}",
                replace(
                    to_target,
                    models=(tuned,),
                    pretrained_weights=moving.weights_of(
                        folders, source, target, model, configuration
                    ),
                ),
            ),
        ]
        arms[_BEFORE].append(
            Arm(
                _BEFORE, method, target, trainer, plans, (moving.ONLY_FOLD,),
                moving.named_results(predictions, model),
                (source, moving.moved_name(plans, target)),
            )
        )  # fmt: skip
        arms[_AFTER].append(Arm(_AFTER, method, target, *tuned, wanted.folds))
        arms[_SCRATCH].append(Arm(_SCRATCH, method, target, *model, wanted.folds))
    stages.append(Trainings("scratch", to_target))

    def layout() -> Layout:
        from nnunet_attention.experiments.paper_table import Layout

        settings = {
            _BEFORE: "before fine-tuning",
            _AFTER: "after fine-tuning",
            _SCRATCH: "from scratch",
        }
        title = f"Transfer from {_short(source)} to {_short(target)}"
        return Layout(title, settings, next(iter(methods.values())))

    flat = tuple(arm for of_setting in arms.values() for arm in of_setting)
    return Experiment(TRANSFER, configuration, tuple(stages), flat, layout)


def run_list(experiment: Experiment, folders: Folders) -> list[tuple[str, list[str]]]:
    """Name of each stage that is not done, with its commands as far as they are known now."""
    found = []
    for stage in experiment.stages:
        if isinstance(stage, Own):
            if not _is_done_now(stage):
                found.append((stage.name, [stage.says]))
            continue
        commands = _commands(stage.plan, folders)
        if commands:
            found.append((stage.name, commands))
    return found


def collect(
    experiment: Experiment,
    folders: Folders,
    processes: int,
    count_parameters: CountParameters | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, dict[tuple[str, str, str], Cost]]:
    """All cases of all arms with the paper's metrics; settings stand as data sets.

    Args:
        experiment: whose stages are done.
        folders: nnU-Net's.
        processes: that measure surfaces.
        count_parameters: of a trainer's network, see `collect.collect_results`.
        on_progress: told how many cases of an arm are measured.

    Raises:
        CommandError: if results are missing.
    """
    from nnunet_attention.evaluation import (
        add_surface_metrics,
        concatenate,
        read_named_results,
        read_nnunet_results,
    )
    from nnunet_attention.evaluation.leaderboard.costs import Cost, read_cost
    from nnunet_attention.experiments.paper_table import PAPER_METRICS

    configuration = experiment.configuration
    frames, costs = [], {}
    for arm in experiment.arms:
        folds = arm.folds
        if folds is None:
            folds = default_folds(read_splits(folders.splits(arm.dataset)))
        known = [folders.preprocessed, folders.raw]
        if arm.named is None:
            model = folders.model(arm.dataset, arm.trainer, arm.plans, configuration)
            network = model
            frame = read_nnunet_results(
                folders.results, arm.dataset, arm.trainer, arm.plans, configuration, folds,
                arm.method, known,
            )  # fmt: skip
        else:
            model = arm.named / arm.dataset / configuration
            dataset, plans = arm.network
            network = folders.model(dataset, arm.trainer, plans, configuration)
            frame = read_named_results(
                arm.named, arm.method, [arm.dataset], [configuration], folds, known
            )
        predictions = {
            (arm.dataset, configuration, arm.method, int(fold)): model
            / f"fold_{fold}"
            / "validation"
            for fold in folds
        }
        frame = add_surface_metrics(
            frame,
            folders.references(arm.dataset),
            predictions,
            folders.dataset_json(arm.dataset),
            processes=processes,
            on_progress=on_progress,
        )
        frame = frame[frame["metric"].isin(PAPER_METRICS)].assign(dataset=arm.setting)
        frame.attrs = {}  # Tolerances, which no metric here has.
        frames.append(frame)
        parameters = None
        if count_parameters is not None:
            plans_file, described = network / "plans.json", network / "dataset.json"
            parameters = count_parameters(arm.trainer, plans_file, described, configuration)
        key = (arm.setting, configuration, arm.method)
        costs[key] = read_cost(model, folds, parameters) if arm.named is None else Cost(parameters)
    return concatenate(frames), costs


def paper_table(
    experiment: Experiment,
    frame: pd.DataFrame,
    costs: dict[tuple[str, str, str], Cost],
    policy: str,
    seed: int = 0,
) -> PaperTable:
    """The table of what `collect` found.

    Args:
        experiment: whose results these are.
        frame: from `collect`.
        costs: from `collect`.
        policy: for undefined values, one of `evaluation.POLICIES`.
        seed: of the bootstrap.
    """
    from nnunet_attention.evaluation.leaderboard.building import Settings, build_leaderboard
    from nnunet_attention.experiments.paper_table import PAPER_METRICS, PaperTable

    board = build_leaderboard(frame, Settings(PAPER_METRICS, policy, seed), costs)
    return PaperTable(board, experiment.layout())


def method_titles(models: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """As the paper calls them; where that is not unique, trainer and plans."""
    titles = {model: _title(model[0]) for model in models}
    if len(set(titles.values())) < len(titles):
        titles = {
            (trainer, plans): trainer if plans == "nnUNetPlans" else f"{trainer} {plans}"
            for trainer, plans in models
        }
    return titles


def _prediction(
    folders: Folders, wanted: CrossvalPlan, model: tuple[str, str], method: str, root: Path
) -> Own:
    source, target = wanted.datasets
    configuration = _configuration(wanted)
    folder = moving.prediction_folder(root, target, model, configuration)

    def cases() -> list[str]:
        return moving.validation_cases_of(folders, target, wanted.folds)

    def is_done() -> bool:
        ending = read_dataset_json(folders.dataset_json(target))["file_ending"]
        return moving.is_predicted(folder, cases(), ending)

    def do(log: Path) -> None:
        moving.predict_target(
            folders, source, target, model, configuration, wanted.device, cases(), folder, log,
            wanted.processes,
        )  # fmt: skip

    images = folders.raw_dataset(target) / "imagesTr"
    says = moving.prediction_command(
        source, target, model, configuration, wanted.device, wanted.processes, images, folder
    )
    return Own(f"predict {method}", " ".join(says), is_done, do)


def _commands(plan: CrossvalPlan, folders: Folders) -> list[str]:
    try:
        return [
            " ".join(step.command) or f"make {step.name}" for step in missing_steps(plan, folders)
        ]
    except CommandError:
        # What an earlier stage makes is not there yet.
        return [" ".join(run.command(FoldState.ABSENT)) for run in all_runs(plan, folders)]


def _is_done_now(stage: Own) -> bool:
    try:
        return stage.is_done()
    except CommandError:
        return False


def _sizes(folders: Folders, dataset: str, fold: str, name: str) -> str:
    split = read_splits(folders.splits(dataset))[int(fold)]
    return f"{name}{len(split['train'])}/{len(split['val'])}"


def _configuration(wanted: CrossvalPlan) -> str:
    if len(wanted.configurations) != 1:
        raise CommandError(
            f"-c {' '.join(wanted.configurations)}: an experiment compares methods in one "
            "configuration; give one"
        )
    return wanted.configurations[0]


def _single_stage(wanted: CrossvalPlan) -> str:
    configuration = _configuration(wanted)
    if configuration == "3d_cascade_fullres":
        raise CommandError(
            "-c 3d_cascade_fullres: a cascade needs all folds of its first stage, which other "
            "splits and a network from other data do not have; choose a single-stage configuration"
        )
    return configuration


def _title(trainer: str) -> str:
    return next((title for start, title in _TITLES.items() if trainer.startswith(start)), trainer)


def _short(dataset: str) -> str:
    return dataset.partition("_")[2]


def _call(function, *arguments) -> Callable:
    return lambda: function(*arguments)


def _with_log(function, *arguments) -> Callable[[Path], None]:
    return lambda log: function(*arguments, log)


def _ignoring_log(function, *arguments) -> Callable[[Path], None]:
    return lambda log: function(*arguments)
