"""Reads and checks task folders of the Decathlon, and copies some of their cases."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import parse_json, write_json
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.dataset_names import full_dataset_name

_ENDING = ".nii.gz"


@dataclass(frozen=True)
class MsdTask:
    """A task folder whose dataset.json and files have been checked.

    Attributes:
        folder: The folder with dataset.json, imagesTr and labelsTr.
        number: The task's number, 4 of Task04_Hippocampus.
        name: The task's name, Hippocampus of Task04_Hippocampus; letters and digits only.
        description: The content of dataset.json.
        cases: Names of the labelled cases, sorted, without the file ending.
    """

    folder: Path
    number: int
    name: str
    description: dict
    cases: tuple[str, ...]

    @property
    def organs(self) -> dict[int, str]:
        """The names of the foreground by label, in ascending order."""
        labels = {int(label): name for label, name in self.description["labels"].items()}
        return {label: labels[label] for label in sorted(labels) if label != 0}

    @property
    def is_ct(self) -> bool:
        """Whether the first channel holds Hounsfield units."""
        return self.description["modality"]["0"].lower() == "ct"

    @property
    def dataset_name(self) -> str:
        """The name that nnU-Net's conversion gives, such as Dataset004_Hippocampus."""
        return full_dataset_name(self.number, self.name)

    @property
    def folder_name(self) -> str:
        """The name in the form that nnU-Net's conversion reads: with one underscore only."""
        return f"Task{self.number:02d}_{self.name}"

    def image(self, case: str) -> Path:
        """Return the file of a training case's image."""
        return self.folder / "imagesTr" / (case + _ENDING)

    def label(self, case: str) -> Path:
        """Return the file of a training case's labels."""
        return self.label_file(self.folder / "labelsTr", case)

    def label_file(self, folder: Path, case: str) -> Path:
        """Return the file of a case's labels in a folder, such as one of predictions."""
        return folder / (case + _ENDING)


def is_task_folder(folder: Path) -> bool:
    """Tell whether a folder looks like a task folder; `read_msd_task` checks all of it."""
    return (folder / DATASET_JSON).is_file()


def read_msd_task(folder: Path) -> MsdTask:
    """Read and check a task folder as the Decathlon distributes them.

    Raises:
        CommandError: If the folder, its name, its dataset.json or one of its files is not so.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        raise CommandError(f"{folder} is not a folder; give an MSD task folder")
    match = re.fullmatch(r"Task(\d{1,3})_(\w+)", folder.name)
    if match is None:
        raise CommandError(
            f"{folder}: its name must be like Task04_Hippocampus; nnU-Net takes the data "
            "set's number and name from it"
        )
    description = _read_description(folder / DATASET_JSON)
    cases = []
    for file_name in _image_names(folder, description):
        if not file_name.endswith(_ENDING):
            raise CommandError(f"{folder}: {file_name} is not a {_ENDING} file")
        case = file_name[: -len(_ENDING)]
        for path in (folder / "imagesTr" / file_name, folder / "labelsTr" / file_name):
            if not path.is_file():
                raise CommandError(
                    f"{folder}: {path.parent.name}/{path.name} is missing although "
                    "dataset.json lists it; unpack the task again"
                )
        cases.append(case)
    return MsdTask(
        folder=folder,
        number=int(match[1]),
        name=match[2].replace("_", ""),
        description=description,
        cases=tuple(sorted(cases)),
    )


def _image_names(folder: Path, description: dict) -> list[str]:
    try:
        names = [Path(entry["image"]).name for entry in description["training"]]
    except (KeyError, TypeError) as error:
        raise CommandError(
            f"{folder}: dataset.json must list its training cases as pairs of image and "
            f"label, as MSD's do; got {str(description['training'])[:80]}"
        ) from error
    if not names:
        raise CommandError(f"{folder}: dataset.json lists no training cases")
    return names


def _read_description(path: Path) -> dict:
    try:
        description = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(
            f"{path.parent} has no readable dataset.json; give an MSD task folder such as "
            "Task04_Hippocampus"
        ) from error
    except ValueError as error:
        raise CommandError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(description, dict):
        raise CommandError(f"{path} is not an MSD dataset.json")
    missing = [key for key in ("labels", "modality", "training") if key not in description]
    if missing:
        raise CommandError(
            f"{path} lacks {', '.join(missing)}, so it is not an MSD dataset.json"
            + ("; it looks like nnU-Net's own" if "channel_names" in description else "")
        )
    return description


def copy_cases(task: MsdTask, cases: Iterable[str], folder: Path) -> Path:
    """Copy some cases of a task to a task folder of their own, ready for nnU-Net's conversion.

    Args:
        task: The task that has the cases; it is only read.
        cases: Names of the cases.
        folder: The folder in which the task folder is made.

    Returns:
        The new task folder.
    """
    target = folder / task.folder_name
    copied = sorted(cases)
    for name in ("imagesTr", "labelsTr"):
        (target / name).mkdir(parents=True)
    for case in copied:
        # copyfile does not copy permissions: a read-only source gives a removable copy.
        shutil.copyfile(task.image(case), target / "imagesTr" / (case + _ENDING))
        shutil.copyfile(task.label(case), target / "labelsTr" / (case + _ENDING))
    write_json(
        target / DATASET_JSON,
        {
            **task.description,
            "numTraining": len(copied),
            "numTest": 0,
            "training": [
                {"image": f"./imagesTr/{case}{_ENDING}", "label": f"./labelsTr/{case}{_ENDING}"}
                for case in copied
            ],
            "test": [],
        },
    )
    return target
