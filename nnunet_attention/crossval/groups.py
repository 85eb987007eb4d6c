"""Finds out which cases of a plan's data sets belong together, such as the images of a patient."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from nnunet_attention.crossval.dataset import Dataset
from nnunet_attention.crossval.plan import CrossvalPlan
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.model_folders import ALL


def with_groups(
    plan: CrossvalPlan,
    folders: Folders,
    reader: Callable[[Mapping[str, Collection[str]]], Mapping[str, Mapping[str, str]]],
    datasets: Sequence[str] | None = None,
) -> CrossvalPlan:
    """Return the plan with the groups of its data sets' cases.

    Args:
        plan: without groups.
        folders: nnU-Net's.
        reader: given the cases of each data set, returns the group of each by data set and case,
            such as `functools.partial(groups_by_pattern_and_dataset, pattern)`.
        datasets: those that are divided into folds; None: all of the plan.

    Raises:
        CommandError: if a data set or its cases are not there, or the groups cannot be read.
    """
    divided = plan.datasets if datasets is None else datasets
    cases = {name: _cases_of(Dataset(plan, folders, name)) for name in divided}
    return replace(plan, groups=reader(cases))


def notes(plan: CrossvalPlan, folders: Folders) -> list[str]:
    """Say which groups kept splits tear apart, or that names look grouped but no groups are given.

    The names are looked at only where the splits are still to be made.
    """
    datasets = (Dataset(plan, folders, name) for name in plan.datasets)
    return [note for dataset in datasets for note in _notes_on(dataset)]


def _notes_on(dataset: Dataset) -> list[str]:
    if dataset.groups is not None:
        return [f"{fault}; kept as it is"] if (fault := dataset.torn_groups_in_words()) else []
    if dataset.splits is not None or dataset.wanted_folds == (ALL,) or dataset.cases is None:
        return []
    # This imports pandas and scipy, which nothing else here needs.
    from nnunet_attention.evaluation.statistics.groups import looks_grouped

    likely = looks_grouped(dataset.cases)
    if likely is None:
        return []
    return [
        f"{dataset.name}: case names look grouped: {likely.cases} cases have {likely.groups} stems "
        f"(such as {likely.stem} of {likely.examples[0]} and {likely.examples[1]}), but cases are "
        "split one by one; if a stem is a patient, whose images must not be in both train and val, "
        f"give --groups FILE.csv or --group-by '{likely.pattern}'"
    ]


def _cases_of(dataset: Dataset) -> tuple[str, ...]:
    _ = dataset.description
    if dataset.cases is None:
        raise CommandError(
            f"-d {dataset.name}: its cases are unknown, as there is neither "
            f"{dataset.folders.raw_dataset(dataset.name)} nor preprocessed data; check nnUNet_raw"
        )
    return dataset.cases
