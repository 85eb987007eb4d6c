"""Adds and reads the arguments of commands that predict, named as in nnUNetv2_predict."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from nnunet_attention.cli.numbers import not_negative, number_or_nan, positive
from nnunet_attention.cli.shared_arguments import (
    ALL_FOLDS,
    Parser,
    add_device,
    add_folds,
    refuse_ignored,
)
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.planners import STOCK_PLANS

# The engines of nnunet_attention.engines, which the parser must not import because it loads torch.
ENGINES = ("torch", "openvino", "onnxruntime")
PRECISIONS = ("f32", "bf16", "f16")
RESAMPLINGS = ("nnunet", "device")


def add_folders(parser: argparse.ArgumentParser, output: str) -> None:
    """Add `-i` and `-o`."""
    parser.add_argument(
        "-i", type=Path, required=True, metavar="IMAGES", dest="images",
        help="folder of images, named CASE_0000 with the data set's file ending",
    )  # fmt: skip
    parser.add_argument("-o", type=Path, required=True, metavar="OUT", dest="output", help=output)


def add_model(parser: argparse.ArgumentParser, trainer: str, folds: str) -> None:
    """Add `-m`, or `-d -c -tr -p`, and `-f` and `-chk`.

    Args:
        parser: the command's parser.
        trainer: the default of `-tr`.
        folds: what the folds are for.
    """
    model = parser.add_argument_group("model", "either its folder, or what it was trained with")
    model.add_argument(
        "-m", type=Path, metavar="MODEL_FOLDER", dest="model_folder",
        help="the folder TRAINER__PLANS__CONFIGURATION",
    )  # fmt: skip
    model.add_argument("-d", metavar="ID", dest="dataset", help="data set, by number or name")
    model.add_argument("-c", metavar="CONFIG", dest="configuration", help="such as 3d_fullres")
    model.add_argument(
        "-tr", metavar="TRAINER", dest="trainer", help=f"trainer (default: {trainer})"
    )  # fmt: skip
    model.add_argument("-p", metavar="PLANS", dest="plans", help=f"plans (default: {STOCK_PLANS})")
    add_folds(model, f"{folds} (default: 0 1 2 3 4)", ALL_FOLDS)
    model.add_argument(
        "-chk", metavar="NAME", dest="checkpoint", default=FINAL,
        help=f"name of the checkpoints (default: {FINAL})",
    )  # fmt: skip


def add_probabilities(parser: Parser) -> None:
    """Add `--save_probabilities`."""
    parser.add_argument(
        "--save_probabilities", action="store_true", help="also save nnU-Net's probabilities"
    )


def add_engine(parser: Parser, default: str) -> None:
    """Add `--engine`, `--precision` and `--cache`.

    Args:
        parser: a parser or a group of one.
        default: what the help says about the default engine.
    """
    parser.add_argument(
        "--engine", choices=ENGINES, help=f"what runs the network on a CPU (default: {default})"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS,
        help="precision it computes with; bf16 needs a processor with such instructions (default: "
        "f32)",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER",
        help="folder for networks prepared for an engine (default: engines in the model's folder)",
    )  # fmt: skip


def add_resampling(parser: Parser) -> None:
    """Add `--resampling`."""
    parser.add_argument(
        "--resampling", choices=RESAMPLINGS,
        help="what resamples images and logits: nnU-Net's functions on a CPU, or torch on the "
        "device, which is several times as fast and gives the same results within 1e-5 (default: "
        "device with -device cpu, else nnunet)",
    )  # fmt: skip


def add_running(running: Parser, processes: str) -> None:
    """Add the options for how the prediction runs.

    Args:
        running: a group.
        processes: what the help says about the default of `-npp` and `-nps`, after nnU-Net's
            variable.
    """
    add_device(running)
    add_sliding_window(running)
    running.add_argument(
        "--continue_prediction", "--c", action="store_true",
        help="keep complete cases and continue with the others",
    )  # fmt: skip
    add_previous_stage(running)
    for name, what in (("npp", "preprocessing"), ("nps", "export")):
        running.add_argument(
            f"-{name}", type=not_negative, metavar="N",
            help=f"processes for {what}; 0: in this process (default: nnUNet_{name}, or "
            f"{processes})",
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
        help="the part that this command predicts, 0 to N - 1 (default: 0)",
    )
    running.add_argument("--disable_progress_bar", action="store_true", help="no progress bars")
    running.add_argument("--verbose", action="store_true", help="more of nnU-Net's messages")


def add_sliding_window(parser: Parser) -> None:
    """Add `-step_size` and `--disable_tta`."""
    parser.add_argument(
        "-step_size", type=_step_size, default=0.5, metavar="SHARE",
        help="step from one position to the next, as a share of the patch (default: 0.5)",
    )  # fmt: skip
    parser.add_argument("--disable_tta", "--no-mirroring", action="store_true", help="no mirroring")


def add_previous_stage(parser: Parser) -> None:
    """Add `-prev_stage_predictions`."""
    parser.add_argument(
        "-prev_stage_predictions", type=Path, metavar="FOLDER", dest="previous_stage",
        help="segmentations of the previous stage, for a cascade",
    )  # fmt: skip


def given(arguments: argparse.Namespace, trainer: str, processes: int) -> dict[str, Any]:
    """Return the given options as the arguments of a FolderPrediction, except for the engine.

    Args:
        arguments: parsed arguments of all functions of this module.
        trainer: the default of `-tr`.
        processes: the default of `-npp` and `-nps`.

    Raises:
        CommandError: if the model is not named, or named twice.
    """
    from nnunet_attention.cli.progress import case_lines

    terminal = sys.stderr.isatty()
    return {
        "images": arguments.images,
        "output": arguments.output,
        "model_folder": model_folder(arguments, trainer),
        "folds": arguments.folds,
        "checkpoint": arguments.checkpoint,
        "previous_stage": arguments.previous_stage,
        "device": arguments.device,
        "step_size": arguments.step_size,
        "mirroring": not arguments.disable_tta,
        "stitch_on_device": not arguments.not_on_device,
        "save_probabilities": arguments.save_probabilities,
        "keep_complete": arguments.continue_prediction,
        "preprocessing_processes": _processes(arguments.npp, "npp", processes),
        "export_processes": _processes(arguments.nps, "nps", processes),
        "number_of_parts": arguments.num_parts,
        "part": arguments.part_id,
        # In a log, each step of a bar would be a line.
        "progress_bars": terminal and not arguments.disable_progress_bar,
        "verbose": arguments.verbose,
        "on_progress": (lambda done, total: None) if terminal else case_lines("predicting"),
        "tell": lambda line: print(line, file=sys.stderr),
    }


def engine_choice(arguments: argparse.Namespace, default: str | None):
    """Return the EngineChoice of the arguments.

    Args:
        arguments: parsed arguments of `add_engine` and `add_device`.
        default: the engine on a CPU; None for the fastest that is installed.

    Raises:
        CommandError: if an engine was chosen for a GPU.
    """
    from nnunet_attention.engines import TORCH, EngineChoice

    if arguments.device != "cpu":
        refuse_ignored(
            {"--engine": arguments.engine, "--precision": arguments.precision}
            | {"--cache": arguments.cache},
            f"with -device {arguments.device}, where torch runs the network as in nnU-Net; leave "
            "them out, or give -device cpu",
        )
        default = TORCH
    engine = arguments.engine or default
    if engine == TORCH:
        refuse_ignored(
            {"--cache": arguments.cache}, "with torch, which needs nothing prepared; leave it out"
        )
    return EngineChoice(engine, arguments.precision or PRECISIONS[0], arguments.cache)


def model_folder(arguments: argparse.Namespace, trainer: str) -> Path:
    """Return the folder of the model that `add_model`'s arguments name; it need not exist.

    Raises:
        CommandError: if they name none, or name it twice.
    """
    if (arguments.dataset is None) == (arguments.model_folder is None):
        raise CommandError("give either the model's folder with -m, or -d and -c")
    if arguments.model_folder is not None:
        refuse_ignored(
            {"-c": arguments.configuration, "-tr": arguments.trainer, "-p": arguments.plans},
            "with -m, as the folder determines them; leave them out",
        )
        return arguments.model_folder
    if arguments.configuration is None:
        raise CommandError("-d needs -c too, such as -c 3d_fullres")
    from nnunet_attention.prediction.trained_model import trained_model_folder

    return trained_model_folder(
        arguments.dataset,
        arguments.configuration,
        arguments.trainer or trainer,
        arguments.plans or STOCK_PLANS,
    )


def _processes(number: int | None, name: str, default: int) -> int:
    """Return the given number, else nnU-Net's variable if it is a number, else the default."""
    if number is not None:
        return number
    text = os.environ.get(f"nnUNet_{name}", "")
    return int(text) if text.isdecimal() else default


def _step_size(text: str) -> float:
    share = number_or_nan(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0 and at most 1")
    return share
