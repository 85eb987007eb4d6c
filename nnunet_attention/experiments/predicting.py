"""Predicts the target's cases with the source's network, before any fine-tuning."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.crossval import command_text
from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.stages import Action
from nnunet_attention.experiments.target_plans import moved_name
from nnunet_attention.files import link, remove
from nnunet_attention.jobs.local import command_environment
from nnunet_attention.jobs.process import run_command
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, read_dataset_json
from nnunet_attention.nnunet.fold_state import repeat_in_words
from nnunet_attention.nnunet.folders import Folders, folder_of_repeat
from nnunet_attention.nnunet.model_folders import (
    ALL,
    SUMMARY,
    fold_folder,
    model_title,
    validation_folder,
)
from nnunet_attention.nnunet.splits import default_folds, read_splits
from nnunet_attention.nnunet.summary_json import summarised_cases

# One set of named results holds all cases: which fold validated a case does not matter.
ONLY_FOLD = "0"
# The default of nnUNetv2_predict, before and after the network.
_MOST_WORKERS = 3


@dataclass(frozen=True)
class Prediction(Action):
    """The stage in which the source's network predicts the cases that the target's folds validate.

    Attributes:
        folders: nnU-Net's folders.
        source: Full name of the data set that the network was trained on.
        target: Full name of the data set that is tested on.
        model: Trainer, and plans of the target.
        method: Title of the model.
        configuration: The configuration that was trained.
        folds: Folds of the target that are tested; None: all.
        root: Folder for the predictions of all models.
        device: The device, cpu, cuda or mps.
        processes: How many processes work at a time.
        repeat: Training of the model, counted from 1.
    """

    folders: Folders
    source: str
    target: str
    model: tuple[str, str]
    method: str
    configuration: str
    folds: tuple[str, ...] | None
    root: Path
    device: str
    processes: int
    repeat: int = 1

    @property
    def name(self) -> str:
        return f"predict {self.method}{repeat_in_words(self.repeat)}"

    @property
    def description(self) -> str:
        images = self.folders.raw_dataset(self.target) / "imagesTr"
        return command_text(self.command(images, self.folder), self._place, self.folders)

    @property
    def _place(self) -> Folders:
        """The folders that have the trained model."""
        return self.folders.of_repeat(self.repeat)

    @property
    def named_results(self) -> Path:
        """The folder of the model's predictions, in the form of named results."""
        return folder_of_repeat(self.root, self.repeat) / model_title(*self.model)

    @property
    def folder(self) -> Path:
        """The validation folder in `named_results`."""
        folds = self.named_results / self.target / self.configuration
        return validation_folder(fold_folder(folds, ONLY_FOLD))

    def command(self, images: Path, output: Path) -> list[str]:
        """Return nnU-Net's command.

        Args:
            images: Folder of the target's images.
            output: Folder for the predictions.
        """
        trainer, plans = self.model
        workers = str(min(self.processes, _MOST_WORKERS))
        return [
            *("nnUNetv2_predict", "-i", str(images), "-o", str(output), "-d", self.source),
            *("-tr", trainer, "-p", moved_name(plans, self.target), "-c", self.configuration),
            *("-f", ALL, "-npp", workers, "-nps", workers, "-device", self.device),
            "--disable_progress_bar",
        ]

    def is_done(self) -> bool:
        """Tell whether all cases are predicted, and no others.

        Raises:
            CommandError: If the target has no splits yet, or fewer.
        """
        ending = read_dataset_json(self.folders.dataset_json(self.target))["file_ending"]
        cases = validation_cases_of(self.folders, self.target, self.folds)
        return is_predicted(self.folder, cases, ending)

    def do(self, log: Path) -> None:
        """Predict and evaluate; the folder appears once it is complete.

        Raises:
            CommandError: If a command fails, or an image is missing.
        """
        from nnunet_attention.evaluation import LabelScheme

        scheme = LabelScheme.from_file(self.folders.dataset_json(self.target))
        cases = validation_cases_of(self.folders, self.target, self.folds)
        files = images_of(self.folders.raw_dataset(self.target), cases)
        beside = self.folder.with_name(f".{self.folder.name}.part")
        images, predictions = beside / "images", beside / "predictions"
        try:
            remove(beside)
            images.mkdir(parents=True)
            for case in cases:
                for channel, path in enumerate(files[case]):
                    name = f"{case}_{channel:04d}{scheme.file_ending}"
                    link(images / name, path.absolute())
            environment = command_environment() | self._place.variables
            run_command(self.command(images, predictions), environment, log)
            self._evaluate(predictions)
            if not is_predicted(predictions, cases, scheme.file_ending):
                raise CommandError(
                    f"not all cases were predicted; the command's output is in {log}"
                )
            remove(self.folder)
            os.replace(predictions, self.folder)
        except OSError as error:
            raise CommandError(f"{self.folder} cannot be written: {error}") from error
        finally:
            remove(beside)

    def _evaluate(self, predictions: Path) -> None:
        from nnunet_attention.evaluation import LabelScheme, evaluate_folder, tolerances_mm
        from nnunet_attention.evaluation.metrics.evaluate import DEFAULT_TOLERANCE_MM

        scheme = LabelScheme.from_file(self.folders.dataset_json(self.target))
        evaluate_folder(
            self.folders.references(self.target),
            predictions,
            predictions / SUMMARY,
            scheme,
            tolerances_mm(scheme, DEFAULT_TOLERANCE_MM, {}),
            self.processes,
            chill=True,
        )


