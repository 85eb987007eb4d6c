"""Medical Segmentation Decathlon task folders: checks one and sets some of its cases aside."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_attention.demo.settings import DEFAULT_CASES, FEWEST_CASES_FOR_FOLDS
from nnunet_attention.errors import CommandError
from nnunet_attention.files import parse_json, write_json
from nnunet_attention.nnunet.dataset_names import full_dataset_name

_MOST_HELD_OUT = 10
_ENDING = ".nii.gz"


@dataclass(frozen=True)
class MsdTask:
    """A task folder whose dataset.json and files have been checked.

    Attributes:
        folder: with dataset.json, imagesTr and labelsTr.
        number: 4 of Task04_Hippocampus.
        name: Hippocampus of Task04_Hippocampus, letters and digits only.
        description: the content of dataset.json.
        cases: names of the labelled cases, sorted, without the file ending.
    """

    folder: Path
    number: int
    name: str
    description: dict
    cases: tuple[str, ...]

    @property
    def organs(self) -> dict[int, str]:
        """Foreground names by label, ascending."""
        labels = {int(label): name for label, name in self.description["labels"].items()}
        return {label: labels[label] for label in sorted(labels) if label != 0}

    @property
    def is_ct(self) -> bool:
        """Whether the first channel holds Hounsfield units."""
        return self.description["modality"]["0"].lower() == "ct"

    @property
    def dataset_name(self) -> str:
        """As nnU-Net's conversion names it, such as Dataset004_Hippocampus."""
        return full_dataset_name(self.number, self.name)

    @property
    def folder_name(self) -> str:
        """In the form that nnU-Net's conversion can read: one underscore only."""
        return f"Task{self.number:02d}_{self.name}"

    def image(self, case: str) -> Path:
        return self.folder / "imagesTr" / (case + _ENDING)

    def label(self, case: str) -> Path:
        return self.folder / "labelsTr" / (case + _ENDING)


@dataclass(frozen=True)
class Division:
    """Which cases train and which are held out for testing; both sorted."""

    training: tuple[str, ...]
    held_out: tuple[str, ...]


def read_msd_task(folder: Path) -> MsdTask:
    """Reads and checks a task folder as the Decathlon distributes them.

    Raises:
        CommandError: if the folder, its name, its dataset.json or one of its files is not so.
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
    description = _read_description(folder / "dataset.json")
    cases = []
    for file_name in _image_names(folder, description):
        if not file_name.endswith(_ENDING):
            raise CommandError(f"{folder}: {file_name} is not a {_ENDING} file")
        case = file_name[: -len(_ENDING)]
        for path in (folder / "imagesTr" / file_name, folder / "labelsTr" / file_name):
            if not path.is_file():
                raise CommandError(
                    f"{folder}: {path.parent.name}/{path.name} is missing although "
                    "dataset.json lists it; unpack the task anew"
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
        raise CommandError(f"{path} is not a dataset.json of the MSD kind")
    missing = [key for key in ("labels", "modality", "training") if key not in description]
    if missing:
        raise CommandError(
            f"{path} lacks {', '.join(missing)}: it is not a dataset.json of the MSD kind"
            + ("; it looks like nnU-Net's own" if "channel_names" in description else "")
        )
    return description


def divide(
    available: tuple[str, ...], cases: int | None, folds: tuple[str, ...], seed: int
) -> Division:
    """Draws the cases to use and holds a fifth of them out, at least 1 and at most 10.

    Args:
        available: names of the labelled cases.
        cases: how many to use; None: 20, or all where there are fewer.
        folds: the folds to train, see `DemoSettings`.
        seed: of the draw.

    Raises:
        CommandError: if there are too few cases.
    """
    if cases is None:
        cases = min(DEFAULT_CASES, len(available))
    if cases > len(available):
        raise CommandError(f"--cases {cases}: the data set has {len(available)} labelled cases")
    held_out = min(_MOST_HELD_OUT, max(1, round(cases / 5)))
    fewest = 1 if folds == ("all",) else FEWEST_CASES_FOR_FOLDS
    if cases - held_out < fewest:
        raise CommandError(
            f"{cases} cases leave {cases - held_out} for training beside {held_out} held out, and "
            f"--folds {' '.join(folds)} needs {fewest}; use at least {fewest + 1} cases"
            + ("" if folds == ("all",) else " or --folds all")
        )
    drawn = np.random.default_rng(seed).permutation(sorted(available))[:cases].tolist()
    return Division(tuple(sorted(drawn[held_out:])), tuple(sorted(drawn[:held_out])))


def lay_out(task: MsdTask, division: Division, folder: Path) -> Path:
    """Copies the chosen cases to a task folder of their own, ready for nnU-Net's conversion.

    Args:
        task: where the cases come from; only read.
        division: held-out images go to imagesTs, and their labels to labelsTs.
        folder: the task folder is made in it.

    Returns:
        The task folder.
    """
    target = folder / task.folder_name
    for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (target / name).mkdir(parents=True)
    for cases, ending in ((division.training, "Tr"), (division.held_out, "Ts")):
        for case in cases:
            # copyfile leaves permissions behind: a read-only source gives a removable copy.
            shutil.copyfile(task.image(case), target / f"images{ending}" / (case + _ENDING))
            shutil.copyfile(task.label(case), target / f"labels{ending}" / (case + _ENDING))
    write_json(
        target / "dataset.json",
        {
            **task.description,
            "numTraining": len(division.training),
            "numTest": len(division.held_out),
            "training": [
                {"image": f"./imagesTr/{case}{_ENDING}", "label": f"./labelsTr/{case}{_ENDING}"}
                for case in division.training
            ],
            "test": [f"./imagesTs/{case}{_ENDING}" for case in division.held_out],
        },
    )
    return target
