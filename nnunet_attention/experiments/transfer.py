"""Asks whether gates carry over from one data set to another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nnunet_attention.crossval import CrossvalPlan
from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.paper_table import Layout
from nnunet_attention.experiments.predicting import ONLY_FOLD, Prediction
from nnunet_attention.experiments.stages import (
    TRANSFER,
    Action,
    Arm,
    Elsewhere,
    Experiment,
    Trainings,
    method_titles,
    repeats_of,
    single_stage_configuration_of,
)
from nnunet_attention.experiments.target_plans import (
    CopiedPlans,
    MovedPlans,
    moved_name,
    tuned_name,
)
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.dataset_json import channel_names, read_dataset_json
from nnunet_attention.nnunet.dataset_names import short_dataset_name
from nnunet_attention.nnunet.fold_state import repeat_in_words
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.model_folders import ALL

_BEFORE, _AFTER, _SCRATCH = "before", "after", "scratch"
_SETTINGS = {
    _BEFORE: "before fine-tuning",
    _AFTER: "after fine-tuning",
    _SCRATCH: "from scratch",
}


def transfer(plan: CrossvalPlan, folders: Folders, root: Path) -> Experiment:
    """Lay out tests on a data set before and after fine-tuning, and trained from scratch.

    The first data set is trained on as a whole, with the second's plans; the second is
    cross-validated.

    Args:
        plan: As for `capacity`, with two data sets of the same labels.
        folders: nnU-Net's folders.
        root: The experiment's folder; it gets the predictions before fine-tuning.

    Returns:
        The experiment.

    Raises:
        CommandError: If there are not two data sets, or one network cannot serve both.
    """
    if len(plan.datasets) != 2:
        raise CommandError(
            f"-d {' '.join(plan.datasets)}: transfer needs two data sets, first the source and "
            "then the target"
        )
    if plan.folds == (ALL,):
        raise CommandError("-f all leaves no cases to test on; give fold numbers")
    source, target = plan.datasets
    configuration = single_stage_configuration_of(plan)
    check_alike(folders, source, target)
    methods = method_titles(plan.models)
    to_target = replace(plan, datasets=(target,))
    stages: list[Trainings | Action] = [Trainings("prepare", replace(to_target, folds=()))]
    for plans in dict.fromkeys(plans for _, plans in plan.models):
        stages += [
            MovedPlans(folders, source, target, plans, configuration),
            CopiedPlans(folders, source, target, plans, configuration),
        ]
    moved = tuple((trainer, moved_name(plans, target)) for trainer, plans in plan.models)
    whole_source = replace(plan, datasets=(source,), folds=(ALL,), models=moved)
    stages.append(Trainings(f"pretrain {short_dataset_name(source)}", whole_source))
    before, after, scratch = [], [], []
    for model, method in methods.items():
        trainer, plans = model
        tuned = (trainer, tuned_name(plans, source))
        for repeat in repeats_of(plan):
            prediction = Prediction(
                folders, source, target, model, method, configuration, plan.folds, root / _BEFORE,
                plan.device, plan.processes, repeat,
            )  # fmt: skip
            # Each repeat has its own pre-training: with a shared one, trainings would differ less.
            weights = weights_of(folders.of_repeat(repeat), source, target, model, configuration)
            tuning = replace(
                to_target.of_repeat(repeat), models=(tuned,), pretrained_weights=weights
            )
            name = f"fine-tune {method}{repeat_in_words(repeat)}"
            stages += [prediction, Trainings(name, tuning, repeat)]
            elsewhere = Elsewhere(prediction.named_results, source, moved_name(plans, target))
            before.append(
                Arm(_BEFORE, method, target, trainer, plans, (ONLY_FOLD,), elsewhere, repeat)
            )
            after.append(Arm(_AFTER, method, target, *tuned, plan.folds, None, repeat, True))
            scratch.append(Arm(_SCRATCH, method, target, *model, plan.folds, None, repeat))
    stages.append(Trainings("scratch", to_target))

    def layout() -> Layout:
        title = f"Transfer from {short_dataset_name(source)} to {short_dataset_name(target)}"
        return Layout(title, _SETTINGS, next(iter(methods.values())))

    arms = (*before, *after, *scratch)
    return Experiment(TRANSFER, configuration, tuple(stages), arms, layout, plan.groups)


def check_alike(folders: Folders, source: str, target: str) -> None:
    """Refuse two data sets that one network cannot serve.

    Raises:
        CommandError: If one network cannot serve both, with all that differs.
    """
    first, second = (_description(folders, dataset) for dataset in (source, target))
    differences = []
    if first.get("labels") != second.get("labels"):
        differences.append(f"labels are {first.get('labels')} and {second.get('labels')}")
    channels = [len(channel_names(described)) for described in (first, second)]
    if channels[0] != channels[1]:
        differences.append(f"there are {channels[0]} and {channels[1]} channels")
    endings = [described.get("file_ending") for described in (first, second)]
    if endings[0] != endings[1]:
        differences.append(f"files end in {endings[0]} and {endings[1]}")
    if differences:
        raise CommandError(
            f"{source} and {target} differ: {'; '.join(differences)}. Transfer needs the same "
            "labels, channels and file ending; convert one of them"
        )


def weights_of(
    folders: Folders, source: str, target: str, model: tuple[str, str], configuration: str
) -> Path:
    """Return the checkpoint that the source's training ends with.

    Args:
        folders: nnU-Net's folders.
        source: Full name of the data set.
        target: Full name of the data set whose plans it was trained with.
        model: Trainer and plans.
        configuration: The configuration that was trained.
    """
    trainer, plans = model
    return folders.fold(source, trainer, moved_name(plans, target), configuration, ALL) / FINAL


def _description(folders: Folders, dataset: str) -> dict:
    path = folders.raw_dataset_json(dataset)
    if not path.is_file():
        path = folders.dataset_json(dataset)
    return read_dataset_json(path, channels=True)
