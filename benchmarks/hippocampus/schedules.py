"""Defines the trainings: variants of the network, length, device, data and seeds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.doorway import SEARCH_PATH_VARIABLE
from nnunet_attention.nnunet.model_folders import ModelName
from nnunet_attention.nnunet.planners import STOCK_PLANS
from nnunet_attention.nnunet.precision import VARIABLE as BFLOAT16_VARIABLE
from nnunet_attention.nnunet.workers import WORKERS_VARIABLE

_ATTENTION_TRAINER = "AttentionUNetTrainer_short"


@dataclass(frozen=True)
class Variant:
    """Describes one of the networks that are compared.

    Attributes:
        name: its name in tables.
        folder: the folder of its results.
        trainer: nnU-Net's `-tr`.
        plans: nnU-Net's `-p`.
        plan_options: options of `nnunet-attention plan --from nnUNetPlans`, which makes the plans.
        trainer_folder: the folder of a trainer that is not the package's.
        variables: environment variables of its trainings, as pairs of name and value.
    """

    name: str
    folder: str
    trainer: str
    plans: str = STOCK_PLANS
    plan_options: tuple[str, ...] = ()
    trainer_folder: Path | None = None
    variables: tuple[tuple[str, str], ...] = ()

    def model_name(self, schedule: Schedule) -> str:
        """Name nnU-Net's folder of the trained model."""
        return ModelName(self.trainer, self.plans, schedule.configuration).folder


STOCK = Variant("nnU-Net", "stock", "nnUNetTrainer_short")
WIDE = Variant("wide U-Net", "wide", "WideUNetTrainer_short")
IDENTITY = Variant("Attention U-Net", "identity", _ATTENTION_TRAINER)
OPEN = Variant(
    "Attention U-Net, open start",
    "open",
    _ATTENTION_TRAINER,
    "OpenGatesPlans",
    ("--gate_start", "open"),
)
HE = Variant(
    "Attention U-Net, He start",
    "he",
    _ATTENTION_TRAINER,
    "HeGatesPlans",
    ("--gate_start", "he"),
)
FULL_RESOLUTION = Variant(
    "Attention U-Net, full resolution too",
    "full_resolution",
    _ATTENTION_TRAINER,
    "FullResolutionGatesPlans",
    ("--gate_full_resolution",),
)
OUTPUT_TRANSFORM = Variant(
    "Attention U-Net, output transform",
    "output_transform",
    _ATTENTION_TRAINER,
    "OutputTransformPlans",
    ("--output_transform",),
)
PACED = Variant(
    "Attention U-Net, at stock's pace",
    "paced",
    "PacedAttentionUNetTrainer_short",
    trainer_folder=Path(__file__).resolve().parent / "paced",
)
# Plans of its own, though they are `identity`'s, as nnU-Net names a model's folder after them.
BFLOAT16 = Variant(
    "Attention U-Net, trained in bfloat16",
    "bfloat16",
    _ATTENTION_TRAINER,
    "BFloat16Plans",
    variables=((BFLOAT16_VARIABLE, "1"),),
)
# The first is the baseline that all others are compared with.
VARIANTS = {
    variant.folder: variant
    for variant in (
        *(STOCK, WIDE, IDENTITY, OPEN, HE),
        *(FULL_RESOLUTION, OUTPUT_TRANSFORM, PACED, BFLOAT16),
    )
}


