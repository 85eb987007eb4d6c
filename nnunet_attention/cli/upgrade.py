"""`nnunet-attention upgrade`: adds attention gates to trained plain networks."""

import argparse
import sys
from pathlib import Path

HELP = (
    "add attention gates to a trained plain nnU-Net, one checkpoint or a whole model folder, "
    "without changing what it predicts"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the source, the target and the network's option."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="CHECKPOINT_OR_MODEL_FOLDER",
        help="a checkpoint (.pth) that nnUNetv2_train wrote, or the folder "
        "TRAINER__PLANS__CONFIGURATION with all its folds; the network must be PlainConvUNet or "
        "ResidualEncoderUNet",
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
        help="gate the skip connection of the highest resolution too, and say so in the plans "
        "written (default: ungated, as in the paper)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Upgrade, and print the commands that use the result."""
    from nnunet_attention.weights.guided_upgrade import guided_upgrade

    lines = guided_upgrade(
        arguments.source,
        arguments.target,
        gate_full_resolution=arguments.gate_full_resolution,
        on_checkpoint=lambda path: print(path, file=sys.stderr),
    )
    print("\n".join(lines))
    return 0
