"""The gated networks keep the contract."""

from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from network_contract import NetworkContract

from nnunet_attention.networks import AttentionResidualEncoderUNet, AttentionUNet


class TestAttentionUNet(NetworkContract):
    gated_class = AttentionUNet
    plain_class = PlainConvUNet
    blocks = {"n_conv_per_stage": [1, 2, 1, 2]}  # noqa: RUF012 read only


class TestAttentionResidualEncoderUNet(NetworkContract):
    gated_class = AttentionResidualEncoderUNet
    plain_class = ResidualEncoderUNet
    blocks = {"n_blocks_per_stage": [1, 2, 1, 2]}  # noqa: RUF012 read only
