"""Adds the arguments of commands that predict with a trained model, as nnUNetv2_predict has."""

import argparse
from pathlib import Path

from nnunet_attention.cli.shared_arguments import ALL_FOLDS, Parser, add_folds, refuse_ignored
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.planners import STOCK_PLANS


def add_model(parser: argparse.ArgumentParser, meaning_of_folds: str) -> None:
    """Add `-m`, or `-d -c -tr -p`, see `model_folder`; and `-f` and `-chk`."""
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
    add_folds(model, meaning_of_folds, ALL_FOLDS)
    model.add_argument(
        "-chk", metavar="NAME", dest="checkpoint", default=FINAL,
        help=f"name of the checkpoints (default: {FINAL})",
    )  # fmt: skip


def model_folder(arguments: argparse.Namespace) -> Path:
    """Return the folder of the model that `add_model`'s arguments name; it need not exist.

    Raises:
        CommandError: if they name none, or name it twice.
    """
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


def _step_size(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return number
