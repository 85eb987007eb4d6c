"""`nnunet-attention evaluate`: overlap and surface metrics of a folder of segmentations."""

import argparse
import math
import sys
from pathlib import Path

from nnunet_attention.cli.group_arguments import add_groups, reader_of_cases
from nnunet_attention.cli.shared_arguments import (
    add_processes,
    add_tolerances,
    default_processes,
    parse_tolerances,
)
from nnunet_attention.errors import CommandError

HELP = (
    "compare a folder of predicted segmentations with their references: Dice, IoU, precision, "
    "recall, volume difference, ASSD, HD95 and normalised surface Dice, in nnU-Net's summary.json"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add folders and labels, with the option letters of nnUNetv2_evaluate_folder."""
    parser.add_argument(
        "-gt", type=Path, required=True, metavar="DIR", dest="ground_truth",
        help="folder of the references, e.g. labelsTr or gt_segmentations",
    )  # fmt: skip
    parser.add_argument(
        "-pred", type=Path, required=True, metavar="DIR", dest="prediction",
        help="folder of the predictions, named like the references",
    )  # fmt: skip
    parser.add_argument(
        "-o", type=Path, metavar="FILE.json", dest="output",
        help="file to write (default: summary.json in the predictions' folder)",
    )  # fmt: skip
    parser.add_argument(
        "-djfile", type=Path, metavar="FILE",
        help="the data set's dataset.json (default: looked for in the two folders and above the "
        "references)",
    )  # fmt: skip
    parser.add_argument(
        "-pfile", type=Path, metavar="FILE",
        help="plans.json; optional, only checked for a label manager other than nnU-Net's own",
    )  # fmt: skip
    add_groups(parser)
    add_processes(parser, "processes that work in parallel")
    add_tolerances(parser)
    parser.add_argument(
        "--chill", action="store_true",
        help="skip references without a prediction instead of stopping",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, and print the means."""
    from nnunet_attention.cli.progress import progress_bar
    from nnunet_attention.evaluation import (
        DEFAULT_TOLERANCE_MM,
        LabelScheme,
        evaluate_folder,
        find_label_scheme,
        tolerances_mm,
    )
    from nnunet_attention.nnunet.model_folders import SUMMARY

    ground_truth, prediction = arguments.ground_truth, arguments.prediction
    if arguments.pfile is not None:
        check_label_manager(arguments.pfile)
    if arguments.djfile is None:
        scheme = find_label_scheme(ground_truth, prediction)
    else:
        scheme = LabelScheme.from_file(arguments.djfile)
    default_mm, by_label = parse_tolerances(arguments.tolerances, DEFAULT_TOLERANCE_MM)
    output = arguments.output or prediction / SUMMARY
    names = {str(label): name for label, name in scheme.names.items()}
    # With --chill only the predicted cases count, and a file of all cases may name others.
    groups = reader_of_cases(arguments.groups, arguments.group_by, others=arguments.chill)
    with progress_bar("evaluating cases") as on_progress:
        summary = evaluate_folder(
            ground_truth,
            prediction,
            output,
            scheme,
            tolerances_mm(scheme, default_mm, by_label),
            arguments.processes or default_processes(),
            arguments.chill,
            on_progress,
            # Shown even if the disk is full by now.
            on_summary=lambda summary: print_means(summary, names),
            groups=groups,
        )
    if groups is None:
        note_likely_groups(summary)
    print(f"wrote {output}")
    return 0


def check_label_manager(path: Path) -> None:
    """Stop if plans ask for another way to read labels than nnU-Net's own LabelManager.

    Raises:
        CommandError: naming the label manager.
    """
    from nnunet_attention.files import read_json

    manager = read_json(path).get("label_manager", "LabelManager")
    if manager != "LabelManager":
        raise CommandError(
            f"{path} names the label manager {manager}; only nnU-Net's own LabelManager is "
            "supported"
        )


def note_likely_groups(summary: dict) -> None:
    """Print a line if the names of the cases look grouped."""
    from nnunet_attention.evaluation.statistics.groups import looks_grouped
    from nnunet_attention.nnunet.summary_json import case_name

    likely = looks_grouped(case_name(case["reference_file"]) for case in summary["metric_per_case"])
    if likely is not None:
        print(likely.note, file=sys.stderr)


def print_means(summary: dict, names: dict[str, str]) -> None:
    """Print a table of means over cases or groups, and of how many cases each leaves out."""
    from rich.console import Console

    from nnunet_attention.evaluation import METRICS
    from nnunet_attention.evaluation.leaderboard.grid import Grid, rich_table

    cases, groups = summary["metric_per_case"], summary.get("groups")
    means = summary["mean"] if groups is None else groups["mean"]
    rows = []
    for key in summary["mean"]:
        cells = []
        for metric in METRICS.values():
            values = [case["metrics"][key][metric.key] for case in cases]
            undefined = sum(math.isnan(value) for value in values)
            mean = means[key][metric.key]
            text = f"{mean:.3f}" if groups is None else interval_text(mean)
            cells.append(text + (f" ({undefined})" if undefined else ""))
        rows.append([names[key], *cells])
    over = f"{len(cases)} cases"
    if groups is not None:
        over = f"{groups['number']} groups of {over}, with 95 % intervals"
    grid = Grid.of_texts(
        f"means over {over}; in brackets: how many cases are undefined and left out",
        ["label", *(metric.key.replace("_", " ") for metric in METRICS.values())],
        rows,
        names=1,
        folded_heading=("metric", "mean"),
    )
    console = Console()
    console.print(rich_table(grid, console.width, compact=True))
    tolerances = ", ".join(f"{names[k]} {mm:g}" for k, mm in summary["tolerance_mm"].items())
    console.print(f"tolerance of NSD, normalised surface Dice, in mm: {tolerances}", style="dim")


def interval_text(mean: dict[str, float]) -> str:
    """Return a mean and its interval; the mean alone where there is no interval."""
    text = f"{mean['mean']:.3f}"
    return text if math.isnan(mean["low"]) else f"{text} [{mean['low']:.3f}, {mean['high']:.3f}]"
