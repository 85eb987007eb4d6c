"""Weights are fitted to another network by rules that keep what the layers answer."""

from copy import deepcopy

import pytest
import torch
from nnssl_checkpoints import nnssl_checkpoint, plans_like_source, source_network
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from plain_checkpoints import network_of, plain_checkpoint, plans_of
from torch import Tensor, nn

from nnunet_attention.errors import CommandError
from nnunet_attention.networks.wide import build_plain_network
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import read_source
from nnunet_attention.weights.adaptation import Adaptation, adapt, load_adapted

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def read(tmp_path):
    """Reads a checkpoint that is saved first."""

    def read_saved(content: dict):
        path = tmp_path / "source.pth"
        torch.save(content, path)
        return read_source(path)

    return read_saved


def adapted(source, plans: dict, channels: int = 1, dtype: torch.dtype = torch.float32):
    """The attention network of plans, with the source's weights, and what became of each."""
    network = built(plans, channels).to(dtype)
    adaptation = adapt(source, network, channels)
    load_adapted(network, adaptation)
    return network.eval(), adaptation


def built(plans: dict, channels: int, previous: int = 0) -> nn.Module:
    manager = PlansManager(deepcopy(plans))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return AttentionUNetTrainer.build_network_architecture(
            manager, manager.get_configuration("3d_fullres"), channels + previous, 3
        )


