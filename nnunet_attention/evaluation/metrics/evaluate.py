"""Evaluates folders of segmentations: overlap and surface metrics of each case, in parallel."""

from __future__ import annotations

import logging
import math
import multiprocessing
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.metrics.cache import (
    VERSION,
    ResultCache,
    cache_path,
    file_identity,
)
from nnunet_attention.evaluation.metrics.definitions import (
    METRICS,
    SURFACE_DEFINITION,
    SURFACE_METRICS,
)
from nnunet_attention.evaluation.metrics.grouped import with_groups
from nnunet_attention.evaluation.metrics.images import (
    Segmentation,
    read_pair,
    sidecar,
)
from nnunet_attention.evaluation.metrics.labels import (
    LabelScheme,
    find_dataset_json,
    find_label_scheme,
    tolerances_mm,
)
from nnunet_attention.evaluation.metrics.masks import label_mask
from nnunet_attention.evaluation.metrics.overlap import (
    counts_of_labels,
    dice,
    iou,
    pairs_of_labels,
    precision,
    recall,
    volume_difference,
)
from nnunet_attention.evaluation.metrics.surface import (
    average_symmetric_surface_distance,
    hausdorff_distance,
    normalised_surface_dice,
    surface_distances,
)
from nnunet_attention.evaluation.metrics.table import REPEAT, as_table, concatenate
from nnunet_attention.files import disk_error, require_writable_file, write_json
from nnunet_attention.nnunet.model_folders import SUMMARY
from nnunet_attention.nnunet.summary_json import Label

logger = logging.getLogger(__name__)

# The default; about the slice thickness of a fine CT.
DEFAULT_TOLERANCE_MM = 2.0
Progress = Callable[[int, int], None]
"""Takes the number of cases done, and that of all cases."""


@dataclass(frozen=True)
class Pair:
    """Describes a case to evaluate.

    Attributes:
        case: its name.
        reference_file: the annotation.
        prediction_file: a model's prediction.
        tolerance_mm: of normalised surface Dice, by label; these labels are evaluated.
        ignore_label: see `LabelScheme`.
    """

    case: str
    reference_file: Path
    prediction_file: Path
    tolerance_mm: tuple[tuple[Label, float], ...]
    ignore_label: int | None

    @property
    def identity(self) -> list:
        """The facts that identify the result: if it might change, at least one of them does."""
        files = (self.reference_file, self.prediction_file)
        return [
            VERSION,
            [metric.key for metric in METRICS.values()],
            self.case,
            [[file_identity(file), file_identity(sidecar(file))] for file in files],
            [[str(label), tolerance] for label, tolerance in self.tolerance_mm],
            self.ignore_label,
        ]


def evaluate_pair(pair: Pair) -> dict[str, dict]:
    """Evaluate a case.

    Returns:
        `metrics`: by the label's key, then by the metric's key in summary.json. A distance to an
        empty mask is NaN here, like all undefined values; n_ref and n_pred show why.
        `unknown`: how many voxels of `reference` and `prediction` have labels that the data set
        does not have, by label.

    Raises:
        CommandError: if an image cannot be read, or the two do not lie on the same grid.
    """
    reference, prediction = read_pair(pair.case, pair.reference_file, pair.prediction_file)
    number_of = pairs_of_labels(reference.labels, prediction.labels, pair.ignore_label)
    results = measure(reference, prediction, dict(pair.tolerance_mm), pair.ignore_label, number_of)
    return {"metrics": results, "unknown": _unknown_labels(number_of, pair)}


