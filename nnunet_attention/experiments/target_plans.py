"""Gives transfer's target plans to the source, and to the target under another name.

One network serves both data sets, so the source is trained with the target's plans.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.stages import Action
from nnunet_attention.files import NNUNET_LAYOUT, read_json, write_json
from nnunet_attention.jobs.local import command_environment
from nnunet_attention.jobs.process import run_command
from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.plans import differences, relevant


def moved_name(plans: str, target: str) -> str:
    """Return the name of the target's plans where the source is trained with them."""
    return f"{plans}For{number_of_dataset(target)}"


def tuned_name(plans: str, source: str) -> str:
    """Return the target's plans' name for trainings that start from the source's weights."""
    return f"{plans}From{number_of_dataset(source)}"


@dataclass(frozen=True)
class _TargetPlans(Action):
    """A stage that writes the target's plans anew.

    Attributes:
        folders: nnU-Net's folders.
        source: Full name of the data set that training begins with.
        target: Full name of the data set that is tested on.
        plans: Name of the target's plans.
        configuration: The configuration that will be trained.
    """

    folders: Folders
    source: str
    target: str
    plans: str
    configuration: str


@dataclass(frozen=True)
class MovedPlans(_TargetPlans):
    """The stage in which nnU-Net's tool gives the target's plans to the source."""

    @property
    def name(self) -> str:
        return f"move {self.plans}"

    @property
    def command(self) -> list[str]:
        """nnU-Net's command."""
        return [
            *("nnUNetv2_move_plans_between_datasets", "-s", self.target, "-t", self.source),
            *("-sp", self.plans, "-tp", moved_name(self.plans, self.target)),
        ]

    @property
    def description(self) -> str:
        return " ".join(self.command)

    def is_done(self) -> bool:
        """Tell whether the source has the target's plans.

        Raises:
            CommandError: If it has them as they were before a change.
        """
        moved = self.folders.plans(self.source, moved_name(self.plans, self.target))
        original = self.folders.plans(self.target, self.plans)
        return _is_copy(original, moved, self.target, self.configuration)

    def do(self, log: Path) -> None:
        # The tool writes into the source's folder, which only planning would make.
        self.folders.dataset(self.source).mkdir(parents=True, exist_ok=True)
        run_command(self.command, command_environment(), log)


@dataclass(frozen=True)
class CopiedPlans(_TargetPlans):
    """The stage that gives the target its own plans under another name.

    nnU-Net names a model's folder by trainer and plans, so without it a fine-tuned model and one
    trained from scratch would share a folder. The preprocessed data are shared.
    """

    @property
    def name(self) -> str:
        return f"copy {self.plans}"

    @property
    def description(self) -> str:
        return f"copy {self.plans} of {self.target} to {tuned_name(self.plans, self.source)}"

    @property
    def _original(self) -> Path:
        return self.folders.plans(self.target, self.plans)

    @property
    def _copy(self) -> Path:
        return self.folders.plans(self.target, tuned_name(self.plans, self.source))

    def is_done(self) -> bool:
        """Tell whether the target has the plans for trainings from the source's weights.

        Raises:
            CommandError: If it has them as they were before a change.
        """
        return _is_copy(self._original, self._copy, self.target, self.configuration)

    def do(self, log: Path) -> None:
        content = read_json(self._original)
        content = {**content, "plans_name": tuned_name(self.plans, self.source)}
        write_json(self._copy, content, **NNUNET_LAYOUT)


def _is_copy(original: Path, copy: Path, dataset: str, configuration: str) -> bool:
    """Tell whether plans are those of a data set under another name, or for another data set.

    Raises:
        CommandError: If they are as the original was before a change.
    """
    try:
        before = relevant(read_json(copy), configuration)
    except (CommandError, KeyError):
        return False  # Absent, or half written by a kill.
    now = relevant(read_json(original), configuration)
    # The tool chooses what suits the other data set's files and keeps its data apart.
    for content in (before, now):
        content.pop("image_reader_writer", None)
        content.pop("data_identifier", None)
    changed = differences(before, now)
    if changed:
        raise CommandError(
            f"the plans {original.stem} of {dataset} have changed since {copy} was made from them: "
            f"{'; '.join(changed)}. Put the old ones back, or move that file and its models away"
        )
    return True