def features(network: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return network.encoder(image)


def assert_close(found: list[Tensor], wanted: list[Tensor]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert other.std() > 0.01
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def outcome_of(adaptation: Adaptation, name: str):
    return next(outcome for outcome in adaptation.outcomes if outcome.name == name)


def outcomes(adaptation: Adaptation, start: str) -> set[str]:
    return {outcome.outcome for outcome in adaptation.outcomes if outcome.name.startswith(start)}


def image(channels: int = 1, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn((1, channels, size, size, size), generator=generator)


def test_the_encoder_of_a_pretraining_answers_the_same(read, minimal_plans):
    network, adaptation = adapted(read(nnssl_checkpoint()), plans_like_source(minimal_plans))
    assert_close(features(network, image()), features(source_network(), image()))
    assert adaptation.encoder_share == 1
    assert outcomes(adaptation, "encoder.") == {"taken"}
    assert outcomes(adaptation, "decoder.gates.") == {"new"}
    assert outcomes(adaptation, "decoder.stages.") == {"new", "left out"}


@pytest.mark.parametrize(("source_channels", "channels"), [(1, 3), (2, 4), (2, 3)])
def test_more_channels_answer_the_same_to_repeated_images(
    read, minimal_plans, source_channels, channels
):
    pretrained = source_network(source_channels)
    source = read(nnssl_checkpoint(pretrained, source_channels))
    network, adaptation = adapted(source, plans_like_source(minimal_plans), channels)
    original = image(source_channels)
    repeated = original[:, [place % source_channels for place in range(channels)]]
    assert_close(features(network, repeated), features(pretrained, original))
    first = outcome_of(adaptation, "encoder.stem.convs.0.conv.weight")
    assert first.outcome == "adapted"
    assert f"repeated to {channels}" in first.reason


@pytest.mark.parametrize(("source_channels", "channels"), [(3, 1), (3, 2)])
def test_fewer_channels_answer_the_same_to_repeated_images(
    read, minimal_plans, source_channels, channels
):
    pretrained = source_network(source_channels)
    source = read(nnssl_checkpoint(pretrained, source_channels))
    network, _ = adapted(source, plans_like_source(minimal_plans), channels)
    original = image(channels)
    repeated = original[:, [place % channels for place in range(source_channels)]]
    assert_close(features(network, original), features(pretrained, repeated))


def test_shorter_kernels_answer_the_same_to_images_constant_along_the_axis(read, minimal_plans):
    pretrained = source_network()
    plans = plans_like_source(
        minimal_plans,
        kernel_sizes=[[1, 3, 3], [1, 3, 3], [3, 1, 3]],
        strides=[[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    )
    network, adaptation = adapted(read(nnssl_checkpoint()), plans)
    # The third stage has its short kernel along another axis: compare what comes before.
    original = image()[:, :, :1].expand(-1, -1, 16, -1, -1)
    for convolutions in (pretrained, network):
        for module in convolutions.modules():
            if isinstance(module, nn.Conv3d):
                # Padding with zeros is where an image stops being constant.
                module.padding_mode = "replicate"
                module._reversed_padding_repeated_twice = [
                    size for size in reversed(module.padding) for _ in range(2)
                ]
    found, wanted = features(network, original)[:2], features(pretrained, original)[:2]
    assert_close([feature[:, :, 0] for feature in found], [feature[:, :, 0] for feature in wanted])
    weight = outcome_of(adaptation, "encoder.stages.2.blocks.0.conv1.conv.weight")
    assert weight.reason == "kernel summed from 3 to 1 along axis 1"
    assert any("strides are" in note for note in adaptation.notes)


def test_longer_kernels_answer_the_same_to_any_image(read, minimal_plans):
    flat = {"kernel_sizes": [[1, 3, 3], [1, 1, 3], [3, 3, 3]]}
    plans = plans_like_source(minimal_plans, **flat)
    checkpoint = plain_checkpoint(plans)
    long_plans = plans_like_source(minimal_plans)
    network, adaptation = adapted(read(checkpoint), long_plans, 2)
    pretrained = network_of_plain(plans)
    pretrained.load_state_dict(checkpoint["network_weights"])
    assert_close(features(network, image(2)), features(pretrained, image(2)))
    weight = outcome_of(adaptation, "encoder.stages.1.blocks.1.conv2.conv.weight")
    assert weight.reason == (
        "kernel padded with 0 from 1 to 3 along axis 0; "
        "kernel padded with 0 from 1 to 3 along axis 1"
    )


def network_of_plain(plans: dict) -> nn.Module:
    configuration = PlansManager(deepcopy(plans)).get_configuration("3d_fullres")
    return build_plain_network(configuration, 2, 3).eval()


def test_deeper_stages_start_as_new_and_the_others_answer_the_same(read, minimal_plans):
    deeper = plans_like_source(
        minimal_plans,
        n_stages=4,
        features_per_stage=[4, 6, 8, 10],
        kernel_sizes=[[3, 3, 3]] * 4,
        strides=[[1, 1, 1], *[[2, 2, 2]] * 3],
        n_blocks_per_stage=[1, 2, 1, 1],
        n_conv_per_stage_decoder=[1, 1, 1],
    )
    network, adaptation = adapted(read(nnssl_checkpoint()), deeper)
    assert_close(features(network, image())[:3], features(source_network(), image()))
    assert outcomes(adaptation, "encoder.stages.3.") == {"new"}
    assert 0 < adaptation.encoder_share < 1
    new = outcome_of(adaptation, "encoder.stages.3.blocks.0.conv1.conv.weight")
    assert new.reason == "the source has only 3 stages"


def test_surplus_blocks_and_stages_are_named(read, minimal_plans):
    shallow = plans_like_source(
        minimal_plans,
        n_stages=2,
        features_per_stage=[4, 6],
        kernel_sizes=[[3, 3, 3]] * 2,
        strides=[[1, 1, 1], [2, 2, 2]],
        n_blocks_per_stage=[1, 1],
        n_conv_per_stage_decoder=[1],
    )
    network = network_of_source(shallow)
    adaptation = adapt(read(nnssl_checkpoint()), network, 1)
    left = {outcome.name for outcome in adaptation.outcomes if outcome.outcome == "left out"}
    assert "encoder.stages.1.blocks.1.conv2.norm.bias" in left
    assert "encoder.stages.2.blocks.0.skip.1.conv.weight" in left
    # Each tensor once, under one of its names.
    assert not any("all_modules" in name or "decoder.encoder" in name for name in left)
    assert adaptation.encoder_share == 1


def network_of_source(plans: dict) -> nn.Module:
    configuration = PlansManager(deepcopy(plans)).get_configuration("3d_fullres")
    return build_plain_network(configuration, 1, 3)


def test_a_decoder_is_matched_from_the_full_resolution_down(read, minimal_plans):
    plans = plans_like_source(minimal_plans)
    checkpoint = plain_checkpoint(plans)
    deeper = plans_like_source(
        minimal_plans,
        n_stages=4,
        features_per_stage=[4, 6, 8, 8],
        kernel_sizes=[[3, 3, 3]] * 4,
        strides=[[1, 1, 1], *[[2, 2, 2]] * 3],
        n_blocks_per_stage=[1, 2, 1, 1],
        n_conv_per_stage_decoder=[1, 1, 1],
    )
    network, adaptation = adapted(read(checkpoint), deeper, 2)
    name = "decoder.stages.2.convs.0.conv.weight"
    assert outcome_of(adaptation, name).reason == "from decoder.stages.1.convs.0.conv.weight"
    assert torch.equal(
        network.state_dict()[name],
        checkpoint["network_weights"]["decoder.stages.1.convs.0.conv.weight"],
    )
    assert outcome_of(adaptation, "decoder.stages.0.convs.0.conv.weight").outcome == "new"


def test_a_layer_of_other_width_is_new_as_a_whole(read, minimal_plans):
    wide = plans_like_source(minimal_plans, features_per_stage=[4, 6, 9])
    network = network_of_source(wide)
    before = deepcopy(network.state_dict())
    adaptation = adapt(read(nnssl_checkpoint()), network, 1)
    load_adapted(network, adaptation)
    assert outcomes(adaptation, "encoder.stages.2.") == {"new"}
    weight = outcome_of(adaptation, "encoder.stages.2.blocks.0.conv1.conv.weight")
    assert weight.reason == "it is 9x6x3x3x3 here, 8x6x3x3x3 in the source"
    name = "encoder.stages.2.blocks.0.conv1.norm.bias"
    assert outcome_of(adaptation, name).reason == "its layer is newly initialised"
    assert torch.equal(network.state_dict()[name], before[name])


def test_where_all_layers_are_of_another_width_the_sources_are_not_told_as_absent(
    read, minimal_plans
):
    plans = plans_like_source(minimal_plans)
    wide = plans_like_source(minimal_plans, features_per_stage=[5, 7, 9])
    adaptation = adapt(read(plain_checkpoint(plans)), network_of_plain(wide), 2)
    assert adaptation.weights == {}
    left = {o.name: o.reason for o in adaptation.outcomes if o.outcome == "left out"}
    assert not any(name.startswith("encoder.") for name in left)
    assert set(left.values()) == {"the encoder that feeds it is newly initialised"}
    weight = outcome_of(adaptation, "encoder.stages.2.blocks.0.conv1.conv.weight")
    assert weight.reason == "it is 9x7x3x3x3 here, 8x6x3x3x3 in the source"


def test_a_plain_network_tells_a_residual_one_nothing(read, minimal_plans):
    adaptation = adapt(
        read(plain_checkpoint(minimal_plans)),
        network_of_source(plans_like_source(minimal_plans)),
        1,
    )
    assert adaptation.encoder_share == 0
    assert adaptation.weights == {}
    assert outcomes(adaptation, "encoder.stem") == {"new"}
    weight = outcome_of(adaptation, "encoder.stages.0.blocks.0.conv1.conv.weight")
    assert weight.reason == "the source's PlainConvUNet builds its stages differently"
    decoder = outcome_of(adaptation, "decoder.stages.0.convs.0.conv.weight")
    assert (decoder.outcome, decoder.reason) == (
        "new",
        "the encoder that feeds it is newly initialised",
    )


def test_a_cascades_segmentations_begin_with_nothing(read, minimal_plans):
    network = built(plans_like_source(minimal_plans), 2, previous=2)
    adaptation = adapt(read(nnssl_checkpoint()), network, 2)
    load_adapted(network, adaptation)
    segmentations = torch.rand(1, 2, 16, 16, 16)
    shown = torch.cat([image().expand(-1, 2, -1, -1, -1), segmentations], 1)
    assert_close(features(network, shown), features(source_network(), image()))
    first = outcome_of(adaptation, "encoder.stem.convs.0.conv.weight")
    assert "2 channels of an earlier stage's segmentations start at 0" in first.reason


@pytest.mark.parametrize("there", ["plain 3d", "plain 2d"])
def test_two_and_three_dimensions_do_not_meet(read, minimal_plans, there):
    here = {"plain 3d": "plain 2d", "plain 2d": "plain 3d"}[there]
    network = network_of(AttentionUNetTrainer, plans_of(minimal_plans, here))
    source = read(plain_checkpoint(plans_of(minimal_plans, there)))
    dimensions = f"holds a {there[-2]}-D network, but the plans' configuration is {here[-2]}-D"
    with pytest.raises(CommandError, match=dimensions):
        adapt(source, network, 2)


def test_weights_that_are_not_finite_are_refused(read, minimal_plans):
    checkpoint = nnssl_checkpoint()
    checkpoint["network_weights"]["encoder.stages.1.blocks.0.conv1.norm.bias"][0] = torch.nan
    network = network_of_source(plans_like_source(minimal_plans))
    with pytest.raises(CommandError, match="not finite"):
        adapt(read(checkpoint), network, 1)


@pytest.mark.parametrize("damage", ["flat", "whole numbers", "eight bits", "sparse", "meta"])
def test_damaged_weights_are_new_or_refused(read, minimal_plans, damage):
    checkpoint = nnssl_checkpoint()
    name = "encoder.stem.convs.0.conv.weight"
    weight = checkpoint["network_weights"][name]
    network = network_of_source(plans_like_source(minimal_plans))
    if damage == "flat":
        checkpoint["network_weights"][name] = weight.flatten()
        first = outcome_of(adapt(read(checkpoint), network, 1), name)
        assert (first.outcome, first.reason) == ("new", "it is 4x1x3x3x3 here, 108 in the source")
        return
    damaged, told = {
        "whole numbers": (weight.to(torch.int64), r"of type torch\.int64"),
        "eight bits": (weight.to(torch.float8_e4m3fn), r"of type torch\.float8_e4m3fn"),
        "sparse": (weight.to_sparse(), r"stored as torch\.sparse_coo"),
        "meta": (weight.to("meta"), "a tensor without values"),
    }[damage]
    checkpoint["network_weights"][name] = damaged
    with pytest.raises(CommandError, match=told):
        adapt(read(checkpoint), network, 1)


def test_gates_with_an_output_transform_are_refused(read, minimal_plans):
    plans = plans_like_source(minimal_plans, output_transform=True)
    plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = (
        "nnunet_attention.networks.AttentionResidualEncoderUNet"
    )
    with pytest.raises(CommandError, match="output_transform=False"):
        adapted(read(nnssl_checkpoint()), plans)


def test_heads_can_be_left_to_the_trainer(read, minimal_plans):
    plans = plans_like_source(minimal_plans)
    adaptation = adapt(read(plain_checkpoint(plans)), network_of_plain(plans), 2, heads=False)
    assert outcomes(adaptation, "decoder.seg_layers.") == {"new"}
    assert outcomes(adaptation, "decoder.stages.") == {"taken"}


def test_every_tensor_has_one_row(read, minimal_plans):
    network = network_of_source(plans_like_source(minimal_plans))
    adaptation = adapt(read(nnssl_checkpoint()), network, 1)
    rows = [outcome.name for outcome in adaptation.outcomes if outcome.outcome != "left out"]
    wanted = [name for name, _ in network.named_parameters()]
    assert sorted(rows) == sorted(wanted)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"nonlin_kwargs": {"inplace": False, "negative_slope": 0.5}},
            ["negative_slope of nonlin is 0.5 here, 0.01 in the source"],
        ),
        (
            {"norm_op_kwargs": {"eps": 0.1, "affine": True}},
            ["eps of norm_op is 0.1 here, 1e-05 in the source"],
        ),
        (
            {"dropout_op": "torch.nn.Dropout3d", "dropout_op_kwargs": {"p": 0.25}},
            ["dropout_op is Dropout3d here, absent in the source"],
        ),
        ({"nonlin": "torch.nn.ReLU"}, ["nonlin is ReLU here, LeakyReLU in the source"]),
        # Written otherwise, they are the same.
        ({"nonlin_kwargs": {"inplace": True, "negative_slope": 0.01}}, []),
        ({"norm_op_kwargs": {"affine": True}, "dropout_op_kwargs": {}}, []),
    ],
)
def test_differences_that_show_in_no_tensor_are_told(read, minimal_plans, changes, told):
    source = read(plain_checkpoint(plans_like_source(minimal_plans)))
    _, adaptation = adapted(source, plans_like_source(minimal_plans, **changes), channels=2)
    assert list(adaptation.notes) == told


def test_new_input_layers_under_layers_of_the_source_are_told(read, minimal_plans):
    checkpoint = nnssl_checkpoint()
    checkpoint["network_weights"] = {
        name: value for name, value in checkpoint["network_weights"].items() if ".stem." not in name
    }
    _, adaptation = adapted(read(checkpoint), plans_like_source(minimal_plans))
    assert outcomes(adaptation, "encoder.stem.") == {"new"}
    assert outcomes(adaptation, "encoder.stages.") == {"taken"}
    assert adaptation.notes[0].startswith("the input layers are newly initialised")


def test_another_start_of_the_gates_is_told_and_not_taken(read, minimal_plans):
    plans = plans_like_source(minimal_plans, gate_start="open")
    plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = (
        "nnunet_attention.networks.AttentionResidualEncoderUNet"
    )
    network, adaptation = adapted(read(nnssl_checkpoint()), plans)
    told = "the gates start as identity, not as open, which the plans ask for"
    assert told in adaptation.notes
    with torch.no_grad():
        _, (coefficients,) = network(image(), return_coefficients=True)
    assert (coefficients == 0.5).all()


def test_plans_of_a_cascade_that_the_weights_are_not_of_are_refused(read, minimal_plans):
    checkpoint = plain_checkpoint(minimal_plans)
    configurations = checkpoint["init_args"]["plans"]["configurations"]
    configurations["3d_fullres"]["previous_stage"] = "3d_lowres"
    network = network_of(AttentionUNetTrainer, minimal_plans)
    with pytest.raises(CommandError, match="has 2 channels, but its plans give 2"):
        adapt(read(checkpoint), network, 2)
