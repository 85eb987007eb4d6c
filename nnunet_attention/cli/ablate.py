"""`nnunet-attention ablate`: measures what each gate does for the segmentation."""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

from nnunet_attention.cli.group_arguments import add_groups, reader_of_cases
from nnunet_attention.cli.numbers import positive
from nnunet_attention.cli.prediction_arguments import (
    add_engine,
    add_model,
    add_previous_stage,
    add_sliding_window,
    engine_choice,
    model_folder,
)
from nnunet_attention.cli.shared_arguments import (
    add_device,
    add_seed,
    add_tolerances,
    parse_tolerances,
    refuse_ignored,
)
from nnunet_attention.errors import CommandError

_TRAINER = "AttentionUNetTrainer"
HELP = (
    "replace the coefficients of attention gates and measure how the segmentation changes: whether "
    "a gate matters, case by case, with intervals and tests"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add images, labels, model and replacements."""
    parser.add_argument(
        "-i", type=Path, required=True, metavar="IMAGES", dest="images",
        help="folder of images, named CASE_0000 with the data set's file ending",
    )  # fmt: skip
    parser.add_argument(
        "-gt", type=Path, required=True, metavar="LABELS", dest="references",
        help="folder of their label images",
    )  # fmt: skip
    parser.add_argument(
        "-o", type=Path, required=True, metavar="OUT", dest="output",
        help="folder for ablation.json, .csv, .md, .tex and .html; finished cases are kept in "
        "OUT/cases, and the command resumes from there",
    )  # fmt: skip
    add_model(parser, _TRAINER, "folds, averaged as in a prediction")
    replaced = parser.add_argument_group("what is replaced and measured")
    replaced.add_argument(
        "--gates", nargs="+", metavar="GATE",
        help="gate numbers, counted from 0 for the coarsest; 0+1: several together; each: every "
        "gate by itself; all: all gates together (default: each all)",
    )  # fmt: skip
    replaced.add_argument(
        "--replace", nargs="+", metavar="NAME", dest="replacements",
        help="what replaces the coefficients: open (1), mean (of the image), shuffled (over the "
        "image), other_case (another patient's), uniform (one number for all images), zero "
        "(default: all of them)",
    )  # fmt: skip
    replaced.add_argument(
        "--metrics", nargs="+", default=["dice"], metavar="NAME",
        help="metrics of nnunet-attention evaluate; the first decides the verdicts (default: dice)",
    )  # fmt: skip
    add_tolerances(replaced, "with --metrics nsd: ")
    replaced.add_argument(
        "--sanity", action="store_true",
        help="repeat everything with randomly reinitialised gates (one draw), which doubles the "
        "time: a gate that is shown to do no more than those is idle",
    )  # fmt: skip
    replaced.add_argument(
        "--curves", type=positive, nargs="?", const=5, default=0, metavar="STEPS",
        help="also deletion and insertion: shut each skip, or let it through, in STEPS steps "
        "(default: 5), in the order of the coefficients, of Grad-CAM (with torch, whatever "
        "--engine says), and at random",
    )  # fmt: skip
    replaced.add_argument(
        "--margin", type=float, metavar="DIFFERENCE",
        help="largest difference that does not matter: a gate is idle if it is shown to make no "
        "larger one (default: 0.005, in metrics whose best value is 1; in others it is required)",
    )  # fmt: skip
    add_groups(replaced)
    add_seed(replaced, "shuffling, random weights and bootstrap")
    running = parser.add_argument_group("running")
    add_engine(running, "torch")
    add_device(running)
    add_sliding_window(running)
    add_previous_stage(running)


def run(arguments: argparse.Namespace) -> int:
    """Ablate, print the tables, and say where the files are."""
    from rich.console import Console

    from nnunet_attention.cli.progress import progress_bar
    from nnunet_attention.engines import TORCH
    from nnunet_attention.evaluation.ablation.building import Ablation
    from nnunet_attention.evaluation.ablation.outputs import print_ablation
    from nnunet_attention.evaluation.metrics.evaluate import DEFAULT_TOLERANCE_MM
    from nnunet_attention.maps.ablation import REPLACEMENTS, AblationSettings
    from nnunet_attention.maps.ablation.folder import FolderAblation, ablate_folder
    from nnunet_attention.maps.ablation.settings import ALL, EACH

    margin = arguments.margin
    if margin is not None and not 0 < margin < float("inf"):
        raise CommandError(f"--margin {margin:g}: give a number above 0")
    if "nsd" not in arguments.metrics:
        refuse_ignored(
            {"--tolerance": arguments.tolerances}, "as --metrics lacks nsd; add it, or leave it out"
        )
    default_mm, by_label = parse_tolerances(arguments.tolerances, DEFAULT_TOLERANCE_MM)
    if arguments.curves == 1:
        raise CommandError("--curves 1: give 2 steps or more")
    with ExitStack() as progress:
        asked = FolderAblation(
            images=arguments.images,
            references=arguments.references,
            output=arguments.output,
            model_folder=model_folder(arguments, _TRAINER),
            folds=arguments.folds,
            checkpoint=arguments.checkpoint,
            settings=AblationSettings(
                gates=tuple(map(_gates, arguments.gates or (EACH, ALL))),
                replacements=tuple(arguments.replacements or REPLACEMENTS),
                metrics=tuple(arguments.metrics),
                tolerance_mm=default_mm,
                label_tolerances_mm=by_label,
                seed=arguments.seed,
            ),
            groups=reader_of_cases(arguments.groups, arguments.group_by, others=True),
            sanity=arguments.sanity,
            curve_steps=arguments.curves,
            margin=margin,
            previous_stage=arguments.previous_stage,
            device=arguments.device,
            engine=engine_choice(arguments, TORCH),
            step_size=arguments.step_size,
            mirroring=not arguments.disable_tta,
            on_progress=progress.enter_context(progress_bar("ablating", "pass")),
            tell=lambda line: print(line, file=sys.stderr),
        )

        def show(ablation: Ablation) -> None:
            # The bar must end before the tables are printed.
            progress.close()
            print_ablation(ablation, Console())

        paths = ablate_folder(asked, show)
    for path in paths:
        print(f"wrote {path}")
    return 0


def _gates(text: str) -> tuple[int, ...] | str:
    """Read a set of gates: each, all, a number, or several such as 0+1."""
    if text in ("each", "all"):
        return text
    numbers = text.split("+")
    if not all(number.isdecimal() for number in numbers):
        raise CommandError(
            f"--gates {text}: give gate numbers, several together such as 0+1, each or all"
        )
    return tuple(map(int, numbers))
