"""Computes Grad-CAM at the gated skip connections, for comparison with the gates' coefficients.

References:
    Selvaraju et al.: Grad-CAM. ICCV 2017, https://arxiv.org/abs/1610.02391
    Vinogradova, Dibrov, Myers: Towards interpretable semantic segmentation via gradient-weighted
    class activation mapping. AAAI 2020, https://arxiv.org/abs/2002.11434
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunet_attention.gates import AttentionGate
from nnunet_attention.recorder import attention_gates


def gate_cams(network: nn.Module, patch: Tensor, regions: bool = False) -> list[Tensor]:
    """Return a CAM at each gate's gated skip, (B, 1, *G), the coarsest gate first.

    Let c be a channel, A_c the gated skip, and y the sum, over all voxels predicted to be
    foreground, of the logits of the labels predicted there. Then:

        CAM = relu(sum_c mean(dy / dA_c) A_c)

    The mean, like the sum in y, is over the patch.

    Args:
        network: any module with gates.
        patch: (B, C, *S).
        regions: whether the logits are those of regions, independent of each other, not of labels.
    """
    gated: list[Tensor] = []

    def keep(gate: AttentionGate, inputs: tuple, output: tuple[Tensor, Tensor]):
        gated.append(output[0])

    gates = attention_gates(network)
    with torch.inference_mode(False), torch.enable_grad():
        # A tensor made in inference mode cannot have a gradient; its copy can.
        image = patch.clone().requires_grad_()
        listeners = [gate.register_forward_hook(keep) for gate in gates]
        try:
            logits = network(image)
            score = _predicted_logits(logits, regions)
            gradients = torch.autograd.grad(score, gated)
        finally:
            for listener in listeners:
                listener.remove()
    cams = []
    for gate, features, gradient in zip(gates, gated, gradients, strict=True):
        # The gate's output for the decoder holds the upsampled feature first, then the gated skip.
        skip, slope = (
            features.detach()[:, -gate.skip_channels :],
            gradient[:, -gate.skip_channels :],
        )
        weights = slope.mean(tuple(range(2, slope.ndim)), keepdim=True)
        cams.append(functional.relu((weights * skip).sum(1, keepdim=True)))
    return cams


def _predicted_logits(logits: Tensor, regions: bool) -> Tensor:
    if regions:
        return functional.relu(logits).sum()
    highest, label = logits.max(1)
    return (highest * (label > 0)).sum()
