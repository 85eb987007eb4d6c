"""`nnunet-attention maps`: predicts as nnUNetv2_predict does, and shows where the gates look."""

import argparse
from pathlib import Path

from nnunet_attention.cli.prediction_arguments import (
    add_engine,
    add_folders,
    add_model,
    add_probabilities,
    add_running,
    engine_choice,
    given,
)

HELP = (
    "predict images and write the attention maps of every gate in the images' space, with a "
    "picture of each case; takes the flags of nnUNetv2_predict"
)
_TRAINER = "AttentionUNetTrainer"
_PROCESSES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add images, model and how it is run; options of nnUNetv2_predict keep their names."""
    add_folders(
        parser,
        "folder for the segmentations, as nnUNetv2_predict writes them; maps, picture and "
        "statistics of a case go to OUT/maps/CASE",
    )
    add_model(parser, _TRAINER, "folds, averaged in segmentation and maps")
    shown = parser.add_argument_group("what is written")
    shown.add_argument(
        "--features",
        action="store_true",
        help="also the activation of each skip connection before and after its gate, averaged over "
        "channels",
    )
    shown.add_argument(
        "--html", action="store_true",
        help="also write a page per case for scrolling through its slices, in any browser, offline",
    )  # fmt: skip
    shown.add_argument("--no_pictures", action="store_true", help="no PNG")
    shown.add_argument(
        "--full_range", action="store_true",
        help="colours of the picture from 0 to 1 (default: each map's 1st to 99th percentile)",
    )  # fmt: skip
    shown.add_argument(
        "-gt", type=Path, metavar="LABELS", dest="reference_folder",
        help="folder of label images to show beside the predictions",
    )  # fmt: skip
    shown.add_argument(
        "--proof", type=Path, metavar="FILE", dest="proof",
        help="this model's ablation.json, written by nnunet-attention ablate: shows what each gate "
        "does for the segmentation beside its map",
    )  # fmt: skip
    add_probabilities(shown)
    running = parser.add_argument_group("running")
    add_engine(running, "torch")
    add_running(running, str(_PROCESSES))


def run(arguments: argparse.Namespace) -> int:
    """Predict, and print where the maps are."""
    from nnunet_attention.engines import TORCH
    from nnunet_attention.evaluation.ablation.proof import read_proof
    from nnunet_attention.maps.export import MapOptions
    from nnunet_attention.maps.folder_prediction import FolderPrediction, predict_folder

    predict_folder(
        FolderPrediction(
            **given(arguments, _TRAINER, _PROCESSES),
            engine=engine_choice(arguments, TORCH),
            options=MapOptions(
                features=arguments.features,
                picture=not arguments.no_pictures,
                page=arguments.html,
                full_range=arguments.full_range,
                reference_folder=arguments.reference_folder,
                proof=None if arguments.proof is None else read_proof(arguments.proof),
            ),
        )
    )
    print(f"segmentations: {arguments.output}\nmaps: {arguments.output / 'maps'}")
    return 0
