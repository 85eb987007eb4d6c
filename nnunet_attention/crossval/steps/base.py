"""Defines what all steps of a cross-validation share: a data set, and nnU-Net's folders."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.jobs.lock import Lock
from nnunet_attention.jobs.step import Note, Step
from nnunet_attention.nnunet.checkpoints import set_aside
from nnunet_attention.nnunet.dataset_names import dataset_in_words
from nnunet_attention.nnunet.environment import RESULTS
from nnunet_attention.nnunet.folders import Folders


@dataclass(frozen=True)
class CrossvalStep(Step):
    """Something that a cross-validation still lacks.

    Attributes:
        folders: nnU-Net's.
        dataset: full name.
        needs: names of the missing steps that come first.
    """

    folders: Folders
    dataset: str
    needs: tuple[str, ...]

    @property
    def group(self) -> str:
        """Return the data set."""
        return self.dataset

    def lock(self) -> Lock:
        """Return the lock on the prepared data set."""
        return dataset_lock(self.dataset, self.folders)

    def place(self) -> Path:
        """Return the folder of the prepared data set."""
        return self.folders.dataset(self.dataset)

    @property
    def needs_images(self) -> bool:
        """Tell whether it reads the raw images."""
        return False

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """Return the prepared data set's folder, or nnUNet_preprocessed before there is one."""
        return (existing(self.folders.dataset(self.dataset)),)

    def environment(self) -> dict[str, str]:
        """Return the variables that name nnU-Net's folders, whatever this process's own say."""
        return self.folders.variables

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the data set, the action, and an empty cell for the fold."""
        return (self.dataset_in_words, self.name.removeprefix(self.dataset).strip(), "")

    @property
    def dataset_in_words(self) -> str:
        """Return the data set's name in a form that can wrap in a narrow terminal."""
        return dataset_in_words(self.dataset)


def existing(folder: Path) -> Path:
    """Return a data set's folder, or the one in which it is still to be made."""
    return folder if folder.is_dir() else folder.parent


def dataset_lock(dataset: str, folders: Folders) -> Lock:
    """Return the lock that is held while a data set is planned, preprocessed or split."""
    place = folders.dataset(dataset)
    return Lock(place / ".crossval.lock", str(place))


def set_damaged_aside(paths: Iterable[Path], note: Note) -> None:
    """Rename files that a kill has left half written, so that nnU-Net does not read them."""
    for path, target in set_aside(paths).items():
        note(
            f"{path} is damaged, probably half written when a process was killed; kept as "
            f"{target.name}"
        )


def command_text(command: Sequence[str], place: Folders, folders: Folders) -> str:
    """Return a command as it would be typed where nnU-Net's variables name certain folders.

    Args:
        command: the command and its arguments.
        place: the folders that it works in.
        folders: those that the variables name.
    """
    text = shlex.join(command)
    if place.results == folders.results:
        return text
    return f"{RESULTS}={shlex.quote(str(place.results))} {text}"
