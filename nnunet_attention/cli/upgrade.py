"""`nnunet-attention upgrade`: adds attention gates to trained plain networks."""

import argparse
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

HELP = (
    "add attention gates to a trained plain nnU-Net, one checkpoint or a whole model folder, "
    "without changing what it predicts"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the source, the target and the network's option."""
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
    """Upgrades, and prints the commands that use the result."""
    from nnunet_attention.weights import upgrade_checkpoint_file, upgrade_model_folder

    source, target = arguments.source, arguments.target
    option = {"gate_full_resolution": arguments.gate_full_resolution}
    if source.is_dir():
        folder = upgrade_model_folder(
            source, target, **option, on_checkpoint=lambda path: print(path, file=sys.stderr)
        )
        lines = _about_folder(target, folder)
    else:
        checkpoint, difference = upgrade_checkpoint_file(source, target, **option)
        lines = _about_checkpoint(target, checkpoint["init_args"], difference, **option)
    print("\n".join(lines))
    return 0


def _about_checkpoint(
    target: Path, init_arguments: dict, difference: float, gate_full_resolution: bool
) -> list[str]:
    plans = init_arguments["plans"]
    train = shlex.join(
        [
            "nnUNetv2_train",
            str(plans.get("dataset_name", "DATASET")),
            init_arguments["configuration"],
            str(init_arguments.get("fold", 0)),
            *("-p", str(plans.get("plans_name", "nnUNetPlans"))),
            *("-tr", "AttentionUNetTrainer"),
            *("-pretrained_weights", str(target)),
        ]
    )
    lines = [
        f"wrote {target}",
        f"largest difference of logits on random input: {difference:g}",
        f"start a training from it:\n  {train}",
    ]
    if gate_full_resolution:
        lines.append(
            'with plans that have "gate_full_resolution": true among the arch_kwargs; other plans '
            "build no gate there, and nnU-Net would drop its weights without a word"
        )
    return lines


def _about_folder(target: Path, folder) -> list[str]:
    from nnunetv2.paths import nnUNet_results

    plans_name = str(folder.plans.get("plans_name", "nnUNetPlans"))
    dataset_name = str(folder.plans.get("dataset_name", "DATASET"))
    which = _folds_and_checkpoint(folder.checkpoints)
    files = ["-i", "IMAGES", "-o", "SEGMENTATIONS"]
    by_folder = shlex.join(["nnUNetv2_predict_from_modelfolder", *files, "-m", str(target), *which])
    lines = [
        f"wrote {target}",
        f"largest difference of logits on random input: {max(folder.checkpoints.values()):g}",
        f"predict with it:\n  {by_folder}",
    ]
    results = nnUNet_results.get()
    if results and Path(results).resolve() in target.resolve().parents:
        wanted = f"AttentionUNetTrainer__{plans_name}__{folder.configuration_name}"
        by_name = shlex.join(
            [
                *("nnUNetv2_predict", *files, "-d", dataset_name, "-p", plans_name),
                *("-c", folder.configuration_name, "-tr", "AttentionUNetTrainer", *which),
            ]
        )
        if target.resolve() == (Path(results) / dataset_name / wanted).resolve():
            lines.append(f"or by name:\n  {by_name}")
        else:
            lines.append(f"nnUNetv2_predict finds it only as {Path(results, dataset_name, wanted)}")
    return lines


def _folds_and_checkpoint(paths: Iterable[Path]) -> list[str]:
    """The options of nnU-Net's prediction for `fold_F/CHECKPOINT`, the final ones if there are."""
    final = [path for path in paths if path.name == "checkpoint_final.pth"]
    folds = [path.parent.name.removeprefix("fold_") for path in final or paths]
    return ["-f", *folds] if final else ["-f", *folds, "-chk", "checkpoint_best.pth"]
