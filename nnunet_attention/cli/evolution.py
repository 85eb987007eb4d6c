"""`nnunet-attention evolution`: draws the attention maps that a training recorded."""

import argparse
from pathlib import Path

HELP = (
    "draw how the gates' coefficients changed during a training that recorded them, with "
    "nnUNet_attention_epochs=3,6,10,60,150 set"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the fold's folder, and the folder for the pictures."""
    parser.add_argument(
        "fold", type=Path, metavar="MODEL_FOLDER/fold_X", help="a fold's folder with recordings"
    )
    parser.add_argument(
        "-o", type=Path, metavar="OUT", dest="output",
        help="folder for evolution_CASE.png (default: attention in the fold's folder)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Draw, and print the paths of the pictures."""
    from nnunet_attention.maps.evolution import draw_evolution_of_fold

    for path in draw_evolution_of_fold(arguments.fold, arguments.output):
        print(path)
    return 0
