"""Finds and reads the results of all models of a leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.costs import Cost, mean_cost, read_cost
from nnunet_attention.evaluation.leaderboard.reading import (
    MissingFoldsError,
    data_folders,
    find_dataset,
    read_named_results,
    read_nnunet_results,
    refuse_twice,
)
from nnunet_attention.evaluation.metrics.table import REPEAT, concatenate
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.known_splits import KnownSplit, find_splits
from nnunet_attention.nnunet.model_folders import (
    ALL,
    PLANS_JSON,
    ModelName,
    fold_folder,
    fold_folders,
    short_title,
    validation_folder,
    validation_summaries,
)
from nnunet_attention.nnunet.splits import default_folds

IsNnunetSplit = Callable[[list[dict]], bool]
"""Tells whether the folds of a splits_final.json are those that nnU-Net would make."""
CountParameters = Callable[[str, Path, Path, str], int | None]
"""Takes trainer, plans.json, dataset.json and configuration; returns the parameters, if known."""
_MOST_NAMED = 20


@dataclass(frozen=True)
class Request:
    """Specifies the requested results.

    Attributes:
        datasets: full names or numbers.
        configurations: such as 3d_fullres.
        folds: numbers, or "all"; None: all folds of a data set's splits_final.json, which is looked
            for in nnUNet_preprocessed for trained models and beside the results for others; without
            such a file 0 to 4, and higher ones if some model has a folder for them.
        trained: trainer and plans of the models in nnUNet_results.
        named: folders of other results by the model's name; several are trainings of one model.
        allow_incomplete: whether missing folds are only listed, instead of being an error.
        label_folders: folders with DATASET/dataset.json, for the names of labels.
        repeats: further folders like nnUNet_results, each with one more training of every trained
            model.
    """

    datasets: tuple[str, ...]
    configurations: tuple[str, ...] = ("3d_fullres",)
    folds: tuple[str, ...] | None = None
    trained: tuple[tuple[str, str], ...] = ()
    named: Mapping[str, Path | Sequence[Path]] = field(default_factory=dict)
    allow_incomplete: bool = False
    label_folders: tuple[Path, ...] = ()
    repeats: tuple[Path, ...] = ()

    @property
    def named_folders(self) -> list[tuple[str, int, Path]]:
        """Model name, number of the training, and folder of all other results."""
        return [
            (name, number, folder)
            for name, folders in self.named.items()
            for number, folder in enumerate([folders] if isinstance(folders, Path) else folders)
        ]

    @property
    def has_repeats(self) -> bool:
        """Tell whether several trainings of a model are requested."""
        return bool(self.repeats) or len(self.named_folders) > len(self.named)


@dataclass(frozen=True)
class Collected:
    """Holds the results that were found.

    Attributes:
        frame: with the columns of `COLUMNS` and, if several trainings of a model were requested,
            `REPEAT`.
        missing: the absent summaries of folds without results.
        validations: folder of the predictions by (dataset, configuration, model, fold) and, if the
            table has it, the number of the repeat.
        costs: by data set, configuration and model.
        splits: by data set, if it is known which split was used.
    """

    frame: pd.DataFrame
    missing: tuple[str, ...]
    validations: dict[tuple, Path]
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
        count_parameters: called for each trained model.
        is_nnunet_split: called for each data set with a splits_final.json; without it no split is
            known.

    Raises:
        CommandError: if nothing is requested, names are not unique, folds are missing although that
            is not allowed, or a file is damaged.
    """
    _check(request, results_dir)
    frames: list[pd.DataFrame] = []
    missing: list[str] = []
    validations: dict[tuple, Path] = {}
    costs: dict[tuple[str, str, str], list[Cost]] = {}
    for reader in _readers(request, results_dir):
        try:
            frame = reader.read()
        except MissingFoldsError as error:
            frame = error.frame
            missing += [str(path) for path in error.missing]
        if frame.empty:
            continue
        dataset, configuration, model = reader.dataset, reader.configuration, reader.model
        repeat = (reader.repeat,) if request.has_repeats else ()
        if request.has_repeats:
            frame = frame.assign(**{REPEAT: reader.repeat})
        for fold in frame["fold"].unique():
            folder = validation_folder(fold_folder(reader.folder, fold))
            key = (dataset, configuration, model, fold, *repeat)
            validations[key] = folder
        # All trainings of a model have the same number of parameters.
        count = None if reader.repeat else count_parameters
        costs.setdefault((dataset, configuration, model), []).append(reader.cost(count))
        frames.append(frame)
    if missing and not request.allow_incomplete:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        raise CommandError(
            f"{len(missing)} fold(s) without results: {', '.join(missing[:_MOST_NAMED])}{more}; "
            "finish them, leave them out with -f, or give --allow-incomplete"
        )
    if not frames:
        raise CommandError("none of the requested folds has results; check -d, -c, -f and -tr")
    frame = concatenate(frames)
    splits = {} if is_nnunet_split is None else _known_splits(request, frame, is_nnunet_split)
    means = {model: mean_cost(of_trainings) for model, of_trainings in costs.items()}
    return Collected(frame, tuple(missing), validations, means, splits)


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
    repeat: int = 0

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
            "nnUNet_results is not set, but -tr looks there; export it, or give --results NAME=DIR"
        )
    if request.repeats and not request.trained:
        raise CommandError(
            "--repeats would be ignored, as no trainer is named with -tr; other results are "
            "repeated by --results with one NAME and several folders"
        )
    named = [f"{name}={folder.resolve()}" for name, _, folder in request.named_folders]
    roots = [str(place.resolve()) for place in _roots(request, results_dir)]
    for option, given in (("--results", named), ("--repeats", roots)):
        twice = sorted({place for place in given if given.count(place) > 1})
        if twice:
            raise CommandError(
                f"{option} {', '.join(twice)}: given twice, but each training counts once"
            )
    for name in ("folds", "configurations", "datasets", "trained"):
        values = getattr(request, name) or ()
        twice = sorted({str(value) for value in values if values.count(value) > 1})
        if twice:
            raise CommandError(f"{name}: {', '.join(twice)} given twice")


