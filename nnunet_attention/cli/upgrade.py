"""`nnunet-attention upgrade`: adds attention gates to trained networks, or fits them to plans."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.cli.numbers import number_or_nan
from nnunet_attention.cli.shared_arguments import refuse_ignored
from nnunet_attention.nnunet.planners import STOCK_PLANS

if TYPE_CHECKING:
    from rich.console import Console

    from nnunet_attention.weights.adaptation import Adaptation

HELP = (
    "add attention gates to a trained plain nnU-Net, one checkpoint or a whole model folder, "
    "without changing what it predicts; or, with -d, fit a checkpoint of nnU-Net or nnssl to other "
    "plans, as the start of a training"
)
_CONFIGURATION = "3d_fullres"
_FILE_WIDTH = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the source, the target, and the plans to which the network is fitted."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="CHECKPOINT_OR_MODEL_FOLDER",
        help="a checkpoint (.pth) that nnUNetv2_train wrote, or the folder "
        "TRAINER__PLANS__CONFIGURATION with all its folds; the network must be PlainConvUNet or "
        "ResidualEncoderUNet. With -d also a checkpoint of nnssl, such as OpenMind's",
    )
    parser.add_argument(
        "-o",
        dest="target",
        type=Path,
        required=True,
        metavar="OUT",
        help="the checkpoint, or the folder, to write; must not exist",
    )
    parser.add_argument(
        "--gate_full_resolution",
        action="store_true",
        help="gate the skip connection of the highest resolution too, and record it in the plans "
        "written (default: ungated, as in the paper); with -d the plans determine it",
    )
    parser.add_argument(
        "-d",
        metavar="ID",
        dest="dataset",
        help="fit the weights to the plans of this data set, by number or name, and write a "
        "checkpoint for nnUNetv2_train -pretrained_weights; a table lists what became of every "
        "tensor",
    )
    parser.add_argument(
        "-p", metavar="PLANS", dest="plans", help=f"with -d: its plans (default: {STOCK_PLANS})"
    )
    parser.add_argument(
        "-c",
        metavar="CONFIG",
        dest="configuration",
        help=f"with -d: the plans' configuration (default: {_CONFIGURATION})",
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="with -d: without gates, for the control that starts from the same weights",
    )
    parser.add_argument(
        "--least",
        type=_share,
        metavar="SHARE",
        help="with -d: refuse if less than this share of the encoder's weights, 0 to 1, comes from "
        "the source (default: if nothing does)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Upgrade, and print the commands that use the result."""
    if arguments.dataset is not None:
        return _fit(arguments)
    from nnunet_attention.weights.guided_upgrade import guided_upgrade

    refuse_ignored(
        {
            "-p": arguments.plans,
            "-c": arguments.configuration,
            "--plain": arguments.plain,
            "--least": arguments.least,
        },
        "without -d, as they only apply to the plans of its data set; give it, or leave them out",
    )
    lines = guided_upgrade(
        arguments.source,
        arguments.target,
        gate_full_resolution=arguments.gate_full_resolution,
        on_checkpoint=lambda path: print(path, file=sys.stderr),
    )
    print("\n".join(lines))
    return 0


def _fit(arguments: argparse.Namespace) -> int:
    from nnunet_attention.nnunet.datasets import dataset_folder, dataset_name
    from nnunet_attention.weights.guided_start import guided_start

    refuse_ignored(
        {"--gate_full_resolution": arguments.gate_full_resolution},
        "with -d, as the plans determine which skips are gated (nnunet-attention plan "
        "--gate_full_resolution); leave it out",
    )
    folder = dataset_folder(dataset_name(arguments.dataset))
    lines = guided_start(
        arguments.source,
        arguments.target,
        folder / f"{arguments.plans or STOCK_PLANS}.json",
        arguments.configuration or _CONFIGURATION,
        gated=not arguments.plain,
        least=arguments.least,
        on_adaptation=print_adaptation,
    )
    print("\n".join(lines))
    return 0


def print_adaptation(adaptation: "Adaptation") -> None:
    """Print what became of every tensor, and then of every part."""
    from nnunet_attention.evaluation.leaderboard.grid.terminal import print_grid
    from nnunet_attention.weights.adaptation_table import tensor_table

    print_grid(tensor_table(adaptation), _console())
    print_parts(adaptation)


def print_parts(adaptation: "Adaptation") -> None:
    """Print how much of each part of a network comes from where."""
    from nnunet_attention.evaluation.leaderboard.grid.terminal import print_grid
    from nnunet_attention.weights.adaptation_table import part_table

    print_grid(part_table(adaptation), _console())


def _console() -> "Console":
    from rich.console import Console

    console = Console()
    # A file has room for the reasons.
    return console if console.is_terminal else Console(width=_FILE_WIDTH)


def _share(text: str) -> float:
    share = number_or_nan(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share between 0 and 1")
    return share
