"""The gated counterparts of nnU-Net's two standard networks."""

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import Tensor

from nnunet_attention.networks.attention_decoder import AttentionDecoder
from nnunet_attention.networks.normalisation import without_views


class _GatedSkips:
    """Puts gates on the skips of the U-Net class that follows it in the method resolution order."""

    def __init__(
        self, *args, gate_full_resolution: bool = False, output_transform: bool = False, **kwargs
    ):
        super().__init__(*args, **kwargs)
        self.decoder = AttentionDecoder(
            self.decoder,
            gate_full_resolution=gate_full_resolution,
            output_transform=output_transform,
        )
        without_views(self)

    def forward(self, x: Tensor, return_coefficients: bool = False):
        """Segments `x`.

        Shape:
            - x: (B, input_channels, *S)
            - returns: logits (B, num_classes, *S), or with deep supervision a list of them, highest
              resolution first. With `return_coefficients` a tuple of that and the list of the
              gates' coefficients, each (B, 1, *S) on its skip's grid, bottleneck first.
        """
        return self.decoder(self.encoder(x), return_coefficients)


class AttentionUNet(_GatedSkips, PlainConvUNet):
    """nnU-Net's PlainConvUNet with attention gates on its skip connections.

    Its state dict holds every key of the plain network, in the plain shapes, and
    `decoder.gates.*`. With one seed, the plain keys start with the plain network's values.

    Args:
        *args: those of PlainConvUNet.
        gate_full_resolution: gate the skip of the highest resolution too. The paper does not.
        output_transform: 1x1x1 convolution and normalisation after the product, as the authors'
            code has and the paper's figure has not.
        **kwargs: those of PlainConvUNet.

    Examples:
        In a plans file: `"network_class_name": "nnunet_attention.networks.AttentionUNet"`, with
        `"gate_full_resolution": true` among the `arch_kwargs`.

    References:
        Oktay et al., Attention U-Net, MIDL 2018, https://arxiv.org/abs/1804.03999
    """


class AttentionResidualEncoderUNet(_GatedSkips, ResidualEncoderUNet):
    """nnU-Net's ResidualEncoderUNet with attention gates on its skip connections.

    Options and state dict as in `AttentionUNet`.
    """
