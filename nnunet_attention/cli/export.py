"""`nnunet-attention export`: writes a trained model for programs without torch and nnU-Net."""

import argparse
import sys
from pathlib import Path

from nnunet_attention.cli.shared_arguments import add_folds
from nnunet_attention.nnunet.checkpoints import FINAL

HELP = (
    "write any trained nnU-Net model as ONNX, with everything that a program in another language "
    "needs to segment with it, and such a program in Python"
)
# `portable.exporting`, which imports torch, says why bf16 is none.
_PRECISIONS = ("f32", "f16", "bf16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the target and the contents of the export."""
    parser.add_argument(
        "source", type=Path, metavar="MODEL_FOLDER",
        help="the folder TRAINER__PLANS__CONFIGURATION",
    )  # fmt: skip
    parser.add_argument(
        "-o", dest="target", type=Path, required=True, metavar="OUT", help="folder to write"
    )
    add_folds(parser, "folds, one network each (default: all that have the checkpoint)")
    parser.add_argument(
        "-chk", metavar="NAME", dest="checkpoint", default=FINAL,
        help=f"name of the checkpoints (default: {FINAL})",
    )  # fmt: skip
    parser.add_argument(
        "--coefficients", action="store_true",
        help="also output the attention gates' coefficients",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=_PRECISIONS, default="f32", metavar="{f32,f16}",
        help="precision of the weights: f16 halves the files and is meant for GPUs; images and "
        "logits stay in 32 bits (default: f32)",
    )  # fmt: skip
    parser.add_argument(
        "--dynamic", action="store_true",
        help="allow patches of any size that fits the network's strides (default: only the plans' "
        "size)",
    )  # fmt: skip
    parser.add_argument(
        "--pt2", action="store_true",
        help="also write each network for torch.export.load: logits only, for patches of the "
        "plans' size",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in OUT")


def run(arguments: argparse.Namespace) -> int:
    """Export, and print how exact the exported model is."""
    from nnunet_attention.portable import ExportOptions, export_model

    content = export_model(
        arguments.source,
        arguments.target,
        arguments.folds,
        arguments.checkpoint,
        ExportOptions(
            coefficients=arguments.coefficients,
            precision=arguments.precision,
            dynamic_patch=arguments.dynamic,
            program=arguments.pt2,
        ),
        overwrite=arguments.overwrite,
        on_fold=lambda fold: print(f"fold {fold}", file=sys.stderr),
    )
    for network in content["networks"]:
        print(
            f"{arguments.target / network['file']}: differs from torch by "
            f"{network['largest_difference']['logits']:.1e}, with logits up to "
            f"{network['largest_logit']:.1f}"
        )
    print(f"how to use it: {arguments.target / 'README.md'}")
    return 0
