"""Trainers of a few short epochs, to try a pipeline out on a CPU."""

import os
import random

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_attention.trainers.attention import AttentionUNetTrainer
from nnunet_attention.trainers.memory import KeepsFreedMemory
from nnunet_attention.trainers.validation import ContinuesValidation

SCHEDULE_VARIABLE = "NNUNET_ATTENTION_SHORT_SCHEDULE"
SEED_VARIABLE = "NNUNET_ATTENTION_SEED"
# Epochs, training iterations an epoch, validation iterations an epoch.
DEFAULT_SCHEDULE = (10, 25, 5)


def short_schedule(text: str | None) -> tuple[int, int, int]:
    """Read `EPOCHS,ITERATIONS,VALIDATION_ITERATIONS`; None and "" give the default, 10,25,5.

    Raises:
        ValueError: if it is not three positive whole numbers.
    """
    if not text:
        return DEFAULT_SCHEDULE
    try:
        epochs, iterations, validation_iterations = (int(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(_schedule_message(text)) from error
    if min(epochs, iterations, validation_iterations) < 1:
        raise ValueError(_schedule_message(text))
    return epochs, iterations, validation_iterations


def _schedule_message(text: str) -> str:
    return (
        f"{SCHEDULE_VARIABLE}={text!r} must be three positive whole numbers, "
        "EPOCHS,ITERATIONS,VALIDATION_ITERATIONS, such as 10,25,5"
    )


def short_seed(text: str | None) -> int | None:
    """Read a seed; None and "" give None, a training that is not seeded, as nnU-Net's are.

    Raises:
        ValueError: if it is not a whole number from 0 to 2^31 - 1.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) < 2**31):
        raise ValueError(f"{SEED_VARIABLE}={text!r} must be a whole number from 0 to {2**31 - 1}")
    return int(text)


def _seed_everything(*numbers: int) -> None:
    # One 32-bit number out of several, so that neighbouring seeds and epochs share no stream.
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    # nnU-Net and its augmentation draw from the global states.
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class nnUNetTrainer_short(KeepsFreedMemory, ContinuesValidation, nnUNetTrainer):
    """Trains stock nnU-Net for a few short epochs.

    The length stands in the environment variable NNUNET_ATTENTION_SHORT_SCHEDULE (default
    `10,25,5`: epochs, iterations an epoch, validation iterations an epoch). Every epoch is saved.

    NNUNET_ATTENTION_SEED seeds the initial weights and, anew, every epoch. With
    nnUNet_n_proc_DA=0 a training on the CPU can then be repeated, also after an interruption; with
    worker processes the batches, on a GPU the sums too, differ from run to run. Weights that plain,
    wide and attention U-Net share in name and shape begin alike, and all see the same batches.
    """

    # The signature must be nnUNetTrainer's: it stores the arguments by the names found here.
    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 as in nnUNetTrainer
    ):
        schedule = short_schedule(os.environ.get(SCHEDULE_VARIABLE))
        self._seed = short_seed(os.environ.get(SEED_VARIABLE))
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = schedule
        self.save_every = 1

    def initialize(self) -> None:
        """Initialise as nnU-Net does, from seeded random numbers."""
        if self._seed is not None:
            _seed_everything(self._seed)
        super().initialize()

    def on_epoch_start(self) -> None:
        """Start as nnU-Net does; the epoch's batches are drawn from its own seed."""
        if self._seed is not None:
            # One more than the epoch: 0 could repeat the numbers of the initial weights.
            _seed_everything(self._seed, self.current_epoch + 1)
        super().on_epoch_start()


class AttentionUNetTrainer_short(AttentionUNetTrainer, nnUNetTrainer_short):
    """Trains the attention U-Net for a few short epochs, as long as `nnUNetTrainer_short`."""
