"""A trainer whose weights behind the gates learn at stock nnU-Net's pace, for comparison only.

nnU-Net's trainer search imports this module, which therefore stands in a folder of its own.
"""

import torch
from torch import Tensor, nn

from nnunet_attention.networks.gate_start import IDENTITY_COEFFICIENT
from nnunet_attention.trainers import AttentionUNetTrainer_short


class PacedAttentionUNetTrainer_short(AttentionUNetTrainer_short):
    """Doubles the gated skip in the forward pass, and not the weights behind it.

    With the start `identity` the network computes the same as AttentionUNetTrainer's, but a step
    changes the function through these weights as much as stock nnU-Net's step does; with doubled
    weights and halved skips it is a quarter of that. The coefficients mean what they mean there.
    """

    @staticmethod
    def build_network_architecture(*arguments, **options) -> nn.Module:
        """Build the attention U-Net and move the factor from the weights to the skips."""
        network = AttentionUNetTrainer_short.build_network_architecture(*arguments, **options)
        decoder = network.decoder
        for gate, stage in zip(decoder.iter_gates(), decoder.stages, strict=False):
            weight = stage.get_parameter("convs.0.conv.weight")
            with torch.no_grad():
                weight[:, -gate.skip_channels :].mul_(IDENTITY_COEFFICIENT)
            gate.register_forward_hook(_amplify)
        return network


def _amplify(gate: nn.Module, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]):
    joined, coefficients = output
    channels = inputs[0].shape[1]
    skip = joined[:, -channels:] / IDENTITY_COEFFICIENT
    return torch.cat((joined[:, :-channels], skip), 1), coefficients
