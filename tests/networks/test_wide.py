"""The wide network: plain, and as large as the gated one."""

import copy

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_attention.networks import UnsupportedNetworkError, build_attention_network
from nnunet_attention.networks.wide import (
    build_plain_network,
    build_wide_network,
    count_parameters,
    nearest_features,
    wide_features_per_stage,
    wide_mismatch,
    wide_mismatch_in_words,
)


def quadratic(features):
    """A made-up network of two convolutions: parameters are products of neighbouring widths."""
    first, second = features
    return first * 3 + first * second * 9 + second * second * 9


def test_nearest_features_are_those_of_a_search_over_proportional_widths():
    # From (8, 16): 16 + m beside 8 * (16 + m) / 16, rounded half up, for m = 0, 1, 2:
    # (8, 16) 24 + 1152 + 2304 = 3480; (9, 17) 27 + 1377 + 2601 = 4005; (9, 18) 27 + 1458 + 2916
    # = 4401.
    assert nearest_features(3480, (8, 16), quadratic) == (8, 16)
    assert nearest_features(4000, (8, 16), quadratic) == (9, 17)
    assert nearest_features(4380, (8, 16), quadratic) == (9, 18)


def test_a_single_width_is_widened_where_that_comes_nearer():
    # (9, 16) 27 + 1296 + 2304 = 3627 lies between (8, 16) and (9, 17).
    assert nearest_features(3640, (8, 16), quadratic) == (9, 16)


def test_equal_widths_stay_equal():
    features = nearest_features(
        4 * 1030, (10, 20, 20), lambda widths: sum(width * width for width in widths) * 4
    )
    assert features[1] == features[2] > 20


@pytest.fixture
def configuration(minimal_plans):
    return PlansManager(minimal_plans).get_configuration("3d_fullres")


def residual(plans: dict) -> dict:
    plans = copy.deepcopy(plans)
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = (
        "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    )
    arguments = architecture["arch_kwargs"]
    arguments["n_blocks_per_stage"] = arguments.pop("n_conv_per_stage")
    return plans


def gated(plans: dict, name: str, **options: bool) -> dict:
    plans = copy.deepcopy(plans)
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = f"nnunet_attention.networks.{name}"
    architecture["arch_kwargs"].update(options)
    return plans


def test_the_wide_network_is_of_the_plain_class_and_runs(minimal_plans):
    for plans, network_class in (
        (minimal_plans, PlainConvUNet),
        (residual(minimal_plans), ResidualEncoderUNet),
    ):
        configuration = PlansManager(plans).get_configuration("3d_fullres")
        network = build_wide_network(configuration, 1, 2, deep_supervision=False)
        assert type(network) is network_class
        assert network.encoder.output_channels == list(wide_features_per_stage(configuration, 1, 2))
        assert network(torch.randn(1, 1, 4, 8, 16)).shape == (1, 2, 4, 8, 16)


def test_gated_plans_give_the_plain_and_the_wide_network_of_the_plain_plans(
    minimal_plans, configuration
):
    found = PlansManager(
        gated(minimal_plans, "AttentionUNet", gate_full_resolution=False, output_transform=False)
    ).get_configuration("3d_fullres")
    assert wide_features_per_stage(found, 1, 2) == wide_features_per_stage(configuration, 1, 2)
    plain = build_plain_network(found, 1, 2)
    assert type(plain) is PlainConvUNet
    assert plain.encoder.output_channels == [4, 6, 8]


def test_options_in_the_plans_are_matched_too(minimal_plans, configuration):
    wide = PlansManager(widened_plans(minimal_plans)).get_configuration("3d_fullres")
    with_options = PlansManager(
        gated(
            widened_plans(minimal_plans),
            "AttentionUNet",
            gate_full_resolution=True,
            output_transform=True,
        )
    ).get_configuration("3d_fullres")
    target = count_parameters(build_attention_network(with_options, 1, 2))
    assert target > count_parameters(build_attention_network(wide, 1, 2))
    assert count_parameters(build_wide_network(with_options, 1, 2)) == pytest.approx(
        target, rel=0.01
    )


def widened_plans(plans: dict) -> dict:
    """Widths at which one channel is about a hundredth."""
    plans = copy.deepcopy(plans)
    arguments = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arguments["features_per_stage"] = [32, 64, 128]
    return plans


def test_building_changes_neither_plans_nor_later_results(minimal_plans, configuration):
    before = copy.deepcopy(minimal_plans)
    first = build_wide_network(configuration, 1, 2)
    second = build_wide_network(PlansManager(before).get_configuration("3d_fullres"), 1, 2)
    assert minimal_plans == before
    assert {key: value.shape for key, value in first.state_dict().items()} == {
        key: value.shape for key, value in second.state_dict().items()
    }


def test_another_network_is_refused(minimal_plans):
    plans = gated(minimal_plans, "AttentionUNet")
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "torch.nn.Linear"
    with pytest.raises(UnsupportedNetworkError, match=r"torch\.nn\.Linear"):
        wide_features_per_stage(PlansManager(plans).get_configuration("3d_fullres"), 1, 2)


def few_channels(plans: dict) -> dict:
    """Widths at which one channel is a large step."""
    plans = copy.deepcopy(plans)
    arguments = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arguments["features_per_stage"] = [3, 3, 3]
    return plans


def test_the_mismatch_is_the_share_of_the_gated_networks_parameters(minimal_plans):
    for plans in (few_channels(minimal_plans), widened_plans(minimal_plans)):
        configuration = PlansManager(plans).get_configuration("3d_fullres")
        wide, gated_network = (
            count_parameters(build(configuration, 1, 2))
            for build in (build_wide_network, build_attention_network)
        )
        assert wide_mismatch(configuration, 1, 2) == pytest.approx(wide / gated_network - 1)


def test_few_channels_miss_the_size_and_it_is_said_by_how_much():
    assert wide_mismatch_in_words(0.0278) == (
        "the wide U-Net has 2.8% more parameters than the attention U-Net: with the channels of "
        "these plans, no size within 1% is possible"
    )
    assert "has 12.0% fewer parameters" in wide_mismatch_in_words(-0.12)