def measure(
    reference: Segmentation,
    prediction: Segmentation,
    tolerance_mm: Mapping[Label, float],
    ignore_label: int | None = None,
    number_of: Mapping[tuple[int, int], int] | None = None,
    surfaces: bool = True,
) -> dict[str, dict[str, float]]:
    """Measure a prediction on the grid of its reference.

    Args:
        reference: the annotation.
        prediction: a model's prediction.
        tolerance_mm: of normalised surface Dice, by label; these labels are measured.
        ignore_label: see `LabelScheme`.
        number_of: the counts of `pairs_of_labels`; None: they are computed here.
        surfaces: whether distances are measured too, which takes most of the time.

    Returns:
        By the label's key, then by the metric's key in summary.json; see `evaluate_pair`.
    """
    if number_of is None:
        number_of = pairs_of_labels(reference.labels, prediction.labels, ignore_label)
    counts = counts_of_labels(number_of, tolerance_mm)
    annotated = None
    if ignore_label is not None and (reference.labels == ignore_label).any():
        annotated = reference.labels != ignore_label
    results = {}
    for label, tolerance in tolerance_mm.items():
        overlap = counts[label]
        values = {
            "Dice": dice(overlap),
            "IoU": iou(overlap),
            "TP": overlap.true_positive,
            "FP": overlap.false_positive,
            "FN": overlap.false_negative,
            "TN": overlap.true_negative,
            "n_ref": overlap.reference,
            "n_pred": overlap.prediction,
            "Precision": precision(overlap),
            "Recall": recall(overlap),
            "RVD": volume_difference(overlap),
        }
        if surfaces:
            masks = [label_mask(image.labels, label) for image in (reference, prediction)]
            if annotated is not None:
                masks = [mask & annotated for mask in masks]
            distances = surface_distances(masks[0], masks[1], reference.spacing_mm)
            values["ASSD_mm"] = average_symmetric_surface_distance(distances)
            values["HD95_mm"] = hausdorff_distance(distances)
            values["NSD"] = normalised_surface_dice(distances, tolerance)
        results[str(label)] = {
            key: math.nan if math.isinf(value) else value for key, value in values.items()
        }
    return results


def _unknown_labels(
    number_of: Mapping[tuple[int, int], int], pair: Pair
) -> dict[str, dict[str, int]]:
    known = {0, pair.ignore_label}
    for label, _ in pair.tolerance_mm:
        known.update(label if isinstance(label, tuple) else (label,))
    unknown: dict[str, dict[str, int]] = {"reference": {}, "prediction": {}}
    for labels, number in number_of.items():
        for counts, label in zip(unknown.values(), labels, strict=True):
            if label not in known:
                counts[str(label)] = counts.get(str(label), 0) + number
    return unknown


def evaluate_pairs(
    pairs: Sequence[Pair],
    caches: Sequence[ResultCache],
    processes: int = 1,
    on_progress: Progress | None = None,
) -> list[dict[str, dict[str, float]]]:
    """Evaluate cases in parallel, and warn of labels that the data set does not have.

    Args:
        pairs: the cases.
        caches: the cache of each pair; each result is stored as soon as it is computed.
        processes: number of parallel processes.
        on_progress: called with the progress.

    Returns:
        The metrics of `evaluate_pair`, in the order of the pairs.
    """
    # Identities are taken before the files are read: a file changed meanwhile is computed again.
    identities = [pair.identity for pair in pairs]
    results = [cache.get(identity) for cache, identity in zip(caches, identities, strict=True)]
    open_pairs = [number for number, result in enumerate(results) if result is None]

    def finish(number: int, result: dict) -> None:
        results[number] = result
        caches[number].put(identities[number], result)
        tell()

    def tell() -> None:
        if on_progress is not None:
            on_progress(sum(result is not None for result in results), len(pairs))

    tell()
    processes = min(processes, len(open_pairs))
    if processes <= 1:
        for number in open_pairs:
            finish(number, evaluate_pair(pairs[number]))
        return _metrics(pairs, results)
    executor = ProcessPoolExecutor(
        processes,
        # Forking a process with running threads, which numpy and torch start, may hang.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        futures: dict[Future, int] = {
            executor.submit(evaluate_pair, pairs[number]): number for number in open_pairs
        }
        for future in as_completed(futures):
            finish(futures[future], future.result())
    except BrokenProcessPool as error:
        raise CommandError(
            "a worker process died, probably for lack of memory; run again with a smaller -np: it "
            "continues where it stopped"
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)
    return _metrics(pairs, results)


