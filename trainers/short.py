"""Trainers of a few short epochs, to try out a pipeline on a CPU."""

import os
from pathlib import Path

import torch

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.schedules import (
    SCHEDULE_VARIABLE,
    Schedule,
    read_schedule,
    short_schedule,
    write_schedule,
)
from nnunet_attention.trainers.attention import AttentionUNetTrainer
from nnunet_attention.trainers.foundation import FoundationTrainer


class nnUNetTrainer_short(FoundationTrainer):
    """Trains stock nnU-Net for a few short epochs.

    The environment variable NNUNET_ATTENTION_SHORT_SCHEDULE sets the length (default `10,25,5`:
    epochs, iterations per epoch, validation iterations per epoch). It is written beside the
    checkpoints, and a training that is resumed without the variable keeps it. Every epoch is saved.
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
        # Checked first, as a bad schedule must leave no folder.
        self._wanted_schedule = short_schedule(os.environ.get(SCHEDULE_VARIABLE))
        super().__init__(plans, configuration, fold, dataset_json, device)
        self._use_schedule(self._wanted_schedule or Schedule())
        self.save_every = 1

    def _use_schedule(self, schedule: Schedule) -> None:
        self.num_epochs = schedule.epochs
        self.num_iterations_per_epoch = schedule.iterations
        self.num_val_iterations_per_epoch = schedule.validation_iterations

    def load_checkpoint(self, *checkpoint, **named) -> None:
        """Resume as nnU-Net does, with the schedule of the training unless another one is set.

        nnU-Net's parameter has different names in releases and in the development branch.
        """
        record = read_schedule(Path(self.output_folder))
        # Before nnU-Net builds the scheduler of the learning rate, which depends on it.
        if record is not None and self._wanted_schedule is None and not self.was_initialized:
            self._use_schedule(record)
        super().load_checkpoint(*checkpoint, **named)

    def run_training(self) -> None:
        """Train as nnU-Net does, and record the schedule.

        Raises:
            CommandError: if the training has had more epochs already than are set now.
        """
        fold, epoch = Path(self.output_folder), self.current_epoch
        schedule = Schedule(
            self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch
        )
        # In epoch 0 no checkpoint was loaded, and a record in the folder is another training's.
        record = read_schedule(fold) if epoch else None
        if epoch > schedule.epochs:
            begun = f" It was begun with {record}." if record else ""
            raise CommandError(
                f"{fold} has been trained for {epoch} epochs, and {SCHEDULE_VARIABLE} is "
                f"{schedule}, with which the training would end at once.{begun} Set the schedule "
                "that it was begun with, or a longer one"
            )
        if record is not None and record != schedule:
            self.print_to_log_file(
                f"The training was begun with {SCHEDULE_VARIABLE}={record}, and goes on with "
                f"{schedule}: all that depends on its length, such as the learning rate, changes"
            )
        self.with_first_checkpoint(lambda: write_schedule(fold, schedule))
        super().run_training()


class AttentionUNetTrainer_short(AttentionUNetTrainer, nnUNetTrainer_short):
    """Trains the attention U-Net for a few short epochs, as long as `nnUNetTrainer_short`."""
