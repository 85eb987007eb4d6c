"""Draws the weights of a network's gates anew, as a control for what training made of them.

References:
    Adebayo et al.: Sanity checks for saliency maps. NeurIPS 2018, https://arxiv.org/abs/1810.03292
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nnunet_attention.gates import AttentionGate

# nnU-Net's own initialisation of convolutions before a leaky ReLU.
_NEGATIVE_SLOPE = 1e-2


def with_random_gates(
    network: nn.Module, weights: Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    """Return weights in which those of all gates are drawn as nnU-Net initialises a convolution.

    theta, phi and psi are drawn anew, and their biases are 0; an output transform is left as it is.

    Args:
        network: the network that the weights belong to.
        weights: the weights by name; left unchanged.
        seed: seed of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    changed = dict(weights)
    for name, module in network.named_modules():
        if not isinstance(module, AttentionGate):
            continue
        for part in ("theta", "phi", "psi"):
            for kind in ("weight", "bias"):
                key = f"{name}.{part}.{kind}"
                if key not in weights:
                    continue
                values = torch.zeros_like(weights[key])
                if kind == "weight":
                    nn.init.kaiming_normal_(values, a=_NEGATIVE_SLOPE, generator=generator)
                changed[key] = values
    return changed
