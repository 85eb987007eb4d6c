"""Lets our trainers be seeded."""

import os
import random
from pathlib import Path

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
from nnunet_attention.trainers.records import KeepsRecords


class Seedable(KeepsRecords):
    """Seeds a training with NNUNET_ATTENTION_SEED, if it is set; mixed into a trainer.

    `random`, NumPy and torch, including its GPUs, are seeded before the network gets its initial
    weights and again at the start of every epoch. Each worker of data augmentation is seeded once,
    with its own seed. Weights that plain, wide and attention U-Net share in name and shape start
    with the same values (but for those behind a gated skip, which the start `identity` doubles),
    and all three networks see the same batches. The seed is written beside
    the checkpoints, and a resumed training keeps it.

    On a CPU, with the same number of threads and the same versions, results are repeatable to the
    last bit as follows:

    - with `nnUNet_n_proc_DA=0`, everything, also after an interruption;
    - with `nnUNet_n_proc_DA=1`, a training that is not interrupted: the worker runs ahead of the
      epochs, by an unknown number of batches;
    - with more workers, only the initial weights. nnU-Net takes batches from whichever worker is
      first, so that their order, though not what each worker draws, differs from run to run.

    On a GPU sums differ as well: nnU-Net lets cuDNN choose its fastest algorithms, which are not
    deterministic. With several GPUs, each draws its own batches.
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
        # Checked first, as a bad seed must leave no folder. Without a seed nothing is set.
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
            CommandError: if another seed is set now.
        """
        self._settle_seed()
        super().run_training()

    def get_dataloaders(self) -> tuple:
        """Load as nnU-Net does, and restart its workers, which it does not seed, with seeds."""
        loaders = super().get_dataloaders()
        if self._seed is not None:
            for place, loader in enumerate(loaders):
                if isinstance(loader, NonDetMultiThreadedAugmenter):
                    numbers = (self._seed, self.current_epoch, self.local_rank)
                    # The spawn key keeps them distinct from the seeds of weights and epochs.
                    sequence = np.random.SeedSequence(numbers, spawn_key=(place,))
                    loader.seeds = sequence.generate_state(loader.num_processes).tolist()
                    loader.restart()
        return loaders

    def on_epoch_start(self) -> None:
        """Start as nnU-Net does, and seed the epoch's random numbers."""
        if self._seed is not None:
            # One more than the epoch, as 0 could repeat the random numbers of the initial weights.
            _seed_everything(self._seed, self.current_epoch + 1, self.local_rank)
        super().on_epoch_start()

    def _settle_seed(self) -> None:
        """Determine the seed of the training, and record it beside the checkpoints."""
        fold, epoch = Path(self.output_folder), self.current_epoch
        # In epoch 0 no checkpoint was loaded, and a record in the folder is another training's.
        before = read_seed(fold) if epoch else None
        check_same_seed(fold, before, self._seed)
        if before is not None:
            self._seed = before.seed
        elif self._seed is not None:
            before = SeedRecord(self._seed, epoch)
        self.with_first_checkpoint(lambda: write_seed(fold, before))
        if before is not None:
            since = f" since epoch {before.first_epoch}" if before.first_epoch else ""
            self.print_to_log_file(f"The training is seeded with {before.seed}{since} ({VARIABLE})")


def _seed_everything(*numbers: int) -> None:
    """Seed the global generators, from which nnU-Net and its augmentation draw."""
    # One 32-bit number out of several, so that neighbouring seeds and epochs share no stream.
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    # This seeds all GPUs too.
    torch.manual_seed(seed)
