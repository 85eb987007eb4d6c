"""nnU-Net's U-Net decoder with an attention gate on its skip connections."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from dynamic_network_architectures.building_blocks.unet_decoder import UNetDecoder
from torch import Tensor, nn

from nnunet_attention.gates import AttentionGate
from nnunet_attention.networks.gate_start import (
    DEFAULT_GATE_START,
    check_gate_start,
    start_gates,
)


class AttentionDecoder(UNetDecoder):
    """A plain decoder's layers, under their plain names, with gates added as `gates`.

    `gates[s]` stands before decoder stage s; stages are counted as in nnU-Net, from the bottleneck
    up.

    Attributes:
        coefficients_in_training: in training mode, always return the coefficients, for a loss on
            them: `return_coefficients` cannot be passed to a compiled or distributed network.

    Args:
        plain: the decoder whose layers are taken over; do not use it afterwards.
        gate_full_resolution: gate the skip of the highest resolution too. The paper does not.
        output_transform: see `AttentionGate`.
        gate_start: `identity`, `open` or `he`, see `start_gates`. With `identity`, and without
            an output transform, the decoder computes what `plain` did.

    Raises:
        ValueError: if there is no skip connection to gate, or `gate_start` is unknown.
    """

    def __init__(
        self,
        plain: UNetDecoder,
        *,
        gate_full_resolution: bool = False,
        output_transform: bool = False,
        gate_start: str = DEFAULT_GATE_START,
    ):
        check_gate_start(gate_start)
        take_over_layers(self, plain)
        self.gate_start = gate_start
        self.coefficients_in_training = False
        number_of_gates = len(self.stages) if gate_full_resolution else len(self.stages) - 1
        if number_of_gates < 1:
            remedy = "use a plain network"
            if len(self.stages) == 1:
                remedy = (
                    "gate the full-resolution skip (nnunet-attention plan --gate_full_resolution, "
                    "or gate_full_resolution in the plans' arch_kwargs), or use a plain U-Net"
                )
            raise ValueError(
                f"a network of {len(self.stages) + 1} stages has no skip connection to gate "
                f"(gate_full_resolution={gate_full_resolution}); {remedy}"
            )
        encoder = self.encoder
        # torch's own initialisation of the gates draws random numbers. With the generator forked,
        # nnU-Net's initialisation, which follows, draws the same numbers as for the plain network.
        with torch.random.fork_rng(devices=[]):
            self.gates = nn.ModuleList(
                AttentionGate(
                    encoder.conv_op,
                    skip_channels=encoder.output_channels[-(stage + 2)],
                    gating_channels=encoder.output_channels[-(stage + 1)],
                    stride=encoder.strides[-(stage + 1)],
                    output_transform=output_transform,
                    norm_op=encoder.norm_op,
                    norm_op_kwargs=encoder.norm_op_kwargs,
                )
                for stage in range(number_of_gates)
            )
        self.start_gates()

    def start_gates(self) -> None:
        """Set the gates' initial values; call it once, after all layers have been initialised."""
        start_gates(self.iter_gates(), self.stages, self.gate_start)

    def iter_gates(self) -> Iterator[AttentionGate]:
        """Iterate over the gates, coarsest first."""
        for gate in self.gates:
            assert isinstance(gate, AttentionGate)
            yield gate

    def forward(self, skips: Sequence[Tensor], return_coefficients: bool = False):
        """Decode the encoder's features.

        The loop is repeated here because UNetDecoder's own offers no place to call a gate.

        Shape:
            - skips: the encoder's outputs, highest resolution first, the bottleneck last
            - returns: logits (B, num_classes, *S), or with deep supervision a list of them, highest
              resolution first. With `return_coefficients` a tuple of that and the list of the
              gates' coefficients, each (B, 1, *S) on its skip's grid, bottleneck first.
        """
        return_coefficients |= self.training and self.coefficients_in_training
        logits, all_coefficients = [], []
        last = len(self.stages) - 1
        feature = skips[-1]
        for s in range(len(self.stages)):
            upsampled, skip = self.transpconvs[s](feature), skips[-(s + 2)]
            if s < len(self.gates):
                feature, coefficients = self.gates[s](skip, feature, upsampled)
                if return_coefficients:
                    all_coefficients.append(coefficients)
                del coefficients
            else:
                feature = torch.cat((upsampled, skip), 1)
            # Keeping them through the stage's convolutions would raise the peak memory.
            del upsampled, skip
            feature = self.stages[s](feature)
            if self.deep_supervision or s == last:
                logits.append(self.seg_layers[s](feature))
        prediction = logits[::-1] if self.deep_supervision else logits[0]
        return (prediction, all_coefficients) if return_coefficients else prediction

    def compute_conv_feature_map_size(self, input_size: Sequence[int]):
        """Count the values per case in all feature maps, gates included, for nnU-Net's estimate.

        Args:
            input_size: the size of the encoder's input, *S, without batch and channels.
        """
        output = super().compute_conv_feature_map_size(input_size)
        sizes = []
        for stride in self.encoder.strides:
            input_size = [size // step for size, step in zip(input_size, stride, strict=True)]
            sizes.append(input_size)
        for s, gate in enumerate(self.iter_gates()):
            output += np.int64(gate.compute_conv_feature_map_size(sizes[-(s + 2)]))
        return output


def encoder_and_decoder(network: nn.Module) -> tuple[nn.Module, AttentionDecoder] | None:
    """Return a network's encoder and AttentionDecoder, or None if it does not consist of these."""
    encoder, decoder = getattr(network, "encoder", None), getattr(network, "decoder", None)
    if isinstance(encoder, nn.Module) and isinstance(decoder, AttentionDecoder):
        return encoder, decoder
    return None


def take_over_layers(decoder: UNetDecoder, plain: UNetDecoder) -> None:
    """Turn `decoder`, whose own `__init__` has not run, into a module with the layers of `plain`.

    UNetDecoder.__init__ would build all layers a second time. Its order of registration is kept,
    and additions, such as gates, come last: nnU-Net initialises in this order, so that with the
    same seed the plain keys get the plain network's initial values.
    """
    nn.Module.__init__(decoder)
    decoder.deep_supervision = plain.deep_supervision
    decoder.encoder = plain.encoder
    decoder.num_classes = plain.num_classes
    decoder.stages = plain.stages
    decoder.transpconvs = plain.transpconvs
    decoder.seg_layers = plain.seg_layers