@dataclass(frozen=True)
class Schedule:
    """Describes one run list.

    Attributes:
        name: the name of its folder of results.
        dataset: nnU-Net's name of the data set.
        device: cpu or cuda.
        epochs: epochs of every fold.
        iterations: training iterations in an epoch.
        validation_iterations: iterations for the pseudo Dice in an epoch.
        batch_size: None for that of the plans.
        folds: the folds that are trained.
        runs: (folder of the variant, seed), the most informative first.
        planned: the configuration that nnU-Net plans.
        workers: processes of data augmentation; None for nnU-Net's own choice. With 0, a training
            on a CPU can be repeated exactly.
    """

    name: str
    dataset: str
    device: str
    epochs: int
    iterations: int
    validation_iterations: int
    batch_size: int | None
    folds: tuple[str, ...]
    runs: tuple[tuple[str, int], ...]
    planned: str = "3d_fullres"
    workers: int | None = None

    @property
    def configuration(self) -> str:
        """The name in the plans; a smaller batch gets its own, which inherits everything else."""
        return self.planned + (f"_batch{self.batch_size}" if self.batch_size else "")

    @property
    def recorded_epochs(self) -> tuple[int, ...]:
        """The epochs whose coefficients are recorded: early ones, and five over the training."""
        parts = {round(self.epochs * part / 5) for part in range(1, 6)}
        return tuple(sorted({1, 2, *parts} & set(range(1, self.epochs + 1))))

    def variables(self, seed: int) -> dict[str, str]:
        """Return the environment variables that tell a training its schedule and seed."""
        variables = {
            "NNUNET_ATTENTION_SHORT_SCHEDULE": (
                f"{self.epochs},{self.iterations},{self.validation_iterations}"
            ),
            "NNUNET_ATTENTION_SEED": str(seed),
            "nnUNet_attention_epochs": ",".join(map(str, self.recorded_epochs)),
            "PYTHONUNBUFFERED": "1",
        }
        if self.workers is not None:
            variables[WORKERS_VARIABLE] = str(self.workers)
        return variables

    def crossval_arguments(self, variant: Variant, processes: int) -> list[str]:
        """Return the arguments of `nnunet-attention` that train one variant."""
        return [
            *("crossval", "-d", self.dataset, "-c", self.configuration),
            *("-tr", variant.trainer, "-p", variant.plans, "-f", *self.folds),
            *("-device", self.device, "-np", str(processes), "--no-leaderboard"),
        ]


def _each(seeds: range, *folders: str) -> tuple[tuple[str, int], ...]:
    return tuple((folder, seed) for seed in seeds for folder in folders)


_STARTS = ("stock", "identity", "open", "he")
# The starts decide the default; variants of what is gated, or follows the product, come after them.
_ALL_RUNS = (
    *_each(range(3), *_STARTS),
    ("wide", 0),
    *_each(range(3), "full_resolution", "output_transform"),
    *_each(range(3), "paced"),
)
# Twenty minutes a model on two idle cores; a step of the plans' batch of nine takes six times as
# long.
CPU = Schedule(
    name="cpu",
    dataset="Dataset004_Hippocampus",
    device="cpu",
    epochs=25,
    iterations=30,
    validation_iterations=4,
    batch_size=2,
    folds=("0",),
    # A GPU trains in mixed precision anyway.
    runs=(*_ALL_RUNS, *_each(range(2), "bfloat16")),
    workers=0,
)
# nnU-Net's epochs and batch. --epochs fits the length to the time available.
GPU = Schedule(
    name="gpu",
    dataset="Dataset004_Hippocampus",
    device="cuda",
    epochs=100,
    iterations=250,
    validation_iterations=50,
    batch_size=None,
    folds=("0", "1", "2", "3", "4"),
    runs=_ALL_RUNS,
)
# A second data set: colour microscopy, in two dimensions.
NUCLEI = Schedule(
    name="nuclei",
    dataset="Dataset018_Nuclei2D",
    device="cpu",
    epochs=15,
    iterations=20,
    validation_iterations=4,
    batch_size=None,
    folds=("0", "1"),
    runs=_each(range(2), "stock", "identity", "he"),
    planned="2d",
    workers=0,
)
SCHEDULES = {schedule.name: schedule for schedule in (CPU, GPU, NUCLEI)}


def training_environment(
    schedule: Schedule,
    variant: Variant,
    seed: int,
    base: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Return variables for the commands that train; planning takes none of them."""
    variables = {**base, **schedule.variables(seed), **dict(variant.variables)}
    if variant.trainer_folder is not None:
        present = variables.get(SEARCH_PATH_VARIABLE)
        folders = [str(variant.trainer_folder), *([present] if present else [])]
        variables[SEARCH_PATH_VARIABLE] = os.pathsep.join(folders)
    return variables
