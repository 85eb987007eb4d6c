"""`nnunet-attention maps`: predicts as nnUNetv2_predict does, and shows where the gates look."""

import argparse
import os
import sys
from pathlib import Path

from nnunet_attention.cli.model_arguments import (
    add_model,
    add_previous_stage,
    add_sliding_window,
    model_folder,
)
from nnunet_attention.cli.numbers import not_negative, positive
from nnunet_attention.cli.progress import case_lines
from nnunet_attention.cli.shared_arguments import add_device

HELP = (
    "predict images and write the attention maps of every gate in the images' space, with a "
    "picture of each case; flags as nnUNetv2_predict has them"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add images, model, and how it is run; what nnUNetv2_predict has is called as there."""
    parser.add_argument(
        "-i", type=Path, required=True, metavar="IMAGES", dest="images",
        help="folder of images, named CASE_0000 with the data set's file ending",
    )  # fmt: skip
    parser.add_argument(
        "-o",
        type=Path,
        required=True,
        metavar="OUT",
        dest="output",
        help="folder for the segmentations, as nnUNetv2_predict writes them; maps, picture and "
        "statistics of a case go to OUT/maps/CASE",
    )
    add_model(parser, "folds, averaged in segmentation and maps (default: 0 1 2 3 4)")
    shown = parser.add_argument_group("what is written")
    shown.add_argument(
        "--features",
        action="store_true",
        help="also the activation of each skip connection before and after its gate, averaged over "
        "channels",
    )
    shown.add_argument(
        "--html", action="store_true",
        help="also a page for each case to scroll through its slices, in any browser, offline",
    )  # fmt: skip
    shown.add_argument("--no_pictures", action="store_true", help="no PNG")
    shown.add_argument(
        "--full_range", action="store_true",
        help="colours of the picture from 0 to 1 (default: each map's 1st to 99th percentile)",
    )  # fmt: skip
    shown.add_argument(
        "-gt", type=Path, metavar="LABELS", dest="reference_folder",
        help="folder of label images, to be shown beside the predictions",
    )  # fmt: skip
    shown.add_argument(
        "--proof", type=Path, metavar="FILE", dest="proof",
        help="ablation.json of this model, as nnunet-attention ablate writes it: what each gate "
        "does for the segmentation is shown beside its map",
    )  # fmt: skip
    shown.add_argument(
        "--save_probabilities", action="store_true", help="also nnU-Net's probabilities"
    )
    running = parser.add_argument_group("running")
    add_device(running)
    add_sliding_window(running)
    running.add_argument(
        "--continue_prediction", "--c", action="store_true",
        help="keep the cases that are complete, and go on with the others",
    )  # fmt: skip
    add_previous_stage(running)
    for name, what in (("npp", "preprocessing"), ("nps", "export")):
        running.add_argument(
            f"-{name}", type=not_negative, metavar="N", default=_from_environment(name),
            help=f"processes for {what}; 0: in this one (default: nnUNet_{name}, or 3)",
        )  # fmt: skip
    running.add_argument(
        "--not_on_device", action="store_true",
        help="stitch in main memory, for images too large for the GPU's",
    )  # fmt: skip
    running.add_argument(
        "-num_parts", type=positive, default=1, metavar="N",
        help="share the cases among N commands, each with its own -part_id (default: 1)",
    )  # fmt: skip
    running.add_argument(
        "-part_id",
        type=not_negative,
        default=0,
        metavar="N",
        help="the part that this command does, 0 to N - 1 (default: 0)",
    )
    running.add_argument("--disable_progress_bar", action="store_true", help="no progress bars")
    running.add_argument("--verbose", action="store_true", help="more of nnU-Net's messages")


def run(arguments: argparse.Namespace) -> int:
    """Predict, and print where the maps are."""
    from nnunet_attention.evaluation.ablation.proof import read_proof
    from nnunet_attention.maps.export import MapOptions
    from nnunet_attention.maps.folder_prediction import FolderPrediction, predict_folder

    terminal = sys.stderr.isatty()
    predict_folder(
        FolderPrediction(
            images=arguments.images,
            output=arguments.output,
            model_folder=model_folder(arguments),
            folds=arguments.folds,
            checkpoint=arguments.checkpoint,
            options=MapOptions(
                features=arguments.features,
                picture=not arguments.no_pictures,
                page=arguments.html,
                full_range=arguments.full_range,
                reference_folder=arguments.reference_folder,
                proof=None if arguments.proof is None else read_proof(arguments.proof),
            ),
            previous_stage=arguments.previous_stage,
            device=arguments.device,
            step_size=arguments.step_size,
            mirroring=not arguments.disable_tta,
            stitch_on_device=not arguments.not_on_device,
            save_probabilities=arguments.save_probabilities,
            keep_complete=arguments.continue_prediction,
            preprocessing_processes=arguments.npp,
            export_processes=arguments.nps,
            number_of_parts=arguments.num_parts,
            part=arguments.part_id,
            # In a log each step of a bar would be a line.
            progress_bars=terminal and not arguments.disable_progress_bar,
            verbose=arguments.verbose,
            on_progress=(lambda done, total: None) if terminal else case_lines("predicting"),
        )
    )
    print(f"segmentations: {arguments.output}\nmaps: {arguments.output / 'maps'}")
    return 0


def _from_environment(name: str) -> int:
    """Read nnU-Net's variable nnUNet_npp or nnUNet_nps; what is no number is passed over."""
    text = os.environ.get(f"nnUNet_{name}", "")
    return int(text) if text.isdigit() else 3
