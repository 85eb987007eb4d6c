"""Every configuration of real nnU-Net plans becomes an attention U-Net."""

import copy
import json
from functools import lru_cache

import numpy as np
import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from shared_data import PLANS, needs, reference_configurations

from nnunet_attention.networks import (
    AttentionUNet,
    UnsupportedNetworkError,
    attention_class_path,
    build_attention_network,
)

CONFIGURATIONS = reference_configurations()
each_configuration = pytest.mark.parametrize(
    ("path", "name"),
    CONFIGURATIONS or [pytest.param(None, None, marks=pytest.mark.skip(f"no plans in {PLANS}"))],
    ids=lambda value: "-".join(value.parts[-3:-1]) if hasattr(value, "parts") else value,
)


# What takes seconds for each: three data sets are tried in a quick run, all planners of theirs.
_QUICK = ("Dataset002_Heart", "Dataset004_Hippocampus", "Dataset010_Colon")
each_configuration_of_some_quickly = pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(path, name, marks=[] if path.parent.name in _QUICK else pytest.mark.slow)
        for path, name in CONFIGURATIONS
    ]
    or [pytest.param(None, None, marks=pytest.mark.skip(f"no plans in {PLANS}"))],
    ids=lambda value: "-".join(value.parts[-3:-1]) if hasattr(value, "parts") else value,
)


@lru_cache
def load(path):
    dataset = json.loads((path.parent / "dataset.json").read_text())
    return PlansManager(json.loads(path.read_text())), dataset


def channels(path, name):
    plans, dataset = load(path)
    configuration = plans.get_configuration(name)
    heads = plans.get_label_manager(dataset).num_segmentation_heads
    return configuration, determine_num_input_channels(plans, configuration, dataset), heads


@lru_cache
def representatives():
    """The first configuration of each architecture, inputs and heads: plans often share one."""
    first = {}
    for path, name in CONFIGURATIONS:
        first.setdefault(architecture_of(path, name), (path, name))
    return first


def architecture_of(path, name):
    configuration, inputs, heads = channels(path, name)
    arguments = json.dumps(configuration.network_arch_init_kwargs)
    return configuration.network_arch_class_name, arguments, inputs, heads


def build(path, name):
    configuration, inputs, heads = channels(path, name)
    return build_attention_network(configuration, inputs, heads)


def build_plain(path, name):
    configuration, inputs, heads = channels(path, name)
    return get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        inputs,
        heads,
        deep_supervision=True,
    )


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@needs(PLANS)
def test_the_reference_plans_are_all_there():
    files = {path for path, _ in CONFIGURATIONS}
    names = {name for _, name in CONFIGURATIONS}
    assert len(files) == 30
    assert names == {"2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres"}


@each_configuration
def test_keys_are_a_superset_and_parameters_grow_within_bounds(path, name):
    gated, plain = meta_networks(*representatives()[architecture_of(path, name)])
    gated_state, plain_state = gated.state_dict(), plain.state_dict()
    assert all(gated_state[key].shape == value.shape for key, value in plain_state.items())
    assert all(key.startswith("decoder.gates.") for key in set(gated_state) - set(plain_state))
    assert len(gated.decoder.gates) == len(plain.encoder.strides) - 2
    by_hand = sum(
        gate_parameters_by_hand(skip, gating, stride)
        for skip, gating, stride in zip(
            plain.encoder.output_channels[1:-1],
            plain.encoder.output_channels[2:],
            plain.encoder.strides[2:],
            strict=True,
        )
    )
    assert parameters(gated) - parameters(plain) == by_hand
    bound = LARGEST_GROWTH["PlainConvUNet" in path.parts, name == "2d"]
    assert parameters(gated) / parameters(plain) - 1 <= bound


@lru_cache
def meta_networks(path, name):
    with torch.device("meta"):
        return build(path, name), build_plain(path, name)


# (plain encoder, 2d) -> share of the plain network's parameters. In 2-D a gate weighs more: theta's
# 2 x 2 kernel stands beside kernels of 3 x 3, in 3-D 2 x 2 x 2 beside 3 x 3 x 3.
LARGEST_GROWTH = {
    (True, False): 0.035,
    (False, False): 0.012,
    (True, True): 0.049,
    (False, True): 0.016,
}


