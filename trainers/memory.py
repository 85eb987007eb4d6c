"""Lets our trainers keep freed memory on a CPU."""

from typing import TYPE_CHECKING

from nnunet_attention.allocator import keep_freed_memory

if TYPE_CHECKING:  # the class that it is mixed into
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as _Trainer
else:
    _Trainer = object


class KeepsFreedMemory(_Trainer):
    """Keeps freed memory with the process on a CPU; mixed into a trainer.

    According to docs/performance.md this saves a quarter of the time with nnU-Net's Hippocampus
    plan, for a fifth more memory. NNUNET_ATTENTION_KEEP_MEMORY=0 switches it off.
    """

    def on_train_start(self) -> None:
        """Start as nnU-Net does, then keep freed memory; worker processes are not affected."""
        super().on_train_start()
        if self.device.type == "cpu" and keep_freed_memory():
            self.print_to_log_file(
                "Freed memory is kept; NNUNET_ATTENTION_KEEP_MEMORY=0 turns this off"
            )
