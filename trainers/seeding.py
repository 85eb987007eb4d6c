"""Lets our trainers be seeded."""

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter

from nnunet_attention.nnunet.seeds import (
    VARIABLE,
    SeedRecord,
    check_same_seed,
    read_seed,
    seed_from,
    write_seed,
)

if TYPE_CHECKING:  # the class that it is mixed into
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as _Trainer
else:
    _Trainer = object


class Seedable(_Trainer):
    """Seeds a training with NNUNET_ATTENTION_SEED; mixed into a trainer, and without it nothing.

    `random`, NumPy and torch with its GPUs are seeded before the network gets its initial weights
    and, anew, at the start of every epoch; each worker of data augmentation once, with a seed of
    its own. Weights that plain, wide and attention U-Net share in name and shape begin alike, and
    all see the same batches. The seed is written beside the checkpoints, and a training that is
    gone on with keeps it.

    Repeatable to the last bit, on a CPU with the same number of threads and the same versions:

    - with `nnUNet_n_proc_DA=0` everything, also after an interruption;
    - with `nnUNet_n_proc_DA=1` a training that is not interrupted: the worker runs ahead of the
      epochs, and nobody knows how far;
    - with more workers the initial weights alone. nnU-Net takes batches from whichever worker is
      first, so that their order, though not what each worker draws, differs from run to run.

    On a GPU sums differ as well: nnU-Net lets cuDNN choose its fastest algorithms, which are not
    deterministic. Each GPU of several draws batches of its own.
    """

    _seed: int | None = None

    # The signature must be nnUNetTrainer's: it stores the arguments by the names found here.
    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 as in nnUNetTrainer
    ):
        # First: a bad seed must leave no folder. Without one nothing is added to the trainer.
        seed = seed_from(os.environ.get(VARIABLE))
        if seed is not None:
            self._seed = seed
        super().__init__(plans, configuration, fold, dataset_json, device)

    def initialize(self) -> None:
        """Initialise as nnU-Net does, from seeded random numbers."""
        if self._seed is not None:
            _seed_everything(self._seed)
        super().initialize()

    def run_training(self) -> None:
        """Train as nnU-Net does, with the seed that the training was begun with.

        Raises:
            CommandError: if that is not the one asked for.
        """
        self._settle_seed()
        super().run_training()

    def get_dataloaders(self) -> tuple:
        """Load as nnU-Net does; its workers, which it does not seed, begin anew with seeds."""
        loaders = super().get_dataloaders()
        if self._seed is not None:
            for place, loader in enumerate(loaders):
                if isinstance(loader, NonDetMultiThreadedAugmenter):
                    numbers = (self._seed, self.current_epoch, self.local_rank)
                    # The key keeps them apart from the numbers of weights and epochs.
                    sequence = np.random.SeedSequence(numbers, spawn_key=(place,))
                    loader.seeds = sequence.generate_state(loader.num_processes).tolist()
                    loader.restart()
        return loaders

    def on_epoch_start(self) -> None:
        """Start as nnU-Net does; the epoch's batches are drawn from its own seed."""
        if self._seed is not None:
            # One more than the epoch: 0 could repeat the numbers of the initial weights.
            _seed_everything(self._seed, self.current_epoch + 1, self.local_rank)
        super().on_epoch_start()

    def _settle_seed(self) -> None:
        """Find out with which seed to train, and write it beside the checkpoints."""
        fold, epoch = Path(self.output_folder), self.current_epoch
        # Only a checkpoint brings an epoch along; what lies there otherwise is another training's.
        before = read_seed(fold) if epoch else None
        check_same_seed(fold, before, self._seed)
        if before is not None:
            self._seed = before.seed
        elif self._seed is not None:
            before = SeedRecord(self._seed, epoch)
        if self.local_rank == 0:
            write_seed(fold, before)
        if before is not None:
            since = f" since epoch {before.first_epoch}" if before.first_epoch else ""
            self.print_to_log_file(f"The training is seeded with {before.seed}{since} ({VARIABLE})")


def _seed_everything(*numbers: int) -> None:
    """Seed the global states, from which nnU-Net and its augmentation draw."""
    # One 32-bit number out of several, so that neighbouring seeds and epochs share no stream.
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    # Of all GPUs too.
    torch.manual_seed(seed)
