"""Describes a cross-validation to the code that runs its steps."""

from __future__ import annotations

from nnunet_attention.crossval.dataset import Dataset
from nnunet_attention.crossval.groups import notes
from nnunet_attention.crossval.missing import all_runs, missing_steps
from nnunet_attention.crossval.plan import CrossvalPlan, seed_of_repeat
from nnunet_attention.crossval.steps import FoldStep
from nnunet_attention.crossval.steps.base import dataset_lock
from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.lock import Lock
from nnunet_attention.jobs.step import Step
from nnunet_attention.jobs.work import Work
from nnunet_attention.nnunet.fold_state import FoldState
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.plans import differences


class CrossvalWork(Work):
    """Presents a plan in nnU-Net's folders as work to be done."""

    made_by = "nnunet-attention crossval"
    packages = (
        "nnunetv2",
        "torch",
        "dynamic-network-architectures",
        "batchgenerators",
        "batchgeneratorsv2",
        "numpy",
        "submitit",
    )
    variables = ("nnUNet_", "NNUNET_")
    counted = "folds"
    columns = ("data set", "model", "fold")
    number_columns = ("epoch", "pseudo Dice", "s/epoch", "left")

    def __init__(self, plan: CrossvalPlan, folders: Folders):
        self._plan, self._folders = plan, folders

    @property
    def seeds(self) -> dict[str, str]:
        """Return the seed of nnU-Net's split, which seeds nothing else, and those of trainings."""
        seeds = {
            "splits_final.json": "12345, where nnU-Net's own split is used",
            "training": "not seeded by nnU-Net",
        }
        repeats = range(1, self._plan.repeats + 1)
        ours = {repeat: seed_of_repeat(self._plan, repeat) for repeat in repeats}
        several = self._plan.repeats > 1
        named = [
            f"{seed} in repeat {repeat}" if several else str(seed)
            for repeat, seed in ours.items()
            if seed is not None
        ]
        if named:
            seeds["training by this package's trainers"] = ", ".join(named)
        return seeds

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the data sets."""
        return self._plan.datasets

    def missing_steps(self, groups: tuple[str, ...] | None = None) -> list[Step]:
        """List what is missing; see `crossval.missing_steps`."""
        return list(missing_steps(self._plan, self._folders, groups))

    def device_steps(self) -> list[Step]:
        """List every fold, finished or not; their states are not looked up."""
        return [
            FoldStep(self._folders.of_repeat(run.repeat), run.dataset, (), run, FoldState.ABSENT)
            for run in all_runs(self._plan, self._folders)
        ]

    def notes(self) -> list[str]:
        """Return notes on groups of cases; see `crossval.groups.notes`."""
        return notes(self._plan, self._folders)

    def reading_locks(self) -> list[Lock]:
        """Return the locks on the prepared data sets."""
        return [dataset_lock(dataset, self._folders) for dataset in self._plan.datasets]

    def depends_on(self) -> dict[str, dict]:
        """Return by data set what the models depend on: plans and configurations, and splits."""
        return {
            name: Dataset(self._plan, self._folders, name).depends_on()
            for name in self._plan.datasets
        }

    def check_unchanged(self, before: dict[str, dict]) -> None:
        """Refuse plans or splits that are not those that folds were begun with.

        Raises:
            CommandError: if there are any, with the differences.
        """
        now = self.depends_on()
        for dataset in before.keys() & now.keys():
            both = before[dataset].keys() & now[dataset].keys()
            changed = [
                f"{name}: {difference}"
                for name in sorted(both)
                for difference in differences(before[dataset][name], now[dataset][name])
            ]
            if changed:
                raise CommandError(
                    f"plans or splits of {dataset} have changed since its folds were started: "
                    f"{'; '.join(changed)}. Put the old ones back, or start again with other plans "
                    "names and another folder (-o)"
                )
