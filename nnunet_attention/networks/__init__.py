"""Attention U-Nets for nnU-Net plans.

The paths `nnunet_attention.networks.AttentionUNet` and `...AttentionResidualEncoderUNet` are
written into users' plans files; they stay.
"""

from nnunet_attention.networks.attention_decoder import AttentionDecoder
from nnunet_attention.networks.attention_unet import AttentionResidualEncoderUNet, AttentionUNet
from nnunet_attention.networks.from_plans import (
    UnsupportedNetworkError,
    attention_class_path,
    build_attention_network,
)

__all__ = [
    "AttentionDecoder",
    "AttentionResidualEncoderUNet",
    "AttentionUNet",
    "UnsupportedNetworkError",
    "attention_class_path",
    "build_attention_network",
]