def _metrics(
    pairs: Sequence[Pair], results: Sequence[dict | None]
) -> list[dict[str, dict[str, float]]]:
    finished = [result for result in results if result is not None]
    cases: dict[tuple[str, str], list[str]] = {}
    for pair, result in zip(pairs, finished, strict=True):
        for of_file, labels in result["unknown"].items():
            for label, number in labels.items():
                cases.setdefault((of_file, label), []).append(f"{pair.case} ({number} voxels)")
    for (of_file, label), names in cases.items():
        logger.warning(
            "the label %s is not in dataset.json and counts as background in the %s of %d "
            "case(s): %s",
            *(label, of_file, len(names), _some(names)),
        )
    return [result["metrics"] for result in finished]


def evaluate_folder(
    ground_truth_dir: Path,
    prediction_dir: Path,
    output: Path | None = None,
    scheme: LabelScheme | None = None,
    tolerance_mm: Mapping[Label, float] | None = None,
    processes: int = 1,
    chill: bool = False,
    on_progress: Progress | None = None,
    on_summary: Callable[[dict], None] | None = None,
    groups: Callable[[Collection[str]], Mapping[str, str]] | None = None,
) -> dict:
    """Evaluate all predictions of a folder, and write a summary in nnU-Net's format.

    The function does all that `nnunet-attention evaluate` does.

    Args:
        ground_truth_dir: references.
        prediction_dir: predictions, with the same file names as the references.
        output: the .json file to write; the results of cases are cached beside it. None:
            summary.json in the folder of the predictions.
        scheme: which labels; None: see `find_label_scheme`.
        tolerance_mm: of normalised surface Dice, by label, as `tolerances_mm` returns it; these
            labels are evaluated. None: all labels, with `DEFAULT_TOLERANCE_MM`.
        processes: number of parallel processes.
        chill: whether references without a prediction are left out, instead of being an error.
        on_progress: called with the number of cases done, and that of all cases.
        on_summary: called with the summary before it is written.
        groups: given the names of the cases, returns the group of each, such as
            `functools.partial(groups_by_pattern, pattern)`; None: cases are not grouped.

    Returns:
        The summary: `metric_per_case`, `mean`, `foreground_mean`, and the metrics' definitions;
        with groups also `groups`, see `with_groups`.

    Raises:
        CommandError: if something is missing or cannot be read, or the summary cannot be written.

    Examples:
        >>> summary = evaluate_folder(Path("labelsTs"), Path("predictions"))
        >>> summary["mean"]["1"]["HD95_mm"]
    """
    if output is None:
        output = prediction_dir / SUMMARY
    if output.suffix != ".json":
        raise CommandError(f"-o {output}: the name must end with .json")
    if scheme is None:
        scheme = find_label_scheme(ground_truth_dir, prediction_dir)
    if tolerance_mm is None:
        tolerance_mm = tolerances_mm(scheme, DEFAULT_TOLERANCE_MM, {})
    require_writable_file(output, "-o")
    references = _files(ground_truth_dir, scheme.file_ending, "-gt")
    predictions = _files(prediction_dir, scheme.file_ending, "-pred")
    missing = sorted(set(references) - set(predictions))
    if missing and not chill:
        raise CommandError(
            f"{prediction_dir} lacks {len(missing)} of {len(references)} cases: "
            f"{_some(missing)}; predict them, or leave them out with --chill"
        )
    unknown = sorted(set(predictions) - set(references))
    if unknown:
        raise CommandError(
            f"{ground_truth_dir} has no reference for {len(unknown)} predictions: "
            f"{_some(unknown)}; name the folder that has them with -gt, or move these predictions "
            "away"
        )
    pairs = [
        Pair(
            case.removesuffix(scheme.file_ending),
            references[case],
            predictions[case],
            tuple(tolerance_mm.items()),
            scheme.ignore_label,
        )
        for case in sorted(predictions)
    ]
    cases = [pair.case for pair in pairs]
    # Determined before anything is computed, as they may be wrong.
    group_of = None if groups is None else groups(cases)
    output.parent.mkdir(parents=True, exist_ok=True)
    cache = ResultCache(cache_path(output))
    results = evaluate_pairs(pairs, [cache] * len(pairs), processes, on_progress)
    summary = summarise(pairs, results)
    if group_of is not None:
        summary = with_groups(summary, cases, group_of)
    if on_summary is not None:
        on_summary(summary)
    try:
        write_json(output, summary, indent=4, allow_nan=True)
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {disk_error(error)}") from error
    return summary