def _readers(request: Request, results_dir: Path | None) -> Iterable[_Reader]:
    """Yield the readers of all results, in the order in which the models were named."""
    names = [short_title(trainer, plans) for trainer, plans in request.trained]
    clash = sorted(set(names) & set(request.named))
    if clash:
        raise CommandError(
            f"--results {clash[0]}=...: a trained model already has this name; choose another"
        )
    datasets = _full_names(request, results_dir)
    roots = _roots(request, results_dir)
    for (trainer, plans), name in zip(request.trained, names, strict=True):
        for dataset in datasets:
            for configuration in request.configurations:
                for repeat, root in enumerate(roots):
                    model = ModelName(trainer, plans, configuration)
                    yield replace(
                        _trained(request, roots, root, dataset, model, name), repeat=repeat
                    )
    for name, repeat, root in request.named_folders:
        for dataset in datasets:
            for configuration in request.configurations:
                reader = _named(request, results_dir, dataset, name, root, configuration)
                yield replace(reader, repeat=repeat)


def _trained(
    request: Request,
    roots: Sequence[Path],
    results_dir: Path,
    dataset: str,
    model: ModelName,
    name: str,
) -> _Reader:
    folder = results_dir / dataset / model.folder
    folds = _folds(request, roots, dataset, model.configuration)

    def read() -> pd.DataFrame:
        if request.allow_incomplete and not folder.is_dir():
            raise MissingFoldsError(name, validation_summaries(folder, folds), concatenate([]))
        return read_nnunet_results(
            results_dir, dataset, model.trainer, model.plans, model.configuration, folds, name,
            _label_folders(request),
        )  # fmt: skip

    return _Reader(dataset, model.configuration, name, folder, folds, read, model.trainer)


def _named(
    request: Request,
    results_dir: Path | None,
    dataset: str,
    name: str,
    root: Path,
    configuration: str,
) -> _Reader:
    folder = root / dataset / configuration
    roots = _roots(request, results_dir)
    folds = _folds(request, roots, dataset, configuration)
    # The folder of a trained model has the names of the labels.
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
    """Return the full names of the data sets, each from the first folder that has it."""
    for name, _, root in request.named_folders:
        if not root.is_dir():
            raise CommandError(f"--results {name}={root}: there is no such folder")
    for root in request.repeats:
        if not root.is_dir():
            raise CommandError(f"--repeats {root}: there is no such folder")
    places = [root for _, _, root in request.named_folders]
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
    refuse_twice(request.datasets, names)
    return names


def _roots(request: Request, results_dir: Path | None) -> list[Path]:
    """List the folders with trained models, each with one training of every trainer."""
    return [*([] if results_dir is None else [results_dir]), *request.repeats]


def _folds(
    request: Request, roots: Sequence[Path], dataset: str, configuration: str
) -> tuple[str, ...]:
    """List the folds that every model must have, so that none that some model has is left out."""
    if request.folds is not None:
        return request.folds
    # Where splits may lie, and the models' folders that tell of folds where there are none.
    sources: list[tuple[list[Path], list[Path]]] = []
    # Where all results come from elsewhere, the splits of this machine's trainings do not apply.
    if request.trained:
        models = [
            root / dataset / ModelName(trainer, plans, configuration).folder
            for root in roots
            for trainer, plans in request.trained
        ]
        sources.append(([folder / dataset for folder in _label_folders(request)], models))
    for _, _, root in request.named_folders:
        folder = root / dataset / configuration
        sources.append((_splits_beside(folder), [folder]))
    known = [(find_splits(places), folders) for places, folders in sources]
    counts = [len(splits.folds) if splits else _count_folds(folders) for splits, folders in known]
    if not any(splits for splits, _ in known):
        counts.append(len(default_folds(None)))
    return tuple(map(str, range(max(counts))))


def _count_folds(models: Iterable[Path]) -> int:
    """Return how many folds there are up to the highest that has a folder; fold all is none."""
    names = [name for model in models for name, _ in fold_folders(model)]
    return max((int(name) + 1 for name in names if name.isdecimal()), default=0)


def _splits_beside(folder: Path) -> list[Path]:
    """List the folders whose splits apply to results of others, those of a configuration."""
    return [folder, folder.parent]


def _known_splits(
    request: Request, frame: pd.DataFrame, is_nnunet_split: IsNnunetSplit
) -> dict[str, KnownSplit]:
    """Return the splits by data set, if all results of each fold are of its validation cases."""
    known = {}
    for dataset, rows in frame.groupby("dataset", sort=False):
        own = [folder / str(dataset) for folder in _label_folders(request)]
        named = [
            place
            for _, _, root in request.named_folders
            for configuration in request.configurations
            for place in _splits_beside(root / str(dataset) / configuration)
        ]
        splits = find_splits([*own, *named] if request.trained else [*named, *own])
        if splits is not None and all(
            fold != ALL and splits.validates(fold, set(of_fold["case"]))
            for (_, _, fold), of_fold in rows.groupby(["configuration", "model", "fold"])
        ):
            known[str(dataset)] = KnownSplit(len(splits.folds), is_nnunet_split(splits.folds))
    return known


def _label_folders(request: Request) -> list[Path]:
    return [*request.label_folders, *data_folders()]
