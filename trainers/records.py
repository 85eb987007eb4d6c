"""Writes beside a fold's checkpoints how they were trained, no earlier than they are."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the class that it is mixed into
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as _Trainer
else:
    _Trainer = object


class KeepsRecords(_Trainer):
    """Writes the records of a training with its first checkpoint; mixed into a trainer.

    Until then the folder may hold the checkpoints of an earlier training, which is resumed if this
    one comes to nothing, and whose records must still be true.
    """

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

    def save_checkpoint(self, filename: str) -> None:
        """Save as nnU-Net does, with everything that is waiting for the first checkpoint."""
        write = self._write_records
        if write is not None and self.local_rank == 0 and not self.disable_checkpointing:
            self._write_records = None
            write()
        super().save_checkpoint(filename)
