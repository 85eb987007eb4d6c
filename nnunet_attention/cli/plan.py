"""Runs `nnunet-attention plan`: plans data sets for the attention U-Net, or converts plans."""

import argparse
import math
import shlex
import sys
from pathlib import Path

from nnunet_attention.cli.numbers import number_or_nan, positive
from nnunet_attention.cli.shared_arguments import add_datasets, refuse_ignored
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.planners import DEFAULT_PLANNER, OWN_PLANNER_NAMES

HELP = (
    "plan data sets for the attention U-Net, with its gates counted in the memory estimate; or add "
    "gates to existing plans and change nothing else (--from); or plan to match pretrained weights "
    "(--like)"
)
GATE_START_NAMES = ("identity", "open", "he")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the data sets, and how they are planned, with nnUNetv2_plan_experiment's options."""
    add_datasets(
        parser,
        "data sets, by number or name; the fingerprint is extracted if there is none",
    )
    parser.add_argument(
        "-pl",
        choices=OWN_PLANNER_NAMES,
        metavar="NAME",
        dest="planner",
        help=f"the planner: {', '.join(OWN_PLANNER_NAMES)} (default: {DEFAULT_PLANNER})",
    )
    parser.add_argument(
        "--from",
        metavar="PLANS",
        dest="source",
        help="convert these plans instead, for a like-for-like comparison: patch, batch and "
        "preprocessed data stay the same, and the networks get gates. Written as Attention_PLANS",
    )
    parser.add_argument(
        "--like",
        type=Path,
        metavar="CHECKPOINT_OR_MODEL_FOLDER",
        help="plan for trainings that start from these nnssl or nnU-Net weights: spacing, "
        "normalisation, network and patch match them. Written as AttentionPretrainedPlans",
    )
    parser.add_argument(
        "--spacing",
        nargs="+",
        metavar="MM",
        help="with --like: pretrained, dataset, or Z Y X in the order of the plans' axes (default: "
        "pretrained)",
    )
    parser.add_argument(
        "--patch",
        nargs="+",
        type=positive,
        metavar="VOXELS",
        help="with --like: Z Y X, for instance for a smaller GPU (default: the patch of the "
        "weights)",
    )
    parser.add_argument(
        "-c",
        nargs="+",
        metavar="CONFIG",
        dest="configurations",
        help="print costs and next commands for these configurations only (all are planned); those "
        "that a data set lacks are skipped (default: all)",
    )
    parser.add_argument(
        "-gpu_memory_target",
        type=_positive,
        metavar="GB",
        help="memory to plan for (default: the planner's own, 8, 8, 24 and 40 GB)",
    )
    parser.add_argument(
        "-overwrite_plans_name",
        metavar="NAME",
        dest="plans_name",
        help="write the plans under this name (default: AttentionUNetPlans, "
        "AttentionResEncUNetMPlans and so on); a plans file with other content is never "
        "overwritten",
    )
    parser.add_argument(
        "--gate_full_resolution",
        action="store_true",
        help="gate the skip connection of the highest resolution too (default: ungated, as in the "
        "paper)",
    )
    parser.add_argument(
        "--output_transform",
        action="store_true",
        help="1x1x1 convolution and normalisation after each gate, as in the authors' code "
        "(default: none, as in the paper)",
    )
    parser.add_argument(
        "--gate_start",
        choices=GATE_START_NAMES,
        help="how the gates start: with the plain network's function (identity), open, or as "
        "nnU-Net initialises any convolution (he) (default: identity, not written into the plans)",
    )
    parser.add_argument(
        "-np", type=positive, metavar="N", help="processes for the fingerprint (default: 8)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Plan each data set; print its costs and the commands to run next."""
    from nnunet_attention.nnunet.datasets import dataset_name
    from nnunet_attention.plans import plan_or_convert

    if arguments.like is not None:
        return _plan_like(arguments)
    refuse_ignored(
        {"--spacing": arguments.spacing, "--patch": arguments.patch},
        "without --like, as they only apply to its weights; give it, or leave them out",
    )
    if arguments.source and (arguments.planner or arguments.gpu_memory_target):
        raise CommandError(
            "--from keeps the patch and batch of the existing plans: leave out -pl and "
            "-gpu_memory_target, or plan again without --from"
        )
    if arguments.source:
        refuse_ignored(
            {"-np": arguments.np}, "with --from, which extracts no fingerprint; leave it out"
        )
    for dataset in [dataset_name(given) for given in arguments.datasets]:
        path = plan_or_convert(
            dataset,
            source=arguments.source,
            planner=arguments.planner,
            gpu_memory_target_gb=arguments.gpu_memory_target,
            plans_name=arguments.plans_name,
            num_processes=arguments.np or 8,
            # Existing plans keep options of gates that are not asked for.
            gate_full_resolution=arguments.gate_full_resolution or None,
            output_transform=arguments.output_transform or None,
            gate_start=arguments.gate_start,
        )
        print(f"plans: {path}")
        _print_costs_and_commands(path, arguments.configurations)
    return 0


def _plan_like(arguments: argparse.Namespace) -> int:
    """Plan each data set as the weights were; print what fits, the costs and the next commands."""
    from nnunet_attention.cli.upgrade import print_parts
    from nnunet_attention.nnunet.datasets import dataset_name
    from nnunet_attention.nnunet.pretraining import citation_lines
    from nnunet_attention.plans import plan_like
    from nnunet_attention.weights import read_source
    from nnunet_attention.weights.start import GATED_TRAINER

    refuse_ignored(
        {
            "--from": arguments.source,
            "-pl": arguments.planner,
            "-gpu_memory_target": arguments.gpu_memory_target,
            "-c": arguments.configurations,
            "--output_transform": arguments.output_transform,
            "--gate_start": arguments.gate_start,
        },
        "with --like, as the weights determine network, patch and configuration (--patch sets "
        "another patch), and gates start as identity; leave it out",
    )
    source = read_source(arguments.like)
    if arguments.like.is_dir():
        print(f"weights: {source.path}")
    for dataset in [dataset_name(given) for given in arguments.datasets]:
        planned = plan_like(
            dataset,
            source,
            spacing=_spacing(arguments.spacing),
            patch_size=arguments.patch,
            plans_name=arguments.plans_name,
            num_processes=arguments.np or 8,
            gate_full_resolution=arguments.gate_full_resolution,
        )
        print(f"plans: {planned.path}")
        for note in planned.notes:
            print(note, file=sys.stderr)
        print_parts(planned.adaptation)
        _print_costs_and_commands(planned.path, None, GATED_TRAINER)
    for line in citation_lines(source.citations):
        print(line)
    return 0


def _spacing(given: list[str] | None) -> str | list[float]:
    if given is None:
        return "pretrained"
    if given in (["pretrained"], ["dataset"]):
        return given[0]
    try:
        return [float(text) for text in given]
    except ValueError as error:
        raise CommandError(
            f"--spacing {' '.join(given)}: give pretrained, dataset, or mm for each axis"
        ) from error


def _print_costs_and_commands(
    path: Path, requested: list[str] | None, trainer: str | None = None
) -> None:
    from nnunet_attention.cli.describe import print_costs
    from nnunet_attention.cost import costs_of_plans
    from nnunet_attention.nnunet.plans import read_plans
    from nnunet_attention.plans import next_commands

    planned = list(read_plans(path)["configurations"])
    names = [name for name in planned if requested is None or name in requested]
    for name in requested or ():
        if name not in names:
            print(f"{path.parent.name} has no configuration {name}", file=sys.stderr)
    print_costs(costs_of_plans(path, names))
    commands = next_commands(path.parent, path.stem, names)
    if commands.preprocessing is not None:
        print(shlex.join(commands.preprocessing))
    if commands.preprocessed:
        print(f"# preprocessed already: {', '.join(commands.preprocessed)}")
    for command in commands.trainings:
        print(shlex.join([*command, *(["-tr", trainer] if trainer else [])]))


def _positive(text: str) -> float:
    gigabytes = number_or_nan(text)
    if not 0 < gigabytes < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of GB above 0")
    return gigabytes
