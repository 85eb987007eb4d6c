"""Lists the missing steps of a cross-validation, in an order in which they can be done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nnunet_attention.crossval.dataset import IMAGES, Dataset
from nnunet_attention.crossval.plan import CrossvalPlan, fold_variables, seed_of_repeat
from nnunet_attention.crossval.planners import planning_command
from nnunet_attention.crossval.steps import (
    AccumulationStep,
    CrossvalStep,
    DescriptionStep,
    FingerprintStep,
    FoldStep,
    PlansStep,
    PreprocessingStep,
    SplitsStep,
)
from nnunet_attention.errors import CommandError
from nnunet_attention.files import disk_error
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.fold_state import FoldRun, FoldState, summarised_cases
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.model_folders import ALL, SUMMARY, ModelName, validation_summary
from nnunet_attention.nnunet.planners import source_of_converted
from nnunet_attention.nnunet.seeds import check_same_seed, read_seed


def all_runs(plan: CrossvalPlan, folders: Folders) -> list[FoldRun]:
    """List every fold of the plan, including those that a cascade needs, in order of training.

    The folder of a later repeat's fold is in `folders.of_repeat(run.repeat)`.
    """
    return [
        run
        for name in plan.datasets
        for dataset in _repeats_of(Dataset(plan, folders, name))
        for run in dataset.runs
    ]


def missing_steps(
    plan: CrossvalPlan, folders: Folders, datasets: Iterable[str] | None = None
) -> list[CrossvalStep]:
    """List what is to be done, in an order in which it can be done.

    Before a data set is planned, its list has only what is known then; ask again afterwards.

    Args:
        plan: says what is wanted.
        folders: nnU-Net's.
        datasets: look at these only.

    Raises:
        CommandError: if a data set is missing, plans have changed since a model's training began,
            the plan cannot be carried out, or files cannot be read.
    """
    names = plan.datasets if datasets is None else datasets
    try:
        return [step for name in names for step in _steps_of(Dataset(plan, folders, name))]
    except OSError as error:
        # Files may go while they are looked at, and a launcher must not end for that.
        raise CommandError(f"{error.filename} cannot be read: {disk_error(error)}") from error


def _steps_of(dataset: Dataset) -> list[CrossvalStep]:
    dataset.check()
    steps: list[CrossvalStep] = [*_preparation(dataset)]
    preparation = {step.name for step in steps}
    # One repeat after the other: the first is a whole cross-validation.
    for repeated in _repeats_of(dataset):
        if repeated is not dataset:
            repeated.check()
        folds = _folds(repeated, preparation)
        steps += [*folds, *_accumulations(repeated, {step.name for step in folds})]
    return steps


def _repeats_of(dataset: Dataset) -> list[Dataset]:
    """Return the data set of each repeat, of which the given one is the first."""
    plan, folders = dataset.plan, dataset.folders
    later = range(2, plan.repeats + 1)
    return [dataset, *(Dataset(plan, folders, dataset.name, repeat) for repeat in later)]


def _preparation(dataset: Dataset) -> list[CrossvalStep]:
    steps: list[CrossvalStep] = []
    name, plan, folders = dataset.name, dataset.plan, dataset.folders

    def needs() -> tuple[str, ...]:
        # All steps that prepare a data set write into one folder, so they run one by one.
        return (steps[-1].name,) if steps else ()

    if not dataset.has_fingerprint():
        clean = folders.fingerprint(name).exists()
        steps.append(FingerprintStep(folders, name, needs(), plan.processes, clean))
    for plans, content in dataset.plans.items():
        if content is None:
            for made, command in _planning(dataset, plans):
                step = PlansStep(folders, name, needs(), made, command)
                if step.name not in [earlier.name for earlier in steps]:
                    steps.append(step)
    if not folders.dataset_json(name).is_file() and not any(
        isinstance(step, PlansStep) for step in steps
    ):
        steps.append(DescriptionStep(folders, name, needs()))
    begun: set[str] = set()
    for plans, configuration in dataset.data_configurations:
        identifier = dataset.identifier(plans, configuration)
        if identifier is None or (identifier not in begun and dataset.is_unprepared(identifier)):
            begun.add(identifier or "")
            steps.append(
                PreprocessingStep(
                    folders, name, needs(), plans, configuration, plan.processes, identifier
                )
            )
    if dataset.splits is None and dataset.wanted_folds != (ALL,):
        steps.append(SplitsStep(folders, name, needs(), dataset.groups))
    _check_raw(dataset, steps)
    return steps


def _check_raw(dataset: Dataset, steps: Sequence[CrossvalStep]) -> None:
    """Refuse steps that need raw data, or images, that are not there."""
    raw = dataset.folders.raw_dataset(dataset.name)
    if steps and not isinstance(steps[0], SplitsStep) and not (raw / DATASET_JSON).is_file():
        raise CommandError(
            f"{steps[0].name} is missing, and making it needs the raw data in {raw}; check "
            "nnUNet_raw"
        )
    reading = next((step for step in steps if step.needs_images), None)
    if reading is None:
        return
    needs = f"{reading.name} is missing, and making it needs the images in {raw / IMAGES}"
    try:
        there = dataset.raw_cases or ()
    except CommandError as error:
        raise CommandError(f"{needs}; put them back ({error})") from error
    if not there:
        raise CommandError(f"{needs}, which has none; put them back")
    gone = sorted(set(dataset.cases or ()) - set(there))
    if gone:
        raise CommandError(
            f"{needs}, which lacks {len(gone)} preprocessed cases, such as {gone[0]}; put them "
            "back, or move their preprocessed files away"
        )


def _planning(dataset: Dataset, plans: str) -> list[tuple[str, tuple[str, ...]]]:
    """List names of plans and the commands that make them; sources come before conversions."""
    command = planning_command(dataset.name, plans)
    if command is not None:
        source = source_of_converted(plans)
        if source is None or dataset.whole_plans(source) is not None:
            return [(plans, command)]
        return [*_planning(dataset, source), (plans, command)]
    path = dataset.folders.plans(dataset.name, plans)
    fault, remedy = f"there is no {path}", "plan with nnUNetv2_plan_experiment first"
    if path.exists():
        fault, remedy = f"{path} is damaged", "put it back, or plan again"
    raise CommandError(
        f"-p {plans}: {fault}, and the name does not say which planner makes it; {remedy}"
    )


def _folds(dataset: Dataset, missing: set[str]) -> list[FoldStep]:
    steps: list[FoldStep] = []
    folders, name = dataset.folders, dataset.name
    # A missing step of the preparation is done after all those before it.
    prepared = [
        DescriptionStep(folders, name, ()).name,
        *(PreprocessingStep.name_of(name, *data) for data in dataset.data_configurations),
        SplitsStep(folders, name, ()).name,
    ]
    variables = tuple(fold_variables(dataset.plan, dataset.repeat).items())
    seed = seed_of_repeat(dataset.plan, dataset.repeat)
    for run in dataset.runs:
        state = dataset.state_of(run)
        if state is not FoldState.ABSENT:
            place = run.folder(folders)
            check_same_seed(place, read_seed(place), seed)
        if state is FoldState.FINISHED:
            continue
        previous = dataset.previous(run.plans, run.configuration)
        first_stage = [
            step.name
            for step in steps
            if step.run.configuration == previous
            and (step.run.trainer, step.run.plans) == (run.trainer, run.plans)
        ]
        needs = [need for need in dict.fromkeys(prepared) if need in missing]
        steps.append(FoldStep(folders, name, (*needs, *first_stage), run, state, variables))
    trained = (FoldState.ABSENT, FoldState.INTERRUPTED)
    dataset.check_models({step.run.model for step in steps if step.state in trained})
    return steps


def _accumulations(dataset: Dataset, unfinished: set[str]) -> list[AccumulationStep]:
    chosen = dataset.wanted_folds
    folds = () if chosen == (ALL,) else tuple(sorted(chosen, key=int))
    cases = [case for fold in folds for case in dataset.validated(fold) or ()]
    # nnU-Net refuses to gather folds that share validation cases.
    if not folds or len(cases) > len(set(cases)):
        return []
    steps = []
    for configuration in dataset.plan.configurations:
        for trainer, plans in dataset.plan.models:
            runs = [
                FoldRun(dataset.name, configuration, trainer, plans, fold, repeat=dataset.repeat)
                for fold in folds
            ]
            needs = tuple(run.name for run in runs if run.name in unfinished)
            if needs or _is_unaccumulated(dataset, runs, cases):
                model = ModelName(trainer, plans, configuration)
                steps.append(
                    AccumulationStep(
                        dataset.folders, dataset.name, needs, model, folds, dataset.repeat
                    )
                )
    return steps


def _is_unaccumulated(dataset: Dataset, runs: Sequence[FoldRun], cases: Sequence[str]) -> bool:
    """Tell whether the gathered results of some folds lack a case, or are older than one."""
    first, folds = runs[0], tuple(run.fold for run in runs)
    gathered = dataset.folders.accumulated(
        first.dataset, first.trainer, first.plans, first.configuration, folds
    )
    summary = gathered / SUMMARY
    if not set(cases) <= summarised_cases(summary, dataset.file_ending):
        return True
    made = summary.stat().st_mtime
    validations = [validation_summary(run.folder(dataset.folders)) for run in runs]
    return any(path.stat().st_mtime > made for path in validations)
