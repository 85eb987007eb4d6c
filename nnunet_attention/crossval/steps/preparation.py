"""Steps that prepare a data set. They write into one folder, so they run one by one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from nnunet_attention.crossval.dataset import cases_with_data
from nnunet_attention.crossval.steps.base import CrossvalStep, set_damaged_aside
from nnunet_attention.files import written_beside
from nnunet_attention.jobs.step import Note
from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.grouped_splits import write_grouped_splits
from nnunet_attention.nnunet.planners import source_of_converted
from nnunet_attention.nnunet.splits import write_splits


@dataclass(frozen=True)
class FingerprintStep(CrossvalStep):
    """Extracts the fingerprint, and checks the data set.

    Attributes:
        processes: how many.
        clean: whether a kill has left a half-written one, which is replaced.
    """

    processes: int
    clean: bool
    kind: ClassVar[str] = "fingerprint"

    @property
    def name(self) -> str:
        """Return the step's name."""
        return f"{self.dataset} fingerprint"

    @property
    def needs_images(self) -> bool:
        """Return True."""
        return True

    @property
    def command(self) -> tuple[str, ...]:
        """Return nnU-Net's command."""
        clean = ("--clean",) if self.clean else ()
        return (
            *("nnUNetv2_extract_fingerprint", "-d", _number(self.dataset)),
            *("-np", str(self.processes), "--verify_dataset_integrity", *clean),
        )


@dataclass(frozen=True)
class PlansStep(CrossvalStep):
    """Makes plans.

    Attributes:
        plans: their name.
        planning: the command that makes them.
    """

    plans: str
    planning: tuple[str, ...]
    kind: ClassVar[str] = "plans"

    @property
    def name(self) -> str:
        """Return the step's name."""
        return f"{self.dataset} plans {self.plans}"

    @property
    def needs_images(self) -> bool:
        """Tell whether they are planned anew: planning looks at an image, conversion does not."""
        return source_of_converted(self.plans) is None

    @property
    def command(self) -> tuple[str, ...]:
        """Return the planner's command."""
        return self.planning

    @property
    def plans_file(self) -> Path:
        """Return the file that it writes."""
        return self.folders.plans(self.dataset, self.plans)

    @property
    def remark(self) -> str:
        """Tell that plans are there, but damaged."""
        return f"made again: {self.plans_file} is damaged" if self.plans_file.exists() else ""

    def cleared(self, note: Note) -> PlansStep:
        """Set half written plans aside: nnU-Net reads an existing file first."""
        if self.plans_file.exists():
            set_damaged_aside([self.plans_file], note)
        return self


@dataclass(frozen=True)
class DescriptionStep(CrossvalStep):
    """Copies dataset.json, as planning does, where plans are there without it."""

    kind: ClassVar[str] = "description"

    @property
    def name(self) -> str:
        """Return the step's name."""
        return f"{self.dataset} dataset.json"

    @property
    def command(self) -> tuple[str, ...]:
        """Return no command."""
        return ()

    def do(self) -> None:
        """Copy the file."""
        target = self.folders.dataset_json(self.dataset)
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(target) as beside:
            shutil.copyfile(self.folders.raw_dataset_json(self.dataset), beside)


@dataclass(frozen=True)
class PreprocessingStep(CrossvalStep):
    """Preprocesses the cases for a configuration.

    Attributes:
        plans: name of the plans.
        configuration: of the plans.
        processes: how many.
        data: the name of the data's folder; None before planning.
    """

    plans: str
    configuration: str
    processes: int
    data: str | None
    kind: ClassVar[str] = "preprocessing"

    @staticmethod
    def name_of(dataset: str, plans: str, configuration: str) -> str:
        """Return the name of such a step."""
        return f"{dataset} preprocessing {plans} {configuration}"

    @property
    def name(self) -> str:
        """Return the step's name."""
        return self.name_of(self.dataset, self.plans, self.configuration)

    @property
    def needs_images(self) -> bool:
        """Tell whether it surely does: plans still to be made may share data that are there."""
        return self.data is not None

    @property
    def command(self) -> tuple[str, ...]:
        """Return nnU-Net's command."""
        return (
            *("nnUNetv2_preprocess", "-d", _number(self.dataset), "-plans_name", self.plans),
            *("-c", self.configuration, "-np", str(self.processes)),
        )

    def before_start(self) -> None:
        """Mark the data as unfinished: all files may be there, but some half written."""
        if self.data is not None:
            self.folders.unfinished_data(self.dataset, self.data).touch()

    def after(self) -> None:
        """Mark the data as finished."""
        if self.data is not None:
            self.folders.unfinished_data(self.dataset, self.data).unlink(missing_ok=True)


@dataclass(frozen=True)
class SplitsStep(CrossvalStep):
    """Divides the cases into folds, as nnU-Net's first training would.

    Attributes:
        groups: by case; those of one group stay together. None where each case is by itself.
    """

    groups: Mapping[str, str] | None = field(default=None, hash=False)
    kind: ClassVar[str] = "splits"

    @property
    def name(self) -> str:
        """Return the step's name."""
        return f"{self.dataset} splits"

    @property
    def command(self) -> tuple[str, ...]:
        """Return no command."""
        return ()

    @property
    def remark(self) -> str:
        """Tell how many groups are kept together."""
        if self.groups is None:
            return ""
        return f"{len(set(self.groups.values()))} groups of {len(self.groups)} cases"

    def do(self) -> None:
        """Write the file; nnU-Net splits the preprocessed cases."""
        cases = cases_with_data(self.folders, self.dataset)
        path = self.folders.splits(self.dataset)
        if self.groups is None:
            write_splits(path, cases)
        else:
            write_grouped_splits(path, cases, self.groups)


def _number(dataset: str) -> str:
    return str(int(number_of_dataset(dataset)))
