"""Writes beside a fold's checkpoints how they were trained, no earlier than they are."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.nnunet.checkpoints import LATEST, LATEST_EARLIER

if TYPE_CHECKING:  # the class that it is mixed into
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as _Trainer
else:
    _Trainer = object


class KeepsRecords(_Trainer):
    """Writes the records of a training with its first checkpoint; mixed into a trainer.

    Until then the folder may hold the checkpoints of an earlier training, which is resumed if this
    one comes to nothing, and whose records must still be true.
    """

    _is_begun_anew: bool = False
    # One function rather than a list: nnU-Net writes all that cannot be called into debug.json.
    _write_records: Callable[[], object] | None = None

    def with_first_checkpoint(self, write: Callable[[], object]) -> None:
        """Call a function when the first checkpoint is saved, in the process that saves it."""
        earlier = self._write_records

        def both() -> None:
            if earlier is not None:
                earlier()
            write()

        self._write_records = both

    def run_training(self) -> None:
        """Train as nnU-Net does, and remember whether the training was resumed."""
        # In epoch 0 no checkpoint was loaded.
        self._is_begun_anew = self.current_epoch == 0
        super().run_training()

    def save_checkpoint(self, filename: str) -> None:
        """Save as nnU-Net does, with everything that is waiting for the first checkpoint.

        Another training's latest checkpoint is then set aside: nnU-Net would resume it, rather than
        this training, until this one has a latest checkpoint as well, by default after 50 epochs.
        """
        write = self._write_records
        if write is not None and self.local_rank == 0 and not self.disable_checkpointing:
            self._write_records = None
            write()
            if self._is_begun_anew and Path(filename).name != LATEST:
                self._set_latest_aside()
        super().save_checkpoint(filename)

    def _set_latest_aside(self) -> None:
        latest = Path(self.output_folder, LATEST)
        if not latest.is_file():
            return
        told = f"{LATEST} is of an earlier training, and"
        try:
            latest.replace(latest.with_name(LATEST_EARLIER))
        except OSError as error:
            # nnU-Net's own names suffice to train; only resuming early would go on with that one.
            self.print_to_log_file(f"{told} could not be renamed {LATEST_EARLIER}: {error}")
        else:
            self.print_to_log_file(f"{told} was renamed {LATEST_EARLIER}")
