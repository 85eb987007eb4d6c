"""The decoder has the plain decoder's layers, and gates where there are skips to gate."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from nnunet_attention.gates import AttentionGate
from nnunet_attention.networks import AttentionDecoder


def plain_decoder(stages: int = 4) -> nn.Module:
    torch.manual_seed(0)
    network = PlainConvUNet(
        input_channels=1,
        n_stages=stages,
        features_per_stage=[4, 6, 8, 10][:stages],
        conv_op=nn.Conv3d,
        kernel_sizes=[[3, 3, 3]] * stages,
        strides=[[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 1, 2]][:stages],
        n_conv_per_stage=1,
        num_classes=2,
        n_conv_per_stage_decoder=1,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
    )
    return network.decoder


@pytest.mark.parametrize("full_resolution", [False, True])
def test_each_gate_has_the_channels_and_the_stride_of_its_skip(full_resolution):
    decoder = AttentionDecoder(plain_decoder(), gate_full_resolution=full_resolution)
    gates = [
        (gate.skip_channels, gate.gating_channels, gate.stride) for gate in decoder.iter_gates()
    ]
    expected = [(8, 10, (2, 1, 2)), (6, 8, (2, 2, 2)), (4, 6, (1, 2, 2))]
    assert gates == expected[: 3 if full_resolution else 2]
    assert all(isinstance(gate, AttentionGate) for gate in decoder.gates)


def test_the_layers_are_the_plain_decoders_own():
    plain = plain_decoder()
    decoder = AttentionDecoder(plain)
    assert decoder.stages is plain.stages
    assert decoder.encoder is plain.encoder
    names = [name for name, _ in decoder.named_children()]
    assert names == [*(name for name, _ in plain.named_children()), "gates"]


def test_gates_draw_none_of_the_random_numbers_that_follow():
    plain = plain_decoder()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    AttentionDecoder(plain)
    assert torch.rand(1) == expected


def test_feature_maps_of_gates_add_to_the_plain_decoders():
    plain = plain_decoder()
    size = (4, 8, 16)
    before = plain.compute_conv_feature_map_size(size)
    # Skips of 8 channels on (2, 2, 4) and 6 on (4, 4, 8); 2 * inter + 1 values on the gating grid
    # and one a voxel on the skip's.
    gates = (2 * 4 + 1) * (1 * 2 * 2) + 2 * 2 * 4 + (2 * 3 + 1) * (2 * 2 * 4) + 4 * 4 * 8
    assert AttentionDecoder(plain).compute_conv_feature_map_size(size) == before + gates


def test_a_single_skip_names_the_remedy():
    with pytest.raises(ValueError, match=r"2 stages has no skip .*--gate_full_resolution"):
        AttentionDecoder(plain_decoder(2))
    assert len(AttentionDecoder(plain_decoder(2), gate_full_resolution=True).gates) == 1


def test_an_unknown_start_is_refused():
    with pytest.raises(ValueError, match="gate_start is 'wide'; choose one of identity, open, he"):
        AttentionDecoder(plain_decoder(), gate_start="wide")