def validation_cases_of(folders: Folders, dataset: str, folds: Sequence[str] | None) -> list[str]:
    """Return all cases that folds of a data set validate, sorted.

    Args:
        folders: nnU-Net's folders.
        dataset: Full name of the data set.
        folds: Numbers of the folds; None: all.

    Raises:
        CommandError: If there are no splits yet, or fewer.
    """
    splits = read_splits(folders.splits(dataset))
    if folds is None:
        folds = default_folds(splits)
    if splits is None or max(map(int, folds)) >= len(splits):
        raise CommandError(
            f"-f {' '.join(folds)}: {folders.splits(dataset)} has {len(splits or ())} folds; "
            "choose from these"
        )
    return sorted({case for fold in folds for case in splits[int(fold)]["val"]})


def is_predicted(folder: Path, cases: Sequence[str], file_ending: str) -> bool:
    """Tell whether a folder has a summary of all these cases, and of no others."""
    return summarised_cases(folder / SUMMARY, file_ending) == set(cases)


def images_of(raw: Path, cases: Sequence[str]) -> dict[str, list[Path]]:
    """Find the images of each case, one for each channel.

    Args:
        raw: Folder of the data set in nnUNet_raw.
        cases: Names of the cases.

    Raises:
        CommandError: If a case has none.
    """
    described = read_dataset_json(raw / DATASET_JSON)
    if "dataset" in described:
        from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

        listed = get_filenames_of_train_images_and_targets(str(raw), described)
        files = {
            case: [Path(path) for path in listed.get(case, {"images": []})["images"]]
            for case in cases
        }
    else:
        files = _images_in(raw, cases, described["file_ending"])
    absent = [case for case, images in files.items() if not images]
    if absent:
        raise CommandError(
            f"{raw} lacks {len(absent)} of the validation cases, such as {absent[0]}; put their "
            "images back"
        )
    return files


def _images_in(raw: Path, cases: Sequence[str], ending: str) -> dict[str, list[Path]]:
    # nnU-Net's function forks processes for this, and hangs beside other libraries' threads.
    files: dict[str, list[Path]] = {case: [] for case in cases}
    for path in sorted((raw / "imagesTr").glob(f"*_[0-9][0-9][0-9][0-9]{glob.escape(ending)}")):
        case = path.name.removesuffix(ending)[:-5]
        if case in files:
            files[case].append(path)
    return files
