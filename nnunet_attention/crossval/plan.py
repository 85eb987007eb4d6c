"""Says what is wanted of a cross-validation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnunet_attention.allocator import variables_to_keep_memory
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.seeds import VARIABLE as SEED_VARIABLE
from nnunet_attention.nnunet.seeds import seed_from
from nnunet_attention.nnunet.workers import WORKERS_VARIABLE, asks_for_no_workers


@dataclass(frozen=True)
class CrossvalPlan:
    """Says what is to be trained, on what, and how.

    Attributes:
        datasets: full names, DatasetXXX_Name.
        configurations: such as 3d_fullres; one that a cascade needs first is added automatically.
        models: trainer and plans of each.
        folds: numbers, or "all" alone; None for all that a data set's splits have.
        npz: keep the validation's probabilities.
        num_gpus: GPUs of each fold, for nnU-Net's own distributed training.
        device: cuda, cpu or mps.
        processes: how many the fingerprint and the preprocessing use.
        pretrained_weights: a checkpoint that every fold starts from.
        groups: for each data set, the group of each case, such as the patient; new splits keep
            each group on one side. See `with_groups`.
        repeats: how often each fold is trained; see `Folders.of_repeat`.
        seed: the seed of this package's trainers in the first repeat; each later one adds 1. None
            takes NNUNET_ATTENTION_SEED; without that too, they are not seeded.
        keep_splits: use existing splits even if they tear groups apart.
    """

    datasets: tuple[str, ...]
    configurations: tuple[str, ...]
    models: tuple[tuple[str, str], ...]
    folds: tuple[str, ...] | None = None
    npz: bool = False
    num_gpus: int = 1
    device: str = "cuda"
    processes: int = 8
    pretrained_weights: Path | None = None
    groups: Mapping[str, Mapping[str, str]] | None = field(default=None, hash=False)
    repeats: int = 1
    seed: int | None = None
    keep_splits: bool = False

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats is {self.repeats}, and must be 1 or more")

    def of_repeat(self, repeat: int) -> CrossvalPlan:
        """Return the plan of one repeat alone, for that repeat's folders.

        Raises:
            CommandError: see `seed_of_repeat`.
        """
        return replace(self, repeats=1, seed=seed_of_repeat(self, repeat))


def seed_of_repeat(plan: CrossvalPlan, repeat: int) -> int | None:
    """Return the seed of a repeat, counted from 1; None where the trainings are not seeded.

    Raises:
        CommandError: if NNUNET_ATTENTION_SEED is no seed, or the repeat's seed is too high.
    """
    try:
        first = seed_from(os.environ.get(SEED_VARIABLE)) if plan.seed is None else plan.seed
        # A seed that is the same in all repeats would train the same network again.
        return None if first is None else seed_from(str(first + repeat - 1))
    except ValueError as error:
        of_repeat = f", and this is that of repeat {repeat}" if repeat > 1 else ""
        raise CommandError(f"{error}{of_repeat}") from error


def fold_variables(plan: CrossvalPlan, repeat: int = 1) -> dict[str, str]:
    """Return the variables that a fold's command gets besides the usual ones, whatever its trainer.

    On a CPU our own trainers keep freed memory, so trainers that are compared with them must too.
    Running without data augmentation workers concerns trainings alone.
    """
    variables = variables_to_keep_memory() if plan.device == "cpu" else {}
    if asks_for_no_workers(os.environ):
        variables = {**variables, WORKERS_VARIABLE: "0"}
    seed = seed_of_repeat(plan, repeat)
    if seed is not None:
        variables = {**variables, SEED_VARIABLE: str(seed)}
    return variables
