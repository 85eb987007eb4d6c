"""Lets our trainers train in mixed precision on a CPU."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.precision import (
    VARIABLE,
    bfloat16_from,
    read_bfloat16_since,
    write_bfloat16_since,
)
from nnunet_attention.processor import why_no_bfloat16
from nnunet_attention.trainers.records import KeepsRecords


class MixedPrecisionOnCPU(KeepsRecords):
    """Trains in bfloat16 on a CPU with NNUNET_ATTENTION_CPU_BF16=1; mixed into a trainer.

    As in nnU-Net with float16 on a GPU, the inputs and outputs of convolutions have 16 bits. The
    statistics of norms, the loss, the optimiser and the checkpoints stay in 32 bits. bfloat16 has
    the range of 32 bits, so that no gradient needs scaling. Without the variable nothing changes,
    except that a training that was in bfloat16 is resumed in bfloat16. A training begun in 32 bits
    and resumed with the variable is in bfloat16 from there on. The final validation is in 32 bits,
    as is prediction on a CPU.
    """

    _bfloat16: bool = False

    # The signature must be nnUNetTrainer's: it stores the arguments by the names found here.
    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 as in nnUNetTrainer
    ):
        # Checked first, as a refused training must leave no folder.
        if bfloat16_from(os.environ.get(VARIABLE)):
            if device.type == "cpu":
                _require_bfloat16(f"{VARIABLE}=1 cannot be used", "; unset it to train in 32 bits")
            self._bfloat16 = True
        super().__init__(plans, configuration, fold, dataset_json, device)

    def run_training(self) -> None:
        """Train as nnU-Net does, in bfloat16 if requested or if the resumed training was in it.

        Raises:
            CommandError: if bfloat16 is to be used and the processor has no instructions for it.
        """
        if self.device.type == "cpu":
            self._settle_precision()
        elif self._bfloat16:
            self.print_to_log_file(f"{VARIABLE}=1 has no effect on {self.device.type}")
        super().run_training()

    def train_step(self, batch: dict) -> dict:
        """Train on a batch as nnU-Net does, with the network in the chosen precision."""
        with self._precision():
            return super().train_step(batch)

    def validation_step(self, batch: dict) -> dict:
        """Validate a batch as nnU-Net does, with the network in the chosen precision."""
        with self._precision():
            return super().validation_step(batch)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        if not (self._bfloat16 and self.device.type == "cpu"):
            yield
            return
        # Only the network: autocast around the whole step would cover loss and backward pass too.
        with _computing_in_bfloat16(self.network):
            yield

    def _settle_precision(self) -> None:
        """Determine the precision of the training, and record it beside the checkpoints."""
        fold, epoch = Path(self.output_folder), self.current_epoch
        # In epoch 0 no checkpoint was loaded, and a record in the folder is another training's.
        since = read_bfloat16_since(fold) if epoch else None
        if since is not None:
            _require_bfloat16(
                f"{fold} was started in bfloat16",
                "; continue on a machine that has them, or remove precision.json to continue in "
                "32 bits",
            )
            self._bfloat16 = True
        elif self._bfloat16:
            since = epoch
        self.with_first_checkpoint(lambda: write_bfloat16_since(fold, since))
        if since is not None:
            late = f" since epoch {since}" if since else ""
            self.print_to_log_file(f"The training is in bfloat16{late} ({VARIABLE})")


def _require_bfloat16(what: str, remedy: str) -> None:
    reason = why_no_bfloat16()
    if reason is not None:
        raise CommandError(f"{what}: {reason}{remedy}")


def in_bfloat16(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a network's forward pass that computes in bfloat16 and returns 32 bits.

    Convolutions of images with fewer slices than the kernel stay in 32 bits.
    """

    @functools.wraps(forward)
    def rounded(*arguments, **named_arguments):
        with torch.autocast("cpu", torch.bfloat16), _ThinConvolutionsIn32Bits():
            output = forward(*arguments, **named_arguments)
        return _to_float32(output)

    return rounded


class _ThinConvolutionsIn32Bits(TorchFunctionMode):
    """Keeps from bfloat16 the convolutions whose gradients oneDNN computes wrongly there.

    With fewer slices than the kernel has (but more than one), torch 2.14 on a processor with
    AVX-512 BF16 gives the weights arbitrary gradients, up to infinity, from memory that nothing was
    written to; with a kernel of 7 slices it damaged the heap. Other axes, transposed convolutions
    and 32 bits are right. Networks planned by nnU-Net have such layers only where patches have
    few slices.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func is torch.conv3d:
            image, weight = args[:2]
            if image.shape[2] < weight.shape[2]:
                with torch.autocast("cpu", enabled=False):
                    return func(image.float(), *args[1:], **named)
        return func(*args, **named)


@contextmanager
def _computing_in_bfloat16(network: nn.Module) -> Iterator[None]:
    # An attribute of the object takes precedence over the method of its class.
    network.forward = in_bfloat16(network.forward)
    try:
        yield
    finally:
        del network.forward


def _to_float32(output: Any) -> Any:
    """Convert a network's output to 32 bits: a tensor, or tuples and lists of tensors.

    With deep supervision the output is a list of logits; if gates are supervised, it is a tuple of
    the logits and the coefficients.
    """
    if isinstance(output, Tensor):
        return output.float()
    return type(output)(_to_float32(part) for part in output)
