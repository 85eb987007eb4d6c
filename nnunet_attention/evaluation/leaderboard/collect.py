"""Finds and reads the results of all models of a leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.costs import Cost, read_cost
from nnunet_attention.evaluation.leaderboard.reading import (
    MissingFoldsError,
    data_folders,
    find_dataset,
    read_named_results,
    read_nnunet_results,
)
from nnunet_attention.evaluation.metrics.table import concatenate
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.known_splits import KnownSplit, find_splits
from nnunet_attention.nnunet.model_folders import (
    ALL,
    PLANS_JSON,
    ModelName,
    fold_folder,
    short_title,
    validation_folder,
    validation_summaries,
)
from nnunet_attention.nnunet.splits import default_folds

IsNnunetSplit = Callable[[list[dict]], bool]
"""Tells whether the folds of a splits_final.json are those that nnU-Net would make."""
CountParameters = Callable[[str, Path, Path, str], int | None]
"""Takes trainer, plans.json, dataset.json and configuration; gives the parameters, if known."""
_MOST_NAMED = 20


@dataclass(frozen=True)
class Request:
    """Says which results are wanted.

    Attributes:
        datasets: full names or numbers.
        configurations: such as 3d_fullres.
        folds: numbers, or "all"; None: all of a data set's splits_final.json, for trained models
            in nnUNet_preprocessed and for others beside their results; without one 0 to 4.
        trained: trainer and plans of the models in nnUNet_results.
        named: folders of other results by the model's name.
        allow_incomplete: missing folds are named, and no error.
        label_folders: with DATASET/dataset.json, for the names of labels.
    """

    datasets: tuple[str, ...]
    configurations: tuple[str, ...] = ("3d_fullres",)
    folds: tuple[str, ...] | None = None
    trained: tuple[tuple[str, str], ...] = ()
    named: Mapping[str, Path] = field(default_factory=dict)
    allow_incomplete: bool = False
    label_folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Collected:
    """Holds what is there.

    Attributes:
        frame: with the columns of `COLUMNS`.
        missing: summaries of the folds without results.
        validations: folder of the predictions by (dataset, configuration, model, fold).
        costs: by data set, configuration and model.
        splits: by data set, where it is known which one was used.
    """

    frame: pd.DataFrame
    missing: tuple[str, ...]
    validations: dict[tuple[str, str, str, int | str], Path]
    costs: dict[tuple[str, str, str], Cost]
    splits: dict[str, KnownSplit] = field(default_factory=dict)


def collect_results(
    request: Request,
    results_dir: Path | None,
    count_parameters: CountParameters | None = None,
    is_nnunet_split: IsNnunetSplit | None = None,
) -> Collected:
    """Read all summaries, and the logs of trained models.

    Args:
        request: see `Request`.
        results_dir: nnU-Net's nnUNet_results; needed for trained models only.
        count_parameters: asked for each trained model.
        is_nnunet_split: asked for each data set with a splits_final.json; without it no split is
            known.

    Raises:
        CommandError: if nothing is asked for, names are not unique, folds are missing and that is
            not allowed, or a file is damaged.
    """
    _check(request, results_dir)
    frames: list[pd.DataFrame] = []
    missing: list[str] = []
    validations: dict[tuple[str, str, str, int | str], Path] = {}
    costs: dict[tuple[str, str, str], Cost] = {}
    for reader in _readers(request, results_dir):
        try:
            frame = reader.read()
        except MissingFoldsError as error:
            frame = error.frame
            missing += [str(path) for path in error.missing]
        if frame.empty:
            continue
        dataset, configuration, model = reader.dataset, reader.configuration, reader.model
        for fold in frame["fold"].unique():
            folder = validation_folder(fold_folder(reader.folder, fold))
            validations[dataset, configuration, model, fold] = folder
        costs[dataset, configuration, model] = reader.cost(count_parameters)
        frames.append(frame)
    if missing and not request.allow_incomplete:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        raise CommandError(
            f"{len(missing)} fold(s) without results: {', '.join(missing[:_MOST_NAMED])}{more}; "
            "finish them, leave them out with -f, or give --allow-incomplete"
        )
    if not frames:
        raise CommandError("none of the folds asked for has results; check -d, -c, -f and -tr")
    frame = concatenate(frames)
    splits = {} if is_nnunet_split is None else _known_splits(request, frame, is_nnunet_split)
    return Collected(frame, tuple(missing), validations, costs, splits)


@dataclass(frozen=True)
class _Reader:
    """Reads one model on one data set in one configuration."""

    dataset: str
    configuration: str
    model: str
    folder: Path
    folds: tuple[str, ...]
    read: Callable[[], pd.DataFrame]
    trainer: str | None = None

    def cost(self, count_parameters: CountParameters | None) -> Cost:
        if self.trainer is None:
            return read_cost(self.folder, self.folds)
        parameters = None
        if count_parameters is not None:
            plans, dataset_json = self.folder / PLANS_JSON, self.folder / DATASET_JSON
            parameters = count_parameters(self.trainer, plans, dataset_json, self.configuration)
        return read_cost(self.folder, self.folds, parameters)


def _check(request: Request, results_dir: Path | None) -> None:
    if not request.trained and not request.named:
        raise CommandError("nothing to compare; name trainers with -tr, or results with --results")
    if request.trained and results_dir is None:
        raise CommandError(
            "nnUNet_results is not set, and -tr looks there; export it, or give --results NAME=DIR"
        )
    for name in ("folds", "configurations", "datasets", "trained"):
        values = getattr(request, name) or ()
        twice = sorted({str(value) for value in values if values.count(value) > 1})
        if twice:
            raise CommandError(f"{name}: {', '.join(twice)} given twice")


def _readers(request: Request, results_dir: Path | None) -> Iterable[_Reader]:
    """Yield what reads the results, the model that was named first before the others."""
    names = [short_title(trainer, plans) for trainer, plans in request.trained]
    clash = sorted(set(names) & set(request.named))
    if clash:
        raise CommandError(
            f"--results {clash[0]}=...: a trained model has this name; choose another"
        )
    datasets = _full_names(request, results_dir)
    for (trainer, plans), name in zip(request.trained, names, strict=True):
        for dataset in datasets:
            for configuration in request.configurations:
                assert results_dir is not None, "checked above"
                yield _trained(request, results_dir, dataset, trainer, plans, configuration, name)
    for name, root in request.named.items():
        for dataset in datasets:
            for configuration in request.configurations:
                yield _named(request, results_dir, dataset, name, root, configuration)


def _trained(
    request: Request,
    results_dir: Path,
    dataset: str,
    trainer: str,
    plans: str,
    configuration: str,
    name: str,
) -> _Reader:
    folder = results_dir / dataset / ModelName(trainer, plans, configuration).folder
    folds = _folds(request, dataset)

    def read() -> pd.DataFrame:
        if request.allow_incomplete and not folder.is_dir():
            raise MissingFoldsError(name, validation_summaries(folder, folds), concatenate([]))
        return read_nnunet_results(
            results_dir, dataset, trainer, plans, configuration, folds, name,
            _label_folders(request),
        )  # fmt: skip

    return _Reader(dataset, configuration, name, folder, folds, read, trainer)


def _named(
    request: Request,
    results_dir: Path | None,
    dataset: str,
    name: str,
    root: Path,
    configuration: str,
) -> _Reader:
    folder = root / dataset / configuration
    folds = _folds(request, dataset)
    # A trained model beside it knows the names of the labels.
    known = [
        results_dir / dataset / ModelName(trainer, plans, configuration).folder
        for trainer, plans in request.trained
        if results_dir is not None
    ]

    def read() -> pd.DataFrame:
        if not (root / dataset).is_dir():
            raise MissingFoldsError(name, validation_summaries(folder, folds), concatenate([]))
        return read_named_results(
            root,
            name,
            [dataset],
            [configuration],
            folds,
            [*known, *_label_folders(request)],
        )

    return _Reader(dataset, configuration, name, folder, folds, read)


def _full_names(request: Request, results_dir: Path | None) -> list[str]:
    """Return the full names of the data sets, each from the first place that has it."""
    for name, root in request.named.items():
        if not root.is_dir():
            raise CommandError(f"--results {name}={root}: there is no such folder")
    places = list(request.named.values())
    if request.trained and results_dir is not None:
        places.insert(0, results_dir)
    names = []
    for dataset in request.datasets:
        errors = []
        for place in places:
            try:
                names.append(find_dataset(place, dataset))
                break
            except CommandError as error:
                errors.append(error)
        else:
            raise errors[0]
    return names


def _folds(request: Request, dataset: str) -> tuple[str, ...]:
    if request.folds is not None:
        return request.folds
    named = [root / dataset for root in request.named.values()]
    # The splits of this machine's trainings say nothing of results from elsewhere alone.
    own = [folder / dataset for folder in _label_folders(request)] if request.trained else []
    splits = find_splits([*own, *named])
    return default_folds(None if splits is None else splits.folds)


def _known_splits(
    request: Request, frame: pd.DataFrame, is_nnunet_split: IsNnunetSplit
) -> dict[str, KnownSplit]:
    """Return the splits by data set, where each fold holds cases that it validates by them."""
    own, named = _label_folders(request), list(request.named.values())
    places = [*own, *named] if request.trained else [*named, *own]
    known = {}
    for dataset, rows in frame.groupby("dataset", sort=False):
        splits = find_splits(place / str(dataset) for place in places)
        if splits is not None and all(
            fold != ALL and splits.validates(fold, set(of_fold["case"]))
            for (_, _, fold), of_fold in rows.groupby(["configuration", "model", "fold"])
        ):
            known[str(dataset)] = KnownSplit(len(splits.folds), is_nnunet_split(splits.folds))
    return known


def _label_folders(request: Request) -> list[Path]:
    return [*request.label_folders, *data_folders()]
