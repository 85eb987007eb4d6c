"""nnU-Net's `summary.json` files as one long table, a row for a case, a label and a metric."""

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
from nnunet_attention.nnunet.dataset_names import is_dataset_name, number_of_dataset
from nnunet_attention.nnunet.summary_json import SUMMARY_REMEDY, read_summary_json
from nnunet_attention.nnunet.validated import Splits, find_splits

COLUMNS = (
    "dataset",
    "configuration",
    "model",
    "fold",
    "case",
    "label",
    "metric",
    "value",
    "reference_voxels",
    "prediction_voxels",
)
_COUNTS = ("TP", "FP", "FN", "TN", "n_pred", "n_ref")
_OF_NNUNET = ("Dice", "IoU", *_COUNTS)
_NAME_OF_KEY = {metric.key: metric.name for metric in METRICS.values()}
# Where a table notes the tolerances of normalised surface Dice: by data set, by label, a set.
_TOLERANCES = "nsd_tolerance_mm"


class MissingFoldsError(CommandError):
    """Folds without a summary.json.

    Attributes:
        missing: the absent files.
        frame: what the other folds hold, for whoever allows incomplete results; may be empty.
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
    """Reads `DATASET/TRAINER__PLANS__CONFIGURATION/fold_k/validation/summary.json`.

    Args:
        results_dir: nnU-Net's nnUNet_results.
        dataset: full name or number.
        trainer: class name, as given to -tr.
        plans: name, as given to -p.
        configuration: such as 3d_fullres.
        folds: their numbers.
        model_name: in the table; None: the trainer, and the plans unless they are nnUNetPlans.
        dataset_folders: see `label_names`; the model's own dataset.json comes first. The first
            DATASET/splits_final.json in them tells which cases a fold was trained on.

    Raises:
        MissingFoldsError: if folds have no summary.json; it holds the others.
        CommandError: if a file is damaged, files contradict each other, or a summary holds a case
            that its fold was trained on.
    """
    results_dir = Path(results_dir)
    name = find_dataset(results_dir, dataset)
    model_folder = results_dir / name / f"{trainer}__{plans}__{configuration}"
    if not model_folder.is_dir():
        raise CommandError(
            f"{model_folder}: there is no such model; in {model_folder.parent} there are: "
            f"{_listed(path.name for path in model_folder.parent.iterdir() if path.is_dir())}"
        )
    if model_name is None:
        model_name = trainer if plans == "nnUNetPlans" else f"{trainer} {plans}"
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
    """Reads `DATASET/CONFIGURATION/fold_k/validation/summary.json` below any folder.

    Args:
        root: the folder.
        name: of the model in the table.
        datasets: full names or numbers; None: all that are there.
        configurations: such as 3d_fullres; None: all that a data set has there.
        folds: their numbers.
        dataset_folders: see `label_names`; the folders of configuration and data set come first.

    A splits_final.json in the folder of the configuration or the data set tells which cases a fold
    was trained on. That of nnUNet_preprocessed does not: other results may have other splits.

    Raises:
        MissingFoldsError: if folds have no summary.json; it holds the others.
        CommandError: if a file is damaged, files contradict each other, or a summary holds a case
            that its fold was trained on.
    """
    root = Path(root)
    if not root.is_dir():
        raise CommandError(f"{root}: there is no such folder; check --results {name}=DIR")
    if datasets is None:
        found = [path.name for path in sorted(root.iterdir()) if is_dataset_name(path.name)]
    else:
        found = [find_dataset(root, dataset) for dataset in datasets]
    if not found:
        raise CommandError(f"{root} has no folder DatasetXXX_NAME; name the one that has them")
    folds = list(folds)
    configurations = None if configurations is None else list(configurations)
    frames, missing = [], []
    for dataset in found:
        wanted = configurations or sorted(
            path.name for path in (root / dataset).iterdir() if any(path.glob("fold_*"))
        )
        if not wanted:
            raise CommandError(
                f"{root / dataset} has no results; wanted CONFIGURATION/fold_k/validation/"
                "summary.json below it"
            )
        for configuration in wanted:
            folder = root / dataset / configuration
            names = label_names(
                dataset, [folder, folder.parent, *_dataset_folders(dataset_folders)]
            )
            splits = find_splits([folder, folder.parent])
            frame, absent = _read_folds(folder, folds, names, dataset, configuration, name, splits)
            frames.append(frame)
            missing += absent
    frame = concatenate(frames)
    if missing:
        raise MissingFoldsError(name, missing, frame)
    return frame


def read_summary(
    path: Path, names: Mapping[str, str], dataset: str, configuration: str, model: str, fold: int
) -> pd.DataFrame:
    """Reads one summary.json.

    Args:
        path: of the file.
        names: of labels by key, from `label_names`; a key that is not there is its own name.
        dataset: for the column of this name, as the three that follow.
        configuration: see dataset.
        model: see dataset.
        fold: see dataset.

    Raises:
        CommandError: if it is no complete summary, or holds a case twice.
    """
    summary = read_summary_json(path)
    rows: list[tuple[str, str, str, float, int, int]] = []
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
            label = names.get(key, key)
            for metric, value in _values(numbers).items():
                rows.append((case, label, metric, value, reference, prediction))
    frame = pd.DataFrame(rows, columns=["case", "label", *COLUMNS[6:]])
    frame = frame.assign(dataset=dataset, configuration=configuration, model=model, fold=fold)
    frame = frame[list(COLUMNS)].astype(_types())
    if (frame["metric"] == "nsd").any():
        tolerances = {str(label): value for label, value in summary.tolerance_mm.items()}
        of_label = {names.get(key, key): tolerances.get(key) for key in labels}
        record_tolerances(frame, {dataset: of_label})
    return frame


def concatenate(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table of several, in their order; an empty one of none."""
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        return empty_frame()
    tolerances: dict[str, dict[str, set]] = {}
    for frame in filled:
        for dataset, of_label in frame.attrs.get(_TOLERANCES, {}).items():
            for label, found in of_label.items():
                tolerances.setdefault(dataset, {}).setdefault(label, set()).update(found)
    # pandas joins no attributes that differ.
    joined = pd.concat(filled, ignore_index=True)
    joined.attrs = {_TOLERANCES: tolerances} if tolerances else {}
    return joined


