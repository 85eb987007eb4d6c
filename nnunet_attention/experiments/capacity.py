"""Asks whether gates do more than the same number of other parameters."""

from __future__ import annotations

from nnunet_attention.crossval import CrossvalPlan
from nnunet_attention.experiments.paper_table import Layout
from nnunet_attention.experiments.stages import (
    CAPACITY,
    Arm,
    Experiment,
    Trainings,
    configuration_of,
    method_titles,
    repeats_of,
)
from nnunet_attention.nnunet.dataset_names import short_dataset_name


def capacity(plan: CrossvalPlan) -> Experiment:
    """Lay out the experiment in which all trainers train on the same folds.

    Args:
        plan: Data sets, one configuration, models, folds, and how they are run.

    Returns:
        The experiment.

    Raises:
        CommandError: If there is not exactly one configuration.
    """
    methods = method_titles(plan.models)
    arms = tuple(
        Arm(dataset, method, dataset, *model, plan.folds, repeat=repeat)
        for dataset in plan.datasets
        for model, method in methods.items()
        for repeat in repeats_of(plan)
    )

    def layout() -> Layout:
        settings = {dataset: short_dataset_name(dataset) for dataset in plan.datasets}
        return Layout("Capacity", settings, next(iter(methods.values())))

    stages = (Trainings("trainings", plan),)
    return Experiment(CAPACITY, configuration_of(plan), stages, arms, layout, plan.groups)
