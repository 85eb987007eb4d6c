"""`nnunet-attention leaderboard`: compares cross-validated models, with statistics for a paper."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.cli.group_arguments import add_groups, groups_reader
from nnunet_attention.cli.numbers import number_or_nan
from nnunet_attention.cli.shared_arguments import (
    add_configurations,
    add_datasets,
    add_folds,
    add_processes,
    add_seed,
    add_tolerances,
    add_trainers,
    add_undefined,
    check_folds,
    default_processes,
    parse_tolerances,
    refuse_ignored,
    trained_models,
)
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.metrics.definitions import OVERLAP_METRICS, SURFACE_METRICS

if TYPE_CHECKING:
    from nnunet_attention.evaluation import Request, Settings, Surfaces
    from nnunet_attention.evaluation.statistics.groups import GroupsReader

HELP = (
    "compare cross-validated models: tables, confidence intervals, paired tests, rankings and "
    "figures, in the terminal and as JSON, CSV, Markdown, LaTeX and a web page"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is compared, and how; nnU-Net's option letters keep their meaning."""
    add_datasets(parser)
    add_trainers(
        parser,
        "trainers with results in nnUNet_results; TRAINER__PLANS names the plans too",
        default=[],
    )
    add_configurations(parser, "configurations; several are compared with each other")
    add_folds(
        parser,
        "folds (default: those of splits_final.json; if there is none, 0 to 4, and any above that "
        "a model has)",
    )
    parser.add_argument(
        "--results", nargs="+", action="extend", default=[], metavar="NAME=DIR",
        help="other results: DIR/DATASET/CONFIG/fold_k/validation/summary.json; several folders "
        "with one NAME are trainings of one model",
    )  # fmt: skip
    parser.add_argument(
        "--repeats", nargs="+", action="extend", type=Path, default=[], metavar="DIR",
        help="further folders like nnUNet_results, each with one more training of every trainer",
    )  # fmt: skip
    parser.add_argument(
        "--paired-repeats", action="store_true",
        help="trainings of different models used the same seeds, in the order given, and are "
        "compared in pairs",
    )  # fmt: skip
    parser.add_argument(
        "--marks", action="store_true",
        help="mark significance even if each model was trained only once",
    )  # fmt: skip
    parser.add_argument(
        "--allow-incomplete", action="store_true",
        help="compare what is available, on the cases that all models have, and list what is "
        "missing",
    )  # fmt: skip
    add_groups(parser)
    parser.add_argument(
        "--margin", type=float, metavar="NUMBER",
        help="differences smaller than this, e.g. 0.01, do not matter, in metrics with best value "
        "1: adds tests of equivalence, power, and a verdict on each pair",
    )  # fmt: skip
    parser.add_argument(
        "--published", type=Path, metavar="FILE.csv",
        help="published results to show beside the models, with the probability that the better "
        "mean is a false claim: a CSV file with the columns model, dataset, mean, sd and n, and "
        "optionally label and metric",
    )  # fmt: skip
    add_undefined(parser)
    parser.add_argument(
        "--metrics", nargs="+", metavar="METRIC",
        help=f"the first one leads (default: {' '.join(OVERLAP_METRICS)}, and with --surface "
        f"{' '.join(SURFACE_METRICS)})",
    )  # fmt: skip
    parser.add_argument(
        "--surface", action="store_true",
        help="measure surface distances too, from nnU-Net's validation predictions",
    )  # fmt: skip
    parser.add_argument(
        "-gt", type=Path, metavar="DIR", dest="ground_truth",
        help="with --surface: references, in DIR/DATASET/gt_segmentations, DIR/DATASET/labelsTr "
        "or, for one data set, DIR (default: nnUNet_preprocessed, then nnUNet_raw)",
    )  # fmt: skip
    add_tolerances(parser, "with --surface: ")
    parser.add_argument(
        "--missing-distance", type=_distance, metavar="MM",
        help="with --surface: value of ASSD and HD95 if only one mask is empty, e.g. the image "
        "diagonal (default: such cases are left out)",
    )  # fmt: skip
    parser.add_argument(
        "--label-names", nargs="+", action="extend", type=Path, default=[], metavar="DIR",
        help="folders with DATASET/dataset.json, for label names (default: the models' own, "
        "nnUNet_preprocessed and nnUNet_raw)",
    )  # fmt: skip
    add_seed(parser, "all bootstraps")
    add_processes(parser, "with --surface: processes")
    parser.add_argument(
        "-o", type=Path, required=True, metavar="DIR", dest="output",
        help="folder for leaderboard.json, .csv, .md, .tex and .html",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Make the leaderboard, print it and name the files."""
    from nnunet_attention.evaluation import (
        DEFAULT_TOLERANCE_MM,
        Request,
        Settings,
        Surfaces,
        check_metrics,
        read_published,
    )
    from nnunet_attention.evaluation.leaderboard.making import default_metrics

    metrics = check_metrics(dict.fromkeys(arguments.metrics or default_metrics(arguments.surface)))
    _check_options(arguments, metrics)
    request = Request(
        datasets=tuple(arguments.datasets),
        configurations=tuple(arguments.configurations),
        folds=None if arguments.folds is None else tuple(arguments.folds),
        trained=trained_models(arguments.trainers, arguments.plans),
        named=named_results(arguments.results),
        allow_incomplete=arguments.allow_incomplete,
        label_folders=tuple(arguments.label_names),
        repeats=tuple(arguments.repeats),
    )
    check_folds(request.folds)
    settings = Settings(
        metrics=metrics,
        policy=arguments.undefined,
        seed=arguments.seed,
        allow_incomplete=arguments.allow_incomplete,
        missing_distance_mm=arguments.missing_distance,
        paired_repeats=arguments.paired_repeats,
        marks=arguments.marks,
        margin=arguments.margin,
        published=() if arguments.published is None else read_published(arguments.published),
    )
    surfaces = None
    if arguments.surface:
        surfaces = Surfaces(
            arguments.ground_truth,
            *parse_tolerances(arguments.tolerances, DEFAULT_TOLERANCE_MM),
            arguments.processes or default_processes(),
        )
    groups = groups_reader(arguments.groups, arguments.group_by)
    show_leaderboard(request, arguments.output, settings, surfaces, groups)
    return 0


def show_leaderboard(
    request: Request,
    output: Path,
    settings: Settings | None = None,
    surfaces: Surfaces | None = None,
    groups: GroupsReader | None = None,
) -> None:
    """Make a leaderboard, print it and name its files; see `make_leaderboard`."""
    from rich.console import Console

    from nnunet_attention.cli.progress import progress_bar
    from nnunet_attention.evaluation import Leaderboard, make_leaderboard
    from nnunet_attention.evaluation.leaderboard.terminal import print_leaderboard

    def show(board: Leaderboard) -> None:
        print_leaderboard(board, Console())
        for dataset, likely in board.likely_groups().items():
            print(f"{dataset}: {likely.note}", file=sys.stderr)
        for note in [*board.copied_trainings(), *board.different_references()]:
            print(note, file=sys.stderr)

    paths = make_leaderboard(
        request,
        output,
        settings,
        surfaces=surfaces,
        groups=groups,
        count_parameters=known_parameters,
        is_nnunet_split=is_nnunet_split,
        progress=lambda: progress_bar("measuring surfaces"),
        # Shown even if the disk is full by now.
        on_board=show,
    )
    for path in paths:
        print(f"wrote {path}")


def _check_options(arguments: argparse.Namespace, metrics: tuple[str, ...]) -> None:
    if not arguments.surface:
        refuse_ignored(
            {
                "-gt": arguments.ground_truth,
                "--tolerance": arguments.tolerances,
                "-np": arguments.processes,
            },
            "without --surface; add it, or leave them out",
        )
    elif not set(SURFACE_METRICS) & set(metrics):
        refuse_ignored(
            {"--surface": True},
            f"as --metrics has none of {', '.join(SURFACE_METRICS)}; add one, or leave it out",
        )
    elif "nsd" not in metrics:
        refuse_ignored(
            {"--tolerance": arguments.tolerances}, "as --metrics lacks nsd; add it, or leave it out"
        )
    if not {"assd_mm", "hd95_mm"} & set(metrics):
        refuse_ignored(
            {"--missing-distance": arguments.missing_distance},
            "as neither assd_mm nor hd95_mm is compared; add --surface, or leave it out",
        )
    for folder in arguments.label_names:
        if not folder.is_dir():
            raise CommandError(f"--label-names {folder}: there is no such folder")


def named_results(texts: list[str]) -> dict[str, tuple[Path, ...]]:
    """Read folders by name from texts of the form NAME=DIR."""
    folders: dict[str, tuple[Path, ...]] = {}
    for text in texts:
        name, separator, folder = text.partition("=")
        if not (name and separator and folder):
            raise CommandError(f"--results {text}: give NAME=DIR")
        folders[name] = (*folders.get(name, ()), Path(folder))
    return folders


def is_nnunet_split(folds: list[dict]) -> bool:
    """Tell whether nnU-Net would split these cases in the same way."""
    from nnunet_attention.nnunet.splits import is_nnunet_split

    return is_nnunet_split(folds)


def known_parameters(
    trainer: str, plans: Path, dataset_json: Path, configuration: str
) -> int | None:
    """Count the parameters of a trainer's network, or return None if that fails.

    A failure is reported on stderr; missing files are not a failure.
    """
    if not (plans.is_file() and dataset_json.is_file()):
        return None
    from nnunet_attention.cost.parameters import count_parameters
    from nnunet_attention.files import read_json

    try:
        return count_parameters(trainer, read_json(plans), dataset_json, configuration)
    except Exception as error:
        # Other people's trainers may raise anything; a column of costs must not stop the tests.
        reason = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, CommandError):
            reason = f"{type(error).__name__}: {reason}"
        print(f"cannot count the parameters of {plans.parent}: {reason}", file=sys.stderr)
        return None


def _distance(text: str) -> float:
    distance_mm = number_or_nan(text)
    if not 0 <= distance_mm < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a distance in mm")
    return distance_mm
