"""Upgrades a checkpoint or a model folder, and says how nnU-Net's commands use the result."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from nnunetv2.paths import nnUNet_results

from nnunet_attention.nnunet.checkpoints import BEST, FINAL
from nnunet_attention.nnunet.model_folders import ModelName
from nnunet_attention.nnunet.planners import STOCK_PLANS
from nnunet_attention.weights.mirrored import mirrored_axes, mirroring_note
from nnunet_attention.weights.model_folder import UpgradedModelFolder, upgrade_model_folder
from nnunet_attention.weights.upgrade import TRAINER_NAME, upgrade_checkpoint_file


def guided_upgrade(
    source: Path,
    target: Path,
    *,
    gate_full_resolution: bool = False,
    on_checkpoint: Callable[[Path], None] | None = None,
) -> list[str]:
    """Upgrade a checkpoint or model folder, and return lines on what was written and its use.

    Args:
        source: a plain checkpoint, or the folder of a plain model.
        target: the checkpoint, or the folder, to write; must not exist.
        gate_full_resolution: see `upgrade_checkpoint`.
        on_checkpoint: for a model folder, see `upgrade_model_folder`; not called for a checkpoint.

    Raises:
        CommandError: see `upgrade_checkpoint_file` and `upgrade_model_folder`.
    """
    if source.is_dir():
        folder = upgrade_model_folder(
            source, target, gate_full_resolution=gate_full_resolution, on_checkpoint=on_checkpoint
        )
        return _about_folder(target, folder)
    checkpoint, difference = upgrade_checkpoint_file(
        source, target, gate_full_resolution=gate_full_resolution
    )
    lines = _about_checkpoint(target, checkpoint["init_args"], difference)
    weights = checkpoint.get("network_weights", {}).values()
    number_of_axes = max((value.ndim for value in weights), default=2) - 2
    note = mirroring_note(mirrored_axes(checkpoint), number_of_axes)
    if note is not None:
        lines.append(f"{TRAINER_NAME} mirrors images along all axes; {note}")
    if gate_full_resolution:
        lines.append(
            'use plans that have "gate_full_resolution": true in arch_kwargs; other plans build '
            "no gate there, and this package's trainers then refuse the weights"
        )
    return lines


def _about_checkpoint(target: Path, init_arguments: Mapping, difference: float) -> list[str]:
    plans = init_arguments["plans"]
    train = shlex.join(
        [
            "nnUNetv2_train",
            str(plans.get("dataset_name", "DATASET")),
            init_arguments["configuration"],
            str(init_arguments.get("fold", 0)),
            *("-p", str(plans.get("plans_name", STOCK_PLANS))),
            *("-tr", TRAINER_NAME),
            *("-pretrained_weights", str(target)),
        ]
    )
    return [*_written(target, difference), f"start a training from it:\n  {train}"]


def _about_folder(target: Path, folder: UpgradedModelFolder) -> list[str]:
    plans_name = str(folder.plans.get("plans_name", STOCK_PLANS))
    dataset_name = str(folder.plans.get("dataset_name", "DATASET"))
    which = _folds_and_checkpoint(folder.folds)
    files = ["-i", "IMAGES", "-o", "SEGMENTATIONS"]
    by_folder = shlex.join(["nnUNetv2_predict_from_modelfolder", *files, "-m", str(target), *which])
    lines = [
        *_written(target, max(folder.checkpoints.values())),
        f"predict with it:\n  {by_folder}",
    ]
    results = nnUNet_results.get()
    if results and Path(results).resolve() in target.resolve().parents:
        name = ModelName(TRAINER_NAME, plans_name, folder.configuration_name)
        place = Path(results, dataset_name, name.folder)
        by_name = shlex.join(
            [
                *("nnUNetv2_predict", *files, "-d", dataset_name, "-p", plans_name),
                *("-c", folder.configuration_name, "-tr", TRAINER_NAME, *which),
            ]
        )
        if target.resolve() == place.resolve():
            lines.append(f"or by name:\n  {by_name}")
        else:
            lines.append(f"nnUNetv2_predict finds it only as {place}")
    return lines


def _written(target: Path, difference: float) -> list[str]:
    return [f"wrote {target}", f"largest difference in logits on random input: {difference:g}"]


def _folds_and_checkpoint(folds: Mapping[Path, str]) -> list[str]:
    """Return prediction options for the folds with final checkpoints, or else for the best ones."""
    final = [fold for path, fold in folds.items() if path.name == FINAL]
    return ["-f", *final] if final else ["-f", *folds.values(), "-chk", BEST]
