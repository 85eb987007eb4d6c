"""Runs a training step and an inference as nnU-Net's trainer and predictor do."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.performance.cases import Case
from benchmarks.performance.isolated import autocast
from benchmarks.performance.variants import Variant

# nnUNetTrainer's.
_INITIAL_RATE, _MOMENTUM, _WEIGHT_DECAY, _GRADIENT_NORM = 1e-2, 0.99, 3e-5, 12


class Model:
    """A network with what a step of nnU-Net needs; mixed precision and compilation on a GPU only.

    Args:
        variant: the network.
        case: its plans.
        device: the device that it runs on.
        compiled: whether to compile it, as nnU-Net does on a GPU.
    """

    def __init__(self, variant: Variant, case: Case, device: torch.device, compiled: bool):
        torch.manual_seed(0)
        loss = case.loss()
        self.plain_network = variant.build(case).to(device)
        self.network: nn.Module = self.plain_network
        if compiled:
            # By default torch gives up on compiling when one class has been compiled eight times.
            torch._dynamo.config.recompile_limit = 64
            self.network = torch.compile(self.plain_network)
            loss.loss.dc = torch.compile(loss.loss.dc)
        self._optimizer = torch.optim.SGD(
            self.plain_network.parameters(),
            _INITIAL_RATE,
            momentum=_MOMENTUM,
            weight_decay=_WEIGHT_DECAY,
            nesterov=True,
        )
        self._scaler = torch.amp.GradScaler("cuda") if device.type == "cuda" else None
        # MONAI's networks have one output.
        self._loss = loss if variant.deep_supervision else loss.loss
        self._device = device
        self._single = not variant.deep_supervision

    def forward_loss(self, patch: Tensor, targets: list[Tensor], eager: bool = False) -> Tensor:
        """Compute the loss of a batch."""
        with autocast(self._device):
            output = (self.plain_network if eager else self.network)(patch)
            return self._loss(output, targets[0] if self._single else targets)

    def train_step(self, patch: Tensor, targets: list[Tensor]) -> None:
        """Run forward pass, loss, backward pass and optimiser, in the trainer's order."""
        self._optimizer.zero_grad(set_to_none=True)
        loss = self.forward_loss(patch, targets)
        parameters = self.plain_network.parameters()
        if self._scaler is None:
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
            self._optimizer.step()
            return
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(parameters, _GRADIENT_NORM)
        self._scaler.step(self._optimizer)
        self._scaler.update()

    def inference(self, patch: Tensor) -> Callable[[], object]:
        """Predict one patch as nnU-Net's predictor does, without deep supervision."""

        def predict() -> None:
            with torch.inference_mode(), autocast(self._device):
                self.network(patch)

        return predict

    def set_deep_supervision(self, enabled: bool) -> None:
        """Switch deep supervision on or off: nnU-Net switches it off to predict."""
        decoder = getattr(self.plain_network, "decoder", None)
        if decoder is not None:
            decoder.deep_supervision = enabled
        if enabled:
            self.plain_network.train()
        else:
            self.plain_network.eval()
