"""Shows the gates' means in experiment trackers that nnU-Net logs to, such as Weights & Biases."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from nnunet_attention.recorder import mean_coefficients
from nnunet_attention.trainers.foundation import bare_network

if TYPE_CHECKING:  # the class that it is mixed into
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer as _Trainer
else:
    _Trainer = object


class TracksGates(_Trainer):
    """Logs each gate's mean coefficient in every epoch if a tracker is on; mixed into a trainer.

    The mean is that of the first validation batch, from an extra pass of the bare network, as a
    compiled one does not return its coefficients. nnU-Net's local logger knows its own keys only
    and cuts its progress.png at the shortest list, so nothing is logged there: checkpoints stay
    nnU-Net's.
    """

    _gate_means: Sequence[float] | None = None

    def on_validation_epoch_start(self) -> None:
        """Start as nnU-Net does, and reset the means; the epoch's first batch will set them."""
        super().on_validation_epoch_start()
        self._gate_means = None

    def validation_step(self, batch: dict) -> dict:
        """Validate a batch as nnU-Net does, and compute the gates' means for an epoch's first."""
        if self._gate_means is None and self.local_rank == 0 and self._trackers():
            on_gpu = self.device.type == "cuda"
            with torch.autocast("cuda") if on_gpu else nullcontext():
                images = batch["data"].to(self.device, non_blocking=True)
                self._gate_means = mean_coefficients(bare_network(self.network), images)
        return super().validation_step(batch)

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """End as nnU-Net does, and log the means as `attention/gate_0`, the coarsest, and so on."""
        super().on_validation_epoch_end(val_outputs)
        for number, mean in enumerate(self._gate_means or ()):
            for tracker in self._trackers():
                tracker.log(f"attention/gate_{number}", mean, self.current_epoch)

    def _trackers(self) -> list:
        """Return nnU-Net's loggers besides its local one; an empty list in versions without any."""
        return getattr(self.logger, "loggers", [])
