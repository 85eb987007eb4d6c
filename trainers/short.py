"""Trainers of a few short epochs, to try out a pipeline on a CPU."""

import os

import torch

from nnunet_attention.trainers.attention import AttentionUNetTrainer
from nnunet_attention.trainers.foundation import FoundationTrainer

SCHEDULE_VARIABLE = "NNUNET_ATTENTION_SHORT_SCHEDULE"
# Epochs, training iterations per epoch, validation iterations per epoch.
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


class nnUNetTrainer_short(FoundationTrainer):
    """Trains stock nnU-Net for a few short epochs.

    The environment variable NNUNET_ATTENTION_SHORT_SCHEDULE sets the length (default `10,25,5`:
    epochs, iterations per epoch, validation iterations per epoch). Every epoch is saved.
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
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = schedule
        self.save_every = 1


class AttentionUNetTrainer_short(AttentionUNetTrainer, nnUNetTrainer_short):
    """Trains the attention U-Net for a few short epochs, as long as `nnUNetTrainer_short`."""
