"""The gated counterparts of nnU-Net's two standard networks."""

from typing import TYPE_CHECKING

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from torch import Tensor, nn

from nnunet_attention.networks.attention_decoder import AttentionDecoder
from nnunet_attention.networks.gate_start import DEFAULT_GATE_START

if TYPE_CHECKING:  # the class that follows in the method resolution order
    from dynamic_network_architectures.architectures.unet import PlainConvUNet as _UNet
else:
    _UNet = object


class _GatedSkips(_UNet):
    """Puts gates on the skips of the U-Net class that follows it in the method resolution order."""

    decoder: nn.Module

    def __init__(
        self,
        *args,
        gate_full_resolution: bool = False,
        output_transform: bool = False,
        gate_start: str = DEFAULT_GATE_START,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.decoder = AttentionDecoder(
            self.decoder,
            gate_full_resolution=gate_full_resolution,
            output_transform=output_transform,
            gate_start=gate_start,
        )

    @classmethod
    def initialize(cls, module: nn.Module) -> None:
        """Initialise one layer as nnU-Net does; for the decoder, then set the gates' start too.

        For `network.apply(network.initialize)`, which visits a module after all its submodules.
        """
        super().initialize(module)
        if isinstance(module, AttentionDecoder):
            module.start_gates()

    def forward(self, x: Tensor, return_coefficients: bool = False):
        """Segment `x`.

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
    `decoder.gates.*`. With the same seed the plain keys start with the plain network's values,
    except that the start `identity` doubles the weights that a gated skip is multiplied by.

    Args:
        *args: the arguments of PlainConvUNet.
        gate_full_resolution: gate the skip of the highest resolution too. The paper does not.
        output_transform: add a 1x1x1 convolution and a normalisation after the product; they are
            in the authors' code but not in the paper's figure.
        gate_start: the gates' initial values. `identity`: every coefficient starts at 0.5 and the
            next convolution makes up for it, so that the network computes what the plain one with
            the same seed computes; with `output_transform`, whose normalisation cannot preserve
            the function, the coefficients start at 0.5 and nothing makes up for it. `open`: every
            coefficient starts at 0.9526. `he`: as nnU-Net initialises any convolution.
        **kwargs: the named arguments of PlainConvUNet.

    Examples:
        In a plans file: `"network_class_name": "nnunet_attention.networks.AttentionUNet"`, with
        `"gate_full_resolution": true` among the `arch_kwargs`.

    References:
        Oktay et al., Attention U-Net, MIDL 2018, https://arxiv.org/abs/1804.03999
    """


class AttentionResidualEncoderUNet(_GatedSkips, ResidualEncoderUNet):
    """nnU-Net's ResidualEncoderUNet with attention gates on its skip connections.

    Options and state dict are as in `AttentionUNet`.
    """
