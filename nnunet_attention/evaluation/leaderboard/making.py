"""Makes a leaderboard from results on disk: reads, measures, compares and writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.building import (
    Leaderboard,
    Settings,
    build_leaderboard,
)
from nnunet_attention.evaluation.leaderboard.collect import (
    Collected,
    CountParameters,
    IsNnunetSplit,
    Request,
    collect_results,
)
from nnunet_attention.evaluation.leaderboard.methods import tolerance_in_words
from nnunet_attention.evaluation.leaderboard.outputs import write_leaderboard
from nnunet_attention.evaluation.leaderboard.reading import data_folders
from nnunet_attention.evaluation.metrics.definitions import (
    OVERLAP_METRICS,
    SURFACE_METRICS,
    check_metrics,
)
from nnunet_attention.evaluation.metrics.evaluate import (
    DEFAULT_TOLERANCE_MM,
    Progress,
    add_surface_metrics,
)
from nnunet_attention.evaluation.metrics.table import recorded_tolerances
from nnunet_attention.evaluation.statistics.groups import GroupsReader
from nnunet_attention.files import require_writable
from nnunet_attention.nnunet.folders import RAW_REFERENCES, REFERENCES


@dataclass(frozen=True)
class Surfaces:
    """Specifies how surface distances are measured from nnU-Net's validation predictions.

    Attributes:
        references: folder with DATASET/gt_segmentations or DATASET/labelsTr or, for one data set,
            the references themselves; None: nnUNet_preprocessed, then nnUNet_raw.
        tolerance_mm: of normalised surface Dice.
        tolerance_mm_of_label: different tolerances, by label.
        processes: number of processes that measure in parallel.
    """

    references: Path | None = None
    tolerance_mm: float = DEFAULT_TOLERANCE_MM
    tolerance_mm_of_label: Mapping[str, float] = field(default_factory=dict)
    processes: int = 1


def make_leaderboard(
    request: Request,
    output: Path,
    settings: Settings | None = None,
    *,
    surfaces: Surfaces | None = None,
    groups: GroupsReader | None = None,
    results_dir: Path | None = None,
    count_parameters: CountParameters | None = None,
    is_nnunet_split: IsNnunetSplit | None = None,
    progress: Callable[[], AbstractContextManager[Progress | None]] = nullcontext,
    on_board: Callable[[Leaderboard], None] | None = None,
) -> list[Path]:
    """Compare cross-validated models, and write the leaderboard's files.

    The function does all that `nnunet-attention leaderboard` does, but without torch: the functions
    that need torch are passed in.

    Args:
        request: which results.
        output: folder for leaderboard.json, .csv, .md, .tex and .html.
        settings: how they are compared, except for the tolerance in words, which is taken from the
            results; None: the metrics of overlap and, with `surfaces`, those of surfaces.
        surfaces: how surface distances are measured; None: they are not.
        groups: given the cases of each data set, returns the group of each by data set and case,
            for the settings; None: the settings' own groups, if there are any.
        results_dir: nnU-Net's nnUNet_results, for trained models; None: the variable's value.
        count_parameters: called for each trained model; None: the column is empty.
        is_nnunet_split: called for each data set with a splits_final.json; None: the methods name
            no split.
        progress: returns a context manager, entered while surfaces are measured, that yields a
            function to call with the number of cases done.
        on_board: called with the leaderboard before it is written, for the terminal.

    Returns:
        The files that were written.

    Raises:
        CommandError: if results are missing, damaged or not comparable, or the folder cannot be
            written; nothing is written then.

    Examples:
        >>> request = Request(
        ...     datasets=("4",), trained=(("nnUNetTrainer", "nnUNetPlans"),),
        ...     named={"Paper": Path("paper_results")},
        ... )
        >>> make_leaderboard(request, Path("leaderboard"))
    """
    if settings is None:
        settings = Settings(metrics=default_metrics(surfaces is not None))
    check_metrics(settings.metrics)
    require_writable(output, "-o")
    if results_dir is None and os.environ.get("nnUNet_results"):  # noqa: SIM112 - nnU-Net's name
        results_dir = Path(os.environ["nnUNet_results"])  # noqa: SIM112
    collected = collect_results(request, results_dir, count_parameters, is_nnunet_split)
    frame = collected.frame
    if groups is not None:
        cases = {
            str(dataset): list(of_dataset["case"].unique())
            for dataset, of_dataset in frame.groupby("dataset", sort=False)
        }
        settings = replace(settings, groups=groups(cases))
    if surfaces is not None:
        with progress() as on_progress:
            frame = _with_surface_metrics(collected, surfaces, on_progress)
    if "nsd" in settings.metrics:
        tolerance = tolerance_in_words(recorded_tolerances(frame))
        settings = replace(settings, tolerance_mm=tolerance)
    board = build_leaderboard(frame, settings, collected.costs, collected.missing, collected.splits)
    if on_board is not None:
        on_board(board)
    return write_leaderboard(board, output)


def default_metrics(surface: bool) -> tuple[str, ...]:
    """Return the metrics that are compared unless others are chosen."""
    return (*OVERLAP_METRICS, *(SURFACE_METRICS if surface else ()))


def references_of(dataset: str, folder: Path | None, alone: bool) -> Path:
    """Find the folder of a data set's references.

    Args:
        dataset: full name.
        folder: the folder to look in; None: nnU-Net's two folders of data.
        alone: whether it is the only data set, so that the folder may hold the references itself.

    Raises:
        CommandError: if there is none.
    """
    roots = data_folders() if folder is None else [folder]
    candidates = [root / dataset / name for root in roots for name in (REFERENCES, RAW_REFERENCES)]
    if folder is not None and alone:
        candidates += [folder / REFERENCES, folder / RAW_REFERENCES, folder]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    looked = ", ".join(map(str, candidates)) or "no folder, as neither variable is set"
    raise CommandError(
        f"--surface: no reference segmentations of {dataset} (looked in {looked}); name them with "
        "-gt, or set nnUNet_preprocessed"
    )


def _with_surface_metrics(collected: Collected, surfaces: Surfaces, on_progress: Progress | None):
    datasets = [str(name) for name in collected.frame["dataset"].unique()]
    references = {
        name: references_of(name, surfaces.references, len(datasets) == 1) for name in datasets
    }
    return add_surface_metrics(
        collected.frame,
        references,
        collected.validations,
        None,
        surfaces.tolerance_mm,
        surfaces.tolerance_mm_of_label,
        surfaces.processes,
        on_progress,
    )
