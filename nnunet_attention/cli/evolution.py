"""`nnunet-attention evolution`: draws the attention maps that a training recorded."""

import argparse
from pathlib import Path

from nnunet_attention.errors import CommandError

HELP = (
    "draw how the gates' coefficients changed while a network learned; recorded by a training with "
    "nnUNet_attention_epochs=3,6,10,60,150 set"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The fold's folder, and where the pictures go."""
    parser.add_argument(
        "fold", type=Path, metavar="MODEL_FOLDER/fold_X", help="a fold's folder with recordings"
    )
    parser.add_argument(
        "-o", type=Path, metavar="OUT", dest="output",
        help="folder for evolution_CASE.png (default: attention in the fold's folder)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Draws, and prints the paths of the pictures."""
    if not arguments.fold.is_dir():
        raise CommandError(f"{arguments.fold}: there is no such folder")
    from nnunet_attention.files import require_writable
    from nnunet_attention.maps.evolution import draw_evolution
    from nnunet_attention.maps.training_record import FOLDER
    from nnunet_attention.nnunet.dataset_json import read_dataset_json

    description = arguments.fold.absolute().parent / "dataset.json"
    labels = read_dataset_json(description, ending=False)["labels"]
    folder = arguments.output or arguments.fold / FOLDER
    require_writable(folder, "-o")
    for path in draw_evolution(arguments.fold, folder, labels):
        print(path)
    return 0