def summarise(pairs: Sequence[Pair], results: Sequence[dict[str, dict[str, float]]]) -> dict:
    """Return a summary with nnU-Net's keys, further metrics, and definitions of the metrics.

    Means leave out undefined values; the foreground mean is the mean of the labels' means.
    """
    means = {
        label: {key: _mean([result[label][key] for result in results]) for key in results[0][label]}
        for label in results[0]
    }
    keys = next(iter(means.values()))
    return {
        "metric_per_case": [
            {
                "reference_file": str(pair.reference_file),
                "prediction_file": str(pair.prediction_file),
                "metrics": result,
            }
            for pair, result in zip(pairs, results, strict=True)
        ],
        "mean": means,
        "foreground_mean": {
            key: float(np.mean([values[key] for values in means.values()])) for key in keys
        },
        "definitions": {
            "surface": SURFACE_DEFINITION,
            **{metric.key: metric.definition for metric in METRICS.values()},
        },
        "tolerance_mm": {str(label): tolerance for label, tolerance in pairs[0].tolerance_mm},
    }


def add_surface_metrics(
    frame: pd.DataFrame,
    ground_truth_dir: Path | Mapping[str, Path],
    prediction_dir: Path | Mapping[tuple[str, str, str, int | str], Path],
    dataset_json: Path | Mapping[str, Path] | None = None,
    default_tolerance_mm: float = DEFAULT_TOLERANCE_MM,
    tolerance_mm_of_label: Mapping[str, float] | None = None,
    processes: int = 1,
    on_progress: Progress | None = None,
) -> pd.DataFrame:
    """Add rows of ASSD, HD95 and normalised surface Dice, from the segmentations themselves.

    Results are cached beside the predictions, in `summary.json.cache`.

    Args:
        frame: with the columns of `COLUMNS` and a row of Dice for each case; unchanged.
        ground_truth_dir: nnU-Net's gt_segmentations, one folder or by data set.
        prediction_dir: nnU-Net's validation folder: one, or by (dataset, configuration, model,
            fold) and, if the table has it, the number of the repeat.
        dataset_json: one file, or by data set; None: looked for beside the folders.
        default_tolerance_mm: of normalised surface Dice.
        tolerance_mm_of_label: different tolerances, by label; each label must occur in at least
            one data set.
        processes: number of parallel processes.
        on_progress: called with the number of cases done, and that of all cases.

    Raises:
        CommandError: if a segmentation is missing or is not that of the summary, or a label of
            `tolerance_mm_of_label` is in no data set.
    """
    group = ["dataset", "configuration", "model", "fold", *([REPEAT] if REPEAT in frame else [])]
    rows = frame[frame["metric"] == "dice"]
    pairs: list[Pair] = []
    caches: list[ResultCache] = []
    schemes: list[LabelScheme] = []
    places: list[pd.DataFrame] = []
    labels: dict[str, None] = {}
    unknown = set(tolerance_mm_of_label or ())
    for names, of_fold in rows.groupby(group, sort=False):
        dataset = names[0]
        references = _chosen(ground_truth_dir, dataset)
        predictions = _chosen(prediction_dir, names)
        if dataset_json is None:
            described = find_dataset_json(
                [references, references.parent, predictions, predictions.parent.parent]
            )
        else:
            described = _chosen(dataset_json, dataset)
        scheme = LabelScheme.from_file(described)
        known = {*scheme.names.values(), *map(str, scheme.names)}
        labels |= dict.fromkeys(scheme.names.values())
        unknown -= known
        special = {k: v for k, v in (tolerance_mm_of_label or {}).items() if k in known}
        tolerance = tolerances_mm(scheme, default_tolerance_mm, special)
        cache = ResultCache(cache_path(predictions / SUMMARY))
        for case, of_case in of_fold.groupby("case", sort=False):
            pair = Pair(
                case,
                references / f"{case}{scheme.file_ending}",
                predictions / f"{case}{scheme.file_ending}",
                tuple(tolerance.items()),
                scheme.ignore_label,
            )
            for file in (pair.reference_file, pair.prediction_file):
                if not file.is_file():
                    raise CommandError(
                        f"{file}: there is no such file, but surface metrics need it; validate "
                        "again (nnUNetv2_train ... --val), or leave these metrics out"
                    )
            pairs.append(pair)
            caches.append(cache)
            schemes.append(scheme)
            places.append(of_case)
    if unknown:
        raise CommandError(
            f"tolerance for unknown label {', '.join(map(repr, sorted(unknown)))}; known are: "
            f"{', '.join(labels)}"
        )
    results = evaluate_pairs(pairs, caches, processes, on_progress)
    added = [frame[~frame["metric"].isin(SURFACE_METRICS)]]
    for pair, scheme, of_case, result in zip(pairs, schemes, places, results, strict=True):
        evaluated = scheme.labels(list(of_case["label"]))
        measured = [result[str(label)] for label in evaluated]
        _check_counts(pair, of_case, measured)
        tolerance = dict(pair.tolerance_mm)
        added += [
            of_case.assign(
                metric=name,
                value=[values[METRICS[name].key] for values in measured],
                tolerance_mm=[
                    tolerance[label] if name == "nsd" else math.nan for label in evaluated
                ],
            )
            for name in SURFACE_METRICS
        ]
    return as_table(concatenate(added))


