"""Reads nnU-Net's `summary.json` files into one long table."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.metrics.labels import label_names
from nnunet_attention.evaluation.metrics.overlap import (
    OverlapCounts,
    precision,
    recall,
    volume_difference,
)
from nnunet_attention.evaluation.metrics.table import as_table, concatenate
from nnunet_attention.nnunet.dataset_names import (
    folders_of_datasets,
    is_dataset_name,
    names_with_number,
)
from nnunet_attention.nnunet.known_splits import Splits, find_splits
from nnunet_attention.nnunet.model_folders import (
    ALL,
    ModelName,
    fold_folder,
    fold_folders,
    short_title,
    validation_summary,
)
from nnunet_attention.nnunet.summary_json import SUMMARY_REMEDY, read_summary_json

_COUNTS = ("TP", "FP", "FN", "TN", "n_pred", "n_ref")
_OF_NNUNET = ("Dice", "IoU", *_COUNTS)
_NAME_OF_KEY = {metric.key: metric.name for metric in METRICS.values()}
_DATA_VARIABLES = ("nnUNet_preprocessed", "nnUNet_raw")


class MissingFoldsError(CommandError):
    """Reports folds that have no summary.json.

    Attributes:
        missing: the absent files.
        frame: results of the other folds, for callers that allow incomplete results; may be empty.
    """

    def __init__(self, model: str, missing: Sequence[Path], frame: pd.DataFrame):
        self.missing = tuple(missing)
        self.frame = frame
        super().__init__(
            f"{model}: {len(missing)} fold(s) without results: {', '.join(map(str, missing))}; "
            "finish them, leave them out with -f, or give --allow-incomplete"
        )


def read_nnunet_results(
    results_dir: Path,
    dataset: str | int,
    trainer: str,
    plans: str,
    configuration: str,
    folds: Iterable[int | str],
    model_name: str | None = None,
    dataset_folders: Sequence[Path] | None = None,
) -> pd.DataFrame:
    """Read the results of a trained model from nnU-Net's nnUNet_results.

    Args:
        results_dir: nnU-Net's nnUNet_results.
        dataset: full name or number.
        trainer: class name, as given to -tr.
        plans: name, as given to -p.
        configuration: such as 3d_fullres.
        folds: their numbers, or "all".
        model_name: name in the table; None: see `short_title`.
        dataset_folders: see `label_names`; the model's own dataset.json comes first. The first
            DATASET/splits_final.json in them defines which cases a fold was trained on.

    Raises:
        MissingFoldsError: if folds have no summary.json; it holds the results of the others.
        CommandError: if a file is damaged, files contradict each other, or a summary holds a case
            that its fold was trained on.
    """
    results_dir = Path(results_dir)
    name = find_dataset(results_dir, dataset)
    model_folder = results_dir / name / ModelName(trainer, plans, configuration).folder
    if not model_folder.is_dir():
        raise CommandError(
            f"{model_folder}: there is no such model; in {model_folder.parent} there are: "
            f"{_listed(path.name for path in model_folder.parent.iterdir() if path.is_dir())}"
        )
    if model_name is None:
        model_name = short_title(trainer, plans)
    folders = _dataset_folders(dataset_folders)
    names = label_names(name, [model_folder, *folders])
    splits = find_splits(folder / name for folder in folders)
    frame, missing = _read_folds(
        model_folder, folds, names, name, configuration, model_name, splits
    )
    if missing:
        raise MissingFoldsError(f"{model_name}, {name} {configuration}", missing, frame)
    return frame


def read_named_results(
    root: Path,
    name: str,
    datasets: Iterable[str | int] | None,
    configurations: Iterable[str] | None,
    folds: Iterable[int | str],
    dataset_folders: Sequence[Path] | None = None,
) -> pd.DataFrame:
    """Read results of any origin from a folder, in `DATASET/CONFIGURATION/fold_k/validation`.

    Args:
        root: the folder.
        name: name of the model in the table.
        datasets: full names or numbers; None: all in the folder.
        configurations: such as 3d_fullres; None: all that a data set has in the folder.
        folds: their numbers, or "all".
        dataset_folders: see `label_names`; the folders of configuration and data set come first.

    A splits_final.json in the folder of the configuration or the data set defines which cases a
    fold was trained on. The one in nnUNet_preprocessed does not: other results may have other
    splits.

    Raises:
        MissingFoldsError: if folds have no summary.json; it holds the results of the others.
        CommandError: if a file is damaged, files contradict each other, or a summary holds a case
            that its fold was trained on.
    """
    root = Path(root)
    if not root.is_dir():
        raise CommandError(f"{root}: there is no such folder; check --results {name}=DIR")
    if datasets is None:
        names = [path.name for path in folders_of_datasets(root)]
    else:
        asked = list(datasets)
        names = [find_dataset(root, dataset) for dataset in asked]
        refuse_twice(asked, names)
    if not names:
        raise CommandError(f"{root} has no folder DatasetXXX_NAME; name the one that has them")
    folds = list(folds)
    configurations = None if configurations is None else list(configurations)
    frames: list[pd.DataFrame] = []
    missing: list[Path] = []
    for dataset in names:
        chosen = configurations or sorted(
            path.name for path in (root / dataset).iterdir() if any(fold_folders(path))
        )
        if not chosen:
            raise CommandError(
                f"{root / dataset} has no results; expected "
                "CONFIGURATION/fold_k/validation/summary.json below it"
            )
        for configuration in chosen:
            folder = root / dataset / configuration
            places = [folder, folder.parent]
            frame, absent = _read_folds(
                folder,
                folds,
                label_names(dataset, [*places, *_dataset_folders(dataset_folders)]),
                dataset,
                configuration,
                name,
                find_splits(places),
            )
            frames.append(frame)
            missing += absent
    frame = concatenate(frames)
    if missing:
        raise MissingFoldsError(name, missing, frame)
    return frame


def read_summary(
    path: Path,
    names: Mapping[str, str],
    dataset: str,
    configuration: str,
    model: str,
    fold: int | str,
) -> pd.DataFrame:
    """Read one summary.json.

    Args:
        path: path of the file.
        names: names of labels by key, from `label_names`; a key without a name is its own name.
        dataset: value of the column of this name, likewise for the next three.
        configuration: see dataset.
        model: see dataset.
        fold: see dataset.

    Raises:
        CommandError: if it is not a complete summary, or holds a case twice.
    """
    summary = read_summary_json(path)
    tolerances = {str(label): tolerance for label, tolerance in summary.tolerance_mm.items()}
    rows: list[dict[str, object]] = []
    seen: set[str] = set()
    labels = set(map(str, summary.cases[0].metrics))
    for entry in summary.cases:
        case = entry.case
        metrics = {str(label): values for label, values in entry.metrics.items()}
        if case in seen:
            raise CommandError(f"{path} holds case {case} twice; {SUMMARY_REMEDY}")
        seen.add(case)
        if labels != set(metrics):
            raise CommandError(
                f"{path}: case {case} has labels {_listed(metrics)}, but those before it have "
                f"{_listed(labels)}; {SUMMARY_REMEDY}"
            )
        for key, values in metrics.items():
            where = f"{path}: case {case}, label {key}"
            numbers = _checked_numbers(where, values)
            reference, prediction = int(numbers["n_ref"]), int(numbers["n_pred"])
            if (reference, prediction) != (
                numbers["TP"] + numbers["FN"],
                numbers["TP"] + numbers["FP"],
            ):
                raise CommandError(
                    f"{where}: n_ref and n_pred are not TP + FN and TP + FP; {SUMMARY_REMEDY}"
                )
            rows += [
                {
                    "case": case,
                    "label": names.get(key, key),
                    "metric": metric,
                    "value": value,
                    "reference_voxels": reference,
                    "prediction_voxels": prediction,
                    "tolerance_mm": tolerances.get(key) if metric == "nsd" else None,
                }
                for metric, value in _values(numbers).items()
            ]
    frame = pd.DataFrame(rows)
    return as_table(
        frame.assign(dataset=dataset, configuration=configuration, model=model, fold=fold)
    )


def find_dataset(folder: Path, dataset: str | int) -> str:
    """Return the full name of a data set that has a folder in `folder`.

    Args:
        folder: contains a folder for each data set.
        dataset: full name or number.

    Raises:
        CommandError: if there is none, or several have the number.
    """
    if not folder.is_dir():
        raise CommandError(f"{folder}: there is no such folder; check nnUNet_results")
    given = str(dataset)
    if (folder / given).is_dir() and is_dataset_name(given):
        return given
    present = [path.name for path in folders_of_datasets(folder)]
    alike = names_with_number(present, given)
    if len(alike) != 1:
        raise CommandError(
            f"data set {given}: {'several' if alike else 'no'} such data sets in {folder}; give "
            f"one of: {_listed(alike or present)}"
        )
    return alike[0]


def refuse_twice(asked: Sequence[str | int], names: Sequence[str]) -> None:
    """Refuse data sets that are asked for twice, whose cases would all be there twice.

    Args:
        asked: full names or numbers, which may differ for the same data set.
        names: the full name of each.

    Raises:
        CommandError: if there are any.
    """
    for name in names:
        same = [str(one) for one, found in zip(asked, names, strict=True) if found == name]
        if len(same) > 1:
            raise CommandError(
                f"data set {name} is given twice, as {' and '.join(same)}; name it once (-d)"
            )


def data_folders() -> list[Path]:
    """Return nnU-Net's folders of preprocessed and raw data, if their variables are set."""
    return [Path(os.environ[name]) for name in _DATA_VARIABLES if os.environ.get(name)]