def gate_parameters_by_hand(skip: int, gating: int, stride: list[int]) -> int:
    inside = skip // 2
    theta = inside * skip * int(np.prod(stride))
    return theta + (inside * gating + inside) + (inside + 1)


@each_configuration_of_some_quickly
def test_a_reduced_patch_runs_forward_and_backward(path, name):
    gradients = gate_gradients_on_a_reduced_patch(*representatives()[architecture_of(path, name)])
    for key, gradient in gradients.items():
        assert gradient.isfinite().all(), key
        assert gradient.abs().max() > 0, key


@lru_cache
def gate_gradients_on_a_reduced_patch(path, name):
    configuration, inputs, heads = channels(path, name)
    with torch.device("meta"):
        network = build(path, name)
    network.to_empty(device="cpu")
    fill_with_noise(network)
    # Gradients of the gates alone: those of 100 M other parameters only take time.
    network.requires_grad_(False)
    network.decoder.gates.requires_grad_(True)
    # The smallest patch that the strides divide, twice in the last axis: an instance norm needs
    # two voxels.
    size = np.prod(configuration.pool_op_kernel_sizes, axis=0).tolist()
    size[-1] *= 2
    outputs = network(torch.randn(1, inputs, *size, generator=torch.Generator().manual_seed(0)))
    assert outputs[0].shape == (1, heads, *size)
    sum(output.pow(2).mean() for output in outputs).backward()
    return {key: parameter.grad for key, parameter in network.decoder.gates.named_parameters()}


@lru_cache(maxsize=1)
def noise() -> torch.Tensor:
    return torch.empty(1 << 20).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def fill_with_noise(network):
    """Numbers of about He's size, many times faster than nnU-Net's initialisation."""
    for module in network.modules():
        for key, parameter in module.named_parameters(recurse=False):
            if parameter.ndim == 1:
                parameter.fill_(1.0 if key == "weight" else 0.0)
                continue
            limit = (6 / parameter[0].numel()) ** 0.5
            for chunk in parameter.view(-1).split(noise().numel()):
                torch.mul(noise()[: chunk.numel()], limit, out=chunk)


@pytest.mark.parametrize("gate_full_resolution", [False, True])
def test_plans_that_name_our_network_keep_their_options(minimal_plans, gate_full_resolution):
    architecture = minimal_plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "nnunet_attention.networks.AttentionUNet"
    architecture["arch_kwargs"]["gate_full_resolution"] = gate_full_resolution
    configuration = PlansManager(minimal_plans).get_configuration("3d_fullres")
    network = build_attention_network(configuration, 1, 2)
    assert type(network) is AttentionUNet
    assert len(network.decoder.gates) == (2 if gate_full_resolution else 1)


def test_stock_nnunet_builds_our_network_by_its_path(minimal_plans):
    architecture = minimal_plans["configurations"]["3d_fullres"]["architecture"]
    network = get_network_from_plans(
        "nnunet_attention.networks.AttentionUNet",
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        2,
        deep_supervision=False,
    )
    assert type(network) is AttentionUNet
    assert network(torch.randn(1, 1, 4, 8, 16)).shape == (1, 2, 4, 8, 16)


def test_building_does_not_change_the_plans(minimal_plans):
    before = copy.deepcopy(minimal_plans)
    build_attention_network(PlansManager(minimal_plans).get_configuration("3d_fullres"), 1, 2)
    assert minimal_plans == before


def test_a_moved_class_is_recognised_by_its_last_name():
    path = attention_class_path("an.older.place.of.ResidualEncoderUNet")
    assert path == "nnunet_attention.networks.AttentionResidualEncoderUNet"


@pytest.mark.parametrize(
    "network",
    [
        "dynamic_network_architectures.architectures.primus.Primus",
        "dynamic_network_architectures.architectures.unet.ResidualUNet",
        "torch.nn.Linear",
        "my_package.networks.MyNetwork",
        "torch.nn",
    ],
)
def test_another_network_is_refused_by_name_and_the_supported_ones_are_listed(network):
    with pytest.raises(UnsupportedNetworkError) as error:
        attention_class_path(network)
    assert f"the plans name the network {network};" in str(error.value)
    assert "PlainConvUNet, ResidualEncoderUNet" in str(error.value)
