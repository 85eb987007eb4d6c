"""`nnunet-attention predict`: predicts as nnUNetv2_predict does, but faster on a CPU."""

import argparse

from nnunet_attention.cli.prediction_arguments import (
    add_engine,
    add_folders,
    add_model,
    add_probabilities,
    add_resampling,
    add_running,
    engine_choice,
    given,
)

HELP = (
    "predict images with any nnU-Net model; on a CPU, OpenVINO or onnxruntime runs the network; "
    "takes the flags of nnUNetv2_predict"
)
_TRAINER = "nnUNetTrainer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add images, model and how it is run; options of nnUNetv2_predict keep their names."""
    add_folders(parser, "folder for the segmentations, as nnUNetv2_predict writes them")
    add_model(parser, _TRAINER, "folds, averaged")
    add_engine(
        parser,
        "openvino, onnxruntime or torch: the first that is installed and computes in --precision",
    )
    running = parser.add_argument_group("running")
    add_probabilities(running)
    add_resampling(running)
    add_running(running, "0 with -device cpu or --resampling device, else 3")


def run(arguments: argparse.Namespace) -> int:
    """Predict, and print where the segmentations are."""
    from nnunet_attention.prediction.folder_prediction import FolderPrediction, predict_folder

    resampling = arguments.resampling or ("device" if arguments.device == "cpu" else "nnunet")
    # With all work on one device, processes would only cost start-up time and device memory.
    in_this_process = arguments.device == "cpu" or resampling == "device"
    predict_folder(
        FolderPrediction(
            **given(arguments, _TRAINER, processes=0 if in_this_process else 3),
            engine=engine_choice(arguments, None),
            resampling=resampling,
        )
    )
    print(f"segmentations: {arguments.output}")
    return 0