def _read_folds(
    folder: Path,
    folds: Iterable[int | str],
    names: Mapping[str, str],
    dataset: str,
    configuration: str,
    model: str,
    splits: Splits | None,
) -> tuple[pd.DataFrame, list[Path]]:
    """Return the table of the folds with results, and the paths of the absent summaries."""
    frames, missing = [], []
    fold_of_case: dict[str, Path] = {}
    first_labels: tuple[Path, set[str]] | None = None
    for fold in folds:
        path = validation_summary(fold_folder(folder, fold))
        if not path.is_file():
            missing.append(path)
            continue
        # Fold numbers may be given as text, but are integers in the table.
        number = ALL if str(fold) == ALL else int(fold)
        frame = read_summary(path, names, dataset, configuration, model, number)
        labels = set(frame["label"])
        if first_labels is None:
            first_labels = (path, labels)
        elif labels != first_labels[1]:
            raise CommandError(
                f"{path} has labels {_listed(labels)}, but {first_labels[0]} has "
                f"{_listed(first_labels[1])}; validate the folds with the same dataset.json"
            )
        cases = frame["case"].unique()
        if splits is not None:
            splits.refuse_training_cases(path, fold, cases)
        for case in cases:
            if case in fold_of_case:
                raise CommandError(
                    f"case {case} is in both {fold_of_case[case]} and {path}; folds must not "
                    "overlap: check splits_final.json, and validate these folds again"
                )
            fold_of_case[case] = path
        frames.append(frame)
    return concatenate(frames), missing


