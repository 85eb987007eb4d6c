import pytest
import torch
from torch import nn

from nnunet_attention import AttentionUNet, record_attention
from nnunet_attention.maps import NoAttentionGatesError


@pytest.fixture
def network() -> AttentionUNet:
    torch.manual_seed(0)
    return AttentionUNet(
        input_channels=1,
        n_stages=3,
        features_per_stage=[2, 4, 6],
        conv_op=nn.Conv3d,
        kernel_sizes=3,
        strides=[(1, 1, 1), (1, 2, 2), (2, 2, 2)],
        n_conv_per_stage=1,
        num_classes=2,
        n_conv_per_stage_decoder=1,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
        gate_full_resolution=True,
        gate_start="he",  # coefficients that differ from voxel to voxel
    ).eval()


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(2, 1, 4, 8, 16, generator=torch.Generator().manual_seed(1))


def test_the_record_holds_what_the_network_returns_as_coefficients(network, image):
    logits, coefficients = network(image, return_coefficients=True)
    with record_attention(network) as maps:
        assert network(image).equal(logits)
    assert list(maps) == ["gate_0", "gate_1"]
    assert maps["gate_0"].shape == (2, 1, 4, 4, 8)
    assert maps["gate_1"].shape == (2, 1, 4, 8, 16)
    for recorded, wanted in zip(maps.values(), coefficients, strict=True):
        assert recorded.equal(wanted)
        assert not recorded.requires_grad


def test_every_pass_is_kept_and_the_mapping_shows_the_last(network, image):
    with record_attention(network) as maps:
        network(image)
        network(-image)
    assert len(maps.passes) == 2
    assert maps["gate_0"].equal(maps.passes[1]["gate_0"])
    assert not maps["gate_0"].equal(maps.passes[0]["gate_0"])


def test_features_are_the_means_over_channels_before_and_after_the_gate(network, image):
    skips = network.encoder(image)
    with record_attention(network, features=True) as maps:
        network(image)
    assert list(maps) == ["gate_0", "skip_0", "gated_0", "gate_1", "skip_1", "gated_1"]
    for number, skip in enumerate((skips[1], skips[0])):
        torch.testing.assert_close(maps[f"skip_{number}"][:, 0], skip.mean(1))
        gated = (skip * maps[f"gate_{number}"]).mean(1)
        torch.testing.assert_close(maps[f"gated_{number}"][:, 0], gated)


def test_nothing_is_recorded_after_the_block(network, image):
    with record_attention(network) as maps:
        pass
    network(image)
    assert len(maps) == 0
    with pytest.raises(KeyError, match="has not run yet"):
        maps["gate_0"]


def test_an_error_inside_the_block_stops_the_recording(network, image):
    with pytest.raises(ZeroDivisionError), record_attention(network) as maps:
        raise ZeroDivisionError
    network(image)
    assert len(maps) == 0


def test_a_network_without_gates_is_refused_with_the_remedy():
    with (
        pytest.raises(NoAttentionGatesError, match="Sequential has no attention gates"),
        record_attention(nn.Sequential(nn.Conv3d(1, 1, 1))),
    ):
        pass


def test_a_compiled_network_is_refused(network):
    compiled = torch.compile(network, backend="eager")
    with pytest.raises(ValueError, match="_orig_mod"), record_attention(compiled):
        pass
