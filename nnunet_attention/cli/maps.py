"""`nnunet-attention maps`: predicts as nnUNetv2_predict does, and shows where the gates look."""

import argparse
import os
import sys
from pathlib import Path

from nnunet_attention.cli.numbers import not_negative, positive
from nnunet_attention.cli.progress import case_lines
from nnunet_attention.cli.shared_arguments import (
    ALL_FOLDS,
    add_device,
    add_folds,
    refuse_ignored,
)
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.planners import STOCK_PLANS

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
    model = parser.add_argument_group("model", "either its folder, or what it was trained with")
    model.add_argument(
        "-m", type=Path, metavar="MODEL_FOLDER", dest="model_folder",
        help="the folder TRAINER__PLANS__CONFIGURATION",
    )  # fmt: skip
    model.add_argument("-d", metavar="ID", dest="dataset", help="data set, by number or name")
    model.add_argument("-c", metavar="CONFIG", dest="configuration", help="such as 3d_fullres")
    model.add_argument(
        "-tr", metavar="TRAINER", dest="trainer", help="trainer (default: AttentionUNetTrainer)"
    )  # fmt: skip
    model.add_argument("-p", metavar="PLANS", dest="plans", help=f"plans (default: {STOCK_PLANS})")
    add_folds(model, "folds, averaged in segmentation and maps (default: 0 1 2 3 4)", ALL_FOLDS)
    model.add_argument(
        "-chk", metavar="NAME", dest="checkpoint", default=FINAL,
        help=f"name of the checkpoints (default: {FINAL})",
    )  # fmt: skip
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
        "--save_probabilities", action="store_true", help="also nnU-Net's probabilities"
    )
    running = parser.add_argument_group("running")
    add_device(running)
    running.add_argument(
        "-step_size", type=_step_size, default=0.5, metavar="SHARE",
        help="step from one position to the next, as a share of the patch (default: 0.5)",
    )  # fmt: skip
    running.add_argument(
        "--disable_tta", "--no-mirroring", action="store_true", help="no mirroring"
    )
    running.add_argument(
        "--continue_prediction", "--c", action="store_true",
        help="keep the cases that are complete, and go on with the others",
    )  # fmt: skip
    running.add_argument(
        "-prev_stage_predictions", type=Path, metavar="FOLDER", dest="previous_stage",
        help="segmentations of the previous stage, for a cascade",
    )  # fmt: skip
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
    from nnunet_attention.maps.export import MapOptions
    from nnunet_attention.maps.folder_prediction import FolderPrediction, predict_folder

    terminal = sys.stderr.isatty()
    predict_folder(
        FolderPrediction(
            images=arguments.images,
            output=arguments.output,
            model_folder=_model_folder(arguments),
            folds=arguments.folds,
            checkpoint=arguments.checkpoint,
            options=MapOptions(
                features=arguments.features,
                picture=not arguments.no_pictures,
                page=arguments.html,
                full_range=arguments.full_range,
                reference_folder=arguments.reference_folder,
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


def _model_folder(arguments: argparse.Namespace) -> Path:
    if (arguments.dataset is None) == (arguments.model_folder is None):
        raise CommandError("give either the model's folder with -m, or -d and -c")
    if arguments.model_folder is not None:
        refuse_ignored(
            {"-c": arguments.configuration, "-tr": arguments.trainer, "-p": arguments.plans},
            "with -m: the folder tells them; leave them out",
        )
        return arguments.model_folder
    if arguments.configuration is None:
        raise CommandError("-d needs -c too, such as -c 3d_fullres")
    from nnunet_attention.maps.trained_model import trained_model_folder

    return trained_model_folder(
        arguments.dataset,
        arguments.configuration,
        arguments.trainer or "AttentionUNetTrainer",
        arguments.plans or STOCK_PLANS,
    )


def _from_environment(name: str) -> int:
    """Read nnU-Net's variable nnUNet_npp or nnUNet_nps; what is no number is passed over."""
    text = os.environ.get(f"nnUNet_{name}", "")
    return int(text) if text.isdigit() else 3


def _step_size(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return number