def record_tolerances(
    frame: pd.DataFrame, tolerances_mm: Mapping[str, Mapping[str, float | None]]
) -> None:
    """Notes at a table with what tolerance its normalised surface Dice was computed.

    Args:
        frame: gets the note.
        tolerances_mm: by data set and label; None where it is not known.
    """
    frame.attrs[_TOLERANCES] = {
        dataset: {label: {tolerance} for label, tolerance in of_label.items()}
        for dataset, of_label in tolerances_mm.items()
    }


def recorded_tolerances(frame: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """The tolerance of normalised surface Dice in mm, by data set and label.

    Raises:
        CommandError: if results of a data set were computed with different ones.
    """
    tolerances: dict[str, dict[str, float | None]] = {}
    for dataset, of_label in frame.attrs.get(_TOLERANCES, {}).items():
        # Sets were on the way: their order changes from process to process.
        for label, found in sorted(of_label.items()):
            if len(found) > 1:
                values = ", ".join(
                    sorted("unknown" if one is None else f"{one:g}" for one in found)
                )
                raise CommandError(
                    f"{dataset}, {label}: normalised surface Dice was computed with several "
                    f"tolerances in mm: {values}; compute all results alike with nnunet-attention "
                    "evaluate --tolerance, or leave this metric out"
                )
            tolerances.setdefault(dataset, {})[label] = next(iter(found))
    return tolerances


def empty_frame() -> pd.DataFrame:
    """A table without rows."""
    return pd.DataFrame({column: [] for column in COLUMNS}).astype(_types())


def find_dataset(folder: Path, dataset: str | int) -> str:
    """The full name of a data set that has a folder in `folder`, by name or number.

    Raises:
        CommandError: if there is none, or several have the number.
    """
    if not folder.is_dir():
        raise CommandError(f"{folder}: there is no such folder; check nnUNet_results")
    wanted = str(dataset)
    if (folder / wanted).is_dir() and is_dataset_name(wanted):
        return wanted
    present = sorted(
        path.name for path in folder.iterdir() if is_dataset_name(path.name) and path.is_dir()
    )
    found = []
    if wanted.isdecimal():
        found = [name for name in present if int(number_of_dataset(name)) == int(wanted)]
    if len(found) != 1:
        raise CommandError(
            f"data set {wanted}: {'several' if found else 'no'} such data sets in {folder}; give "
            f"one of: {_listed(found or present)}"
        )
    return found[0]


def _read_folds(
    folder: Path,
    folds: Iterable[int | str],
    names: Mapping[str, str],
    dataset: str,
    configuration: str,
    model: str,
    splits: Splits | None,
) -> tuple[pd.DataFrame, list[Path]]:
    """The table of the folds that are there, and the summaries that are absent."""
    frames, missing = [], []
    fold_of_case: dict[str, Path] = {}
    first_labels: tuple[Path, set[str]] | None = None
    for fold in folds:
        path = folder / f"fold_{fold}" / "validation" / "summary.json"
        if not path.is_file():
            missing.append(path)
            continue
        frame = read_summary(path, names, dataset, configuration, model, _fold_number(fold))
        labels = set(frame["label"])
        if first_labels is None:
            first_labels = (path, labels)
        elif labels != first_labels[1]:
            raise CommandError(
                f"{path} has labels {_listed(labels)}, but {first_labels[0]} has "
                f"{_listed(first_labels[1])}; validate the folds with one and the same dataset.json"
            )
        cases = frame["case"].unique()
        if splits is not None:
            splits.refuse_training_cases(path, fold, cases)
        for case in cases:
            if case in fold_of_case:
                raise CommandError(
                    f"case {case} is both in {fold_of_case[case]} and in {path}; folds must not "
                    "overlap: check splits_final.json, and validate these folds again"
                )
            fold_of_case[case] = path
        frames.append(frame)
    return concatenate(frames), missing


def _checked_numbers(where: str, values: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of one case and label, after a look at whether they can be true."""
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
            raise CommandError(f"{where}: {key} is {value}, no count of voxels; {SUMMARY_REMEDY}")
        if key in ("Dice", "IoU") and not (math.isnan(value) or 0 <= value <= 1):
            raise CommandError(f"{where}: {key} is {value}, not between 0 and 1; {SUMMARY_REMEDY}")
        numbers[key] = float(value)
    return numbers


def _values(numbers: Mapping[str, float]) -> dict[str, float]:
    """All metrics that one case and label has, by our names."""
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


def _fold_number(fold: int | str) -> int:
    # nnU-Net's fold "all" has one validation folder too.
    return -1 if str(fold) == "all" else int(fold)


def _dataset_folders(folders: Sequence[Path] | None) -> list[Path]:
    """The given ones; None: nnU-Net's preprocessed and raw data, where its variables are set."""
    if folders is not None:
        return [Path(folder) for folder in folders]
    variables = ("nnUNet_preprocessed", "nnUNet_raw")
    return [Path(os.environ[variable]) for variable in variables if os.environ.get(variable)]


def _types() -> dict[str, str]:
    return {
        **dict.fromkeys(("dataset", "configuration", "model", "case", "label", "metric"), "str"),
        "fold": "int64",
        "value": "float64",
        "reference_voxels": "int64",
        "prediction_voxels": "int64",
    }


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
