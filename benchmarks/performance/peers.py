"""Builds other attention U-Nets: with full-resolution gates, as in most forks, and MONAI's."""

from __future__ import annotations

import copy

import torch
from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from torch import Tensor, nn

from nnunet_attention.networks.attention_decoder import take_over_layers


class FullResolutionGate(nn.Module):
    """Gates a skip with the upsampled decoder feature, both on the skip's grid.

    Shape:
        - upsampled: (B, C, *S), the output of the transposed convolution
        - skip: (B, C, *S)
        - returns: (B, C, *S)
    """

    def __init__(self, conv_op: type[nn.Module], channels: int, norm_op: type[nn.Module] | None):
        super().__init__()
        inter_channels = max(1, channels // 2)

        def convolution(inputs: int, outputs: int) -> nn.Module:
            layers = [conv_op(inputs, outputs, 1)]
            return nn.Sequential(*layers, *([norm_op(outputs)] if norm_op else []))

        self.of_gating = convolution(channels, inter_channels)
        self.of_skip = convolution(channels, inter_channels)
        self.psi = convolution(inter_channels, 1)

    def forward(self, upsampled: Tensor, skip: Tensor) -> Tensor:
        """Gate `skip`."""
        query = torch.relu_(self.of_gating(upsampled) + self.of_skip(skip))
        return skip * torch.sigmoid(self.psi(query))


class UpsampleFirstDecoder(UNetDecoder):
    """nnU-Net's decoder with a `FullResolutionGate` on every skip.

    Args:
        plain: the decoder whose layers are reused.
        norm_op: normalisation after each convolution of the gates; None for none.
    """

    def __init__(self, plain: UNetDecoder, norm_op: type[nn.Module] | None):
        take_over_layers(self, plain)
        encoder = plain.encoder
        self.gates = nn.ModuleList(
            FullResolutionGate(encoder.conv_op, encoder.output_channels[-(stage + 2)], norm_op)
            for stage in range(len(self.stages))
        )

    def forward(self, skips: list[Tensor]):
        """Return logits as nnU-Net's decoder does, highest resolution first."""
        logits = []
        feature = skips[-1]
        for s, stage in enumerate(self.stages):
            feature = self.transpconvs[s](feature)
            feature = torch.cat((feature, self.gates[s](feature, skips[-(s + 2)])), 1)
            feature = stage(feature)
            if self.deep_supervision or s == len(self.stages) - 1:
                logits.append(self.seg_layers[s](feature))
        return logits[::-1] if self.deep_supervision else logits[0]


class _PassSkip(nn.Module):
    def forward(self, g: Tensor, x: Tensor) -> Tensor:
        return x


def monai_attention_unet(
    input_channels: int, classes: int, features: list[int], strides: list
) -> nn.Module:
    """Build MONAI's AttentionUnet with the channels and strides of nnU-Net's plans.

    Raises:
        ImportError: if MONAI is not installed.
    """
    from monai.networks.nets import AttentionUnet

    # nnU-Net's first stage has a stride too, of 1; MONAI counts the steps between stages.
    steps = [tuple(stride) for stride in strides[1:]]
    return AttentionUnet(3, input_channels, classes, features, steps)


def without_gates(network: nn.Module) -> nn.Module:
    """Copy MONAI's network with gates that pass the skip on unchanged."""
    from monai.networks.nets.attentionunet import AttentionBlock

    plain = copy.deepcopy(network)
    for module in list(plain.modules()):
        for name, child in module.named_children():
            if isinstance(child, AttentionBlock):
                setattr(module, name, _PassSkip())
    return plain
