"""How long is trained, on what; the same for every model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

DATASET = "Dataset004_Hippocampus"
# The first is the baseline of the tests.
MODELS = {
    "nnU-Net": "nnUNetTrainer_short",
    "wide U-Net": "WideUNetTrainer_short",
    "Attention U-Net": "AttentionUNetTrainer_short",
}
BASELINE, ATTENTION = "nnU-Net", "Attention U-Net"
# Again with the next seed, in a results folder of their own: what differs is chance.
CONTROLS = {f"{name}, other seed": MODELS[name] for name in (BASELINE, ATTENTION)}
COMPARED = {**MODELS, **CONTROLS}


def folder_of(name: str) -> str:
    """Of a model's summaries, among the results."""
    return f"{COMPARED[name]}_other_seed" if name in CONTROLS else COMPARED[name]


@dataclass(frozen=True)
class Schedule:
    """One run list.

    Attributes:
        name: of its folder of results.
        device: cpu or cuda.
        epochs: of every fold.
        iterations: of training in an epoch.
        validation_iterations: of the pseudo Dice in an epoch.
        batch_size: None for that of the plans.
        folds: that are trained.
        seed: of initial weights and batches.
        workers: processes of data augmentation; None for nnU-Net's own choice. With 0, a training
            on a CPU can be repeated exactly.
    """

    name: str
    device: str
    epochs: int
    iterations: int
    validation_iterations: int
    batch_size: int | None
    folds: tuple[str, ...]
    seed: int = 0
    workers: int | None = None

    @property
    def configuration(self) -> str:
        """Of the plans; a smaller batch makes one of its own, which inherits all else."""
        return "3d_fullres" + (f"_batch{self.batch_size}" if self.batch_size else "")

    @property
    def recorded_epochs(self) -> tuple[int, ...]:
        """Whose coefficients are recorded: early ones, and five over the whole training."""
        parts = {round(self.epochs * part / 5) for part in range(1, 6)}
        return tuple(sorted({1, 2, *parts} & set(range(1, self.epochs + 1))))

    def variables(self) -> dict[str, str]:
        """Of the environment."""
        found = {
            "NNUNET_ATTENTION_SHORT_SCHEDULE": (
                f"{self.epochs},{self.iterations},{self.validation_iterations}"
            ),
            "NNUNET_ATTENTION_SEED": str(self.seed),
            "nnUNet_attention_epochs": ",".join(map(str, self.recorded_epochs)),
            "PYTHONUNBUFFERED": "1",
        }
        if self.workers is not None:
            found["nnUNet_n_proc_DA"] = str(self.workers)
        return found

    def of_controls(self) -> Schedule:
        """The same with the next seed."""
        return replace(self, seed=self.seed + 1)

    def crossval_arguments(self, trainers: Iterable[str], processes: int) -> list[str]:
        """Of `nnunet-attention`."""
        return [
            *("crossval", "-d", DATASET, "-c", self.configuration, "-tr", *trainers),
            *("-f", *self.folds, "-device", self.device, "-np", str(processes)),
            "--no-leaderboard",
        ]


# Half an hour a model and more on two cores; a step of the plans' batch of nine takes six times as
# long.
CPU = Schedule("cpu", "cpu", 25, 30, 4, batch_size=2, folds=("0",), workers=0)
# nnU-Net's epochs and batch. --epochs makes it as long as there is time for.
GPU = Schedule("gpu", "cuda", 100, 250, 50, batch_size=None, folds=("0", "1", "2", "3", "4"))
SCHEDULES = {one.name: one for one in (CPU, GPU)}


def environment(schedule: Schedule, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For the commands of a run."""
    return {**base, **schedule.variables()}
