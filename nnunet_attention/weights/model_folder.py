"""Upgrades a whole model folder, as nnU-Net's training writes it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nnunet_attention.errors import CommandError
from nnunet_attention.files import (
    disk_error,
    folder_written_beside,
    parse_json,
    require_writable,
    write_json,
)
from nnunet_attention.nnunet.checkpoints import BEST, FINAL
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, check_dataset_json
from nnunet_attention.nnunet.model_folders import PLANS_JSON, fold_folders
from nnunet_attention.weights.checkpoint import load_checkpoint, save_checkpoint
from nnunet_attention.weights.upgrade import plans_with_full_resolution_gate, upgrade_checkpoint

# checkpoint_latest is for resuming an unfinished training.
_CHECKPOINTS = (FINAL, BEST)
_COPIED_IF_PRESENT = ("dataset_fingerprint.json",)


class UpgradedModelFolder(NamedTuple):
    """Tells what was written into an upgraded model folder.

    `checkpoints` maps paths in the folder, such as `fold_0/checkpoint_final.pth`, to the largest
    difference of logits (see `UpgradedCheckpoint`), and `folds` maps them to the name of the fold;
    `plans` is the content of its plans.json.
    """

    plans: dict
    configuration_name: str
    checkpoints: dict[Path, float]
    folds: dict[Path, str]


def upgrade_model_folder(
    source: str | Path,
    target: str | Path,
    *,
    gate_full_resolution: bool = False,
    on_checkpoint: Callable[[Path], None] | None = None,
) -> UpgradedModelFolder:
    """Write a model folder whose networks have gates and predict what `source` predicts.

    plans.json, dataset.json, dataset_fingerprint.json and every fold's final and best checkpoint
    are taken over. Logs, validation results and post-processing belong to the plain model and are
    left out.

    Args:
        source: a plain model's folder, such as `.../nnUNetTrainer__nnUNetPlans__3d_fullres`.
        target: the new folder; it must be empty or not exist.
        gate_full_resolution: see `upgrade_checkpoint`; the new plans.json records it.
        on_checkpoint: called with the path of every checkpoint, relative to `source`, before it is
            upgraded.

    Raises:
        CommandError: if `source` is not a model folder, `target` is not free, or a checkpoint
            cannot be upgraded. In this case nothing is written.
    """
    source, target = Path(source), Path(target)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise CommandError(
            f"{target} exists already and is not an empty folder; choose another name for -o, or "
            f"remove it"
        )
    require_writable(target.parent, "-o")
    if not target.parent.is_dir():
        raise CommandError(f"cannot write {target}: create the folder {target.parent} first")
    plans = _read_json(source / PLANS_JSON)
    dataset_json = _read_json(source / DATASET_JSON)
    check_dataset_json(dataset_json, str(source / DATASET_JSON), channels=True)
    folds = {
        (folder / name).relative_to(source): fold
        for fold, folder in fold_folders(source)
        for name in _CHECKPOINTS
        if (folder / name).is_file()
    }
    if not folds:
        raise CommandError(
            f"{source} has no trained fold: looked for fold_*/{' and fold_*/'.join(_CHECKPOINTS)}"
        )

    try:
        with folder_written_beside(target) as unfinished:
            differences, configuration_names = {}, []
            for path in folds:
                if on_checkpoint is not None:
                    on_checkpoint(path)
                checkpoint = load_checkpoint(source / path)
                configuration_names.append(checkpoint["init_args"]["configuration"])
                try:
                    upgraded = upgrade_checkpoint(
                        checkpoint,
                        plans=plans,
                        dataset_json=dataset_json,
                        gate_full_resolution=gate_full_resolution,
                    )
                except CommandError as error:
                    raise CommandError(f"cannot upgrade {source / path}: {error}") from error
                (unfinished / path.parent).mkdir(exist_ok=True)
                save_checkpoint(upgraded.checkpoint, unfinished / path)
                differences[path] = upgraded.difference
            configuration_name = configuration_names[0]
            if set(configuration_names) != {configuration_name}:
                raise CommandError(
                    f"the checkpoints in {source} belong to several configurations "
                    f"({', '.join(sorted(set(configuration_names)))}); a model folder has only one"
                )

            for name in (DATASET_JSON, PLANS_JSON, *_COPIED_IF_PRESENT):
                if (source / name).is_file():
                    shutil.copyfile(source / name, unfinished / name)
            if gate_full_resolution:
                plans = plans_with_full_resolution_gate(plans, configuration_name)
                write_json(unfinished / PLANS_JSON, plans, indent=4, allow_nan=True)
    except OSError as error:
        raise CommandError(f"cannot write {target}: {disk_error(error)}") from error
    return UpgradedModelFolder(plans, configuration_name, differences, folds)


def _read_json(path: Path) -> dict:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CommandError(
            f"{path.parent} is not an nnU-Net model folder: {path.name} is missing; expected the "
            "folder TRAINER__PLANS__CONFIGURATION that holds it and fold_0, fold_1, ..."
        ) from error
    except (OSError, ValueError) as error:
        raise CommandError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise CommandError(f"{path} holds a {type(content).__name__}; expected a JSON object")
    return content