def _check_counts(pair: Pair, rows: pd.DataFrame, measured: Sequence[Mapping[str, float]]) -> None:
    """Refuse segmentations other than those that the summary was computed from."""
    for (_, row), values in zip(rows.iterrows(), measured, strict=True):
        summarised = (row["reference_voxels"], row["prediction_voxels"])
        counted = (values["n_ref"], values["n_pred"])
        if summarised != counted:
            raise CommandError(
                f"case {pair.case}, label {row['label']}: summary.json counts {summarised[0]} "
                f"voxels in the reference and {summarised[1]} in the prediction, but "
                f"{pair.reference_file} and {pair.prediction_file} have {counted[0]} and "
                f"{counted[1]}; validate again, or give the folder of the references that the "
                "summary was made with"
            )


def _files(folder: Path, ending: str, option: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise CommandError(f"{option} {folder}: there is no such folder")
    # macOS stores metadata in a companion file with the same name and ending.
    files = {
        path.name: path
        for path in folder.iterdir()
        if path.name.endswith(ending) and not path.name.startswith("._")
    }
    if not files:
        raise CommandError(f"{option} {folder} has no files that end with {ending}")
    return files


def _chosen(places: Path | Mapping[Any, Path], key: Any) -> Path:
    """Return the path for a key, or the single path for all keys."""
    if not isinstance(places, Mapping):
        return Path(places)
    if key not in places:
        raise CommandError(f"no folder of segmentations is known for {key}")
    return Path(places[key])


def _mean(values: Sequence[float]) -> float:
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
