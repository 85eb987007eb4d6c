"""Where the study keeps what in its working folder."""

from __future__ import annotations

from pathlib import Path

from benchmarks.hippocampus.schedules import Variant
from benchmarks.where_gates_help.design import SEEDS, Data, Part
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.model_folders import ModelName


def folders(work: Path) -> Folders:
    """Return nnU-Net's folders of the study."""
    return Folders(
        *(work / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"))
    )


def seed_folders(work: Path, seed: int) -> Folders:
    """Return the folders of the trainings with a seed, a repeat of the cross-validation."""
    return folders(work).of_repeat(SEEDS.index(seed) + 1)


def warm_folders(work: Path, seed: int) -> Folders:
    """Return the folders of the trainings that started from the stock network of a seed."""
    cold = folders(work)
    return Folders(cold.raw, cold.preprocessed, work / "warm" / f"seed_{seed}")


def model_folder(results: Path, part: Part, data: Data, network: Variant) -> Path:
    """Return nnU-Net's folder of a trained model."""
    name = ModelName(network.trainer, network.plans, part.configuration)
    return results / data.dataset / name.folder


def shifted_folder(work: Path, part: Part, data: Data, network: Variant, seed: int) -> Path:
    """Return the folder of the predictions of the out-of-domain images, with their summary."""
    place = work / "shifted" / part.configuration / data.dataset
    return place / network.folder / f"seed_{seed}"


def mapped_folder(work: Path, part: Part, data: Data, network: Variant) -> Path:
    """Return where the maps of some validation cases are."""
    return work / "maps" / part.configuration / data.dataset / network.folder


def ablated_folder(work: Path, part: Part, data: Data, network: Variant) -> Path:
    """Return where the ablation of a network's gates is, of the cases that have maps."""
    return work / "ablations" / part.configuration / data.dataset / network.folder


def task_folder(work: Path, data: Data) -> Path:
    """Return the task folder of a phantom."""
    return work / "tasks" / f"Task{data.number:02d}_Distractors"