def _checked_numbers(where: str, values: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of one case and label after checking that they are possible."""
    unknown = [key for key in values if key not in _OF_NNUNET and key not in _NAME_OF_KEY]
    absent = [key for key in _OF_NNUNET if key not in values]
    if unknown:
        raise CommandError(
            f"{where} has an unknown metric {_listed(unknown)}; known are "
            f"{', '.join((*_OF_NNUNET, *sorted(set(_NAME_OF_KEY) - set(_OF_NNUNET))))}; remove it, "
            "or write the file again with nnunet-attention evaluate"
        )
    if absent:
        raise CommandError(f"{where} lacks the metric {_listed(absent)}; {SUMMARY_REMEDY}")
    numbers = {}
    for key, value in values.items():
        if key in _COUNTS and not (math.isfinite(value) and value >= 0 and value == int(value)):
            raise CommandError(f"{where}: {key} is {value}, not a voxel count; {SUMMARY_REMEDY}")
        if key in ("Dice", "IoU") and not (math.isnan(value) or 0 <= value <= 1):
            raise CommandError(f"{where}: {key} is {value}, not between 0 and 1; {SUMMARY_REMEDY}")
        numbers[key] = float(value)
    return numbers


def _values(numbers: Mapping[str, float]) -> dict[str, float]:
    """Return all metrics of a case and label, by this package's names."""
    counts = OverlapCounts(*(int(numbers[key]) for key in ("TP", "FP", "FN", "TN")))
    values = {
        "dice": numbers["Dice"],
        "iou": numbers["IoU"],
        "precision": precision(counts),
        "recall": recall(counts),
        "volume_difference": volume_difference(counts),
    }
    for key, name in _NAME_OF_KEY.items():
        if name not in values and key in numbers:
            values[name] = numbers[key]
    return values


def _dataset_folders(folders: Sequence[Path] | None) -> list[Path]:
    return data_folders() if folders is None else [Path(folder) for folder in folders]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
