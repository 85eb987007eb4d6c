"""What networks cost, against numbers worked out by hand."""

import copy

import pytest
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_attention.cost import configuration_cost
from nnunet_attention.networks import UnsupportedNetworkError, build_attention_network

DATASET = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}}


@pytest.fixture
def cost(minimal_plans):
    return configuration_cost(PlansManager(minimal_plans), "3d_fullres", DATASET)


def test_patch_and_batch_are_the_plans(cost):
    assert cost.configuration == "3d_fullres"
    assert cost.patch_size == (4, 8, 16)
    assert cost.batch_size == 2
    assert list(cost.networks) == ["plain", "attention", "wide"]


def test_parameters_of_plain_network_and_gates(cost):
    # Convolutions with bias, then scale and shift of the norm, for stages of 4, 6, 8 channels.
    encoder = (9 * 1 * 4 + 4 + 8) + (27 * 4 * 6 + 6 + 12) + (27 * 6 * 8 + 8 + 16)
    lower = (8 * 8 * 6 + 6) + (27 * 12 * 6 + 6 + 12) + (6 * 2 + 2)
    upper = (4 * 6 * 4 + 4) + (9 * 8 * 4 + 4 + 8) + (4 * 2 + 2)
    gate = 8 * 6 * 3 + (8 * 3 + 3) + (3 + 1)
    assert cost.networks["plain"].parameters == encoder + lower + upper
    assert cost.networks["attention"].parameters == encoder + lower + upper + gate
    assert [found.parameters for found in cost.gates] == [gate]
    assert cost.gates[0].parameter_share == gate / (encoder + lower + upper + gate)


def test_flops_are_two_for_every_multiplication_of_a_convolution(cost):
    # Voxels of the stages: 4 x 8 x 16 = 512, 4 x 4 x 8 = 128, 2 x 2 x 4 = 16.
    encoder = 9 * 1 * 4 * 512 + 27 * 4 * 6 * 128 + 27 * 6 * 8 * 16
    lower = 8 * 6 * 128 + 27 * 12 * 6 * 128 + 6 * 2 * 128
    upper = 6 * 4 * 512 + 9 * 8 * 4 * 512 + 4 * 2 * 512
    gate = (8 * 6 * 3 + 8 * 3 + 3) * 16
    assert cost.networks["plain"].flops == 2 * (encoder + lower + upper)
    assert cost.networks["attention"].flops == 2 * (encoder + lower + upper + gate)
    assert [found.flops for found in cost.gates] == [2 * gate]


def test_a_gate_is_described_by_stage_channels_and_stride(cost):
    (gate,) = cost.gates
    assert (gate.stage, gate.stride) == (1, (2, 2, 2))
    assert (gate.skip_channels, gate.gating_channels, gate.inter_channels) == (6, 8, 3)


def test_gates_come_highest_resolution_first(minimal_plans):
    architecture = minimal_plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "nnunet_attention.networks.AttentionUNet"
    architecture["arch_kwargs"]["gate_full_resolution"] = True
    cost = configuration_cost(PlansManager(minimal_plans), "3d_fullres", DATASET)
    assert [(gate.stage, gate.stride) for gate in cost.gates] == [(0, (1, 2, 2)), (1, (2, 2, 2))]
    assert [gate.skip_channels for gate in cost.gates] == [4, 6]


def test_saved_activations_are_those_of_a_real_forward_pass(cost, minimal_plans):
    network = build_attention_network(
        PlansManager(minimal_plans).get_configuration("3d_fullres"), 1, 2
    )
    parameters = {parameter.data_ptr() for parameter in network.parameters()}
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = network(torch.randn(2, 1, 4, 8, 16))
    assert len(outputs) == 2
    expected = sum(
        tensor.untyped_storage().nbytes()
        for address, tensor in saved.items()
        if address not in parameters
    )
    assert cost.networks["attention"].saved_bytes == expected


def test_saved_activations_and_vram_grow_with_the_batch(cost, minimal_plans):
    plans = copy.deepcopy(minimal_plans)
    plans["configurations"]["3d_fullres"]["batch_size"] = 6
    larger = configuration_cost(PlansManager(plans), "3d_fullres", DATASET)
    for name, network in cost.networks.items():
        assert larger.networks[name].saved_bytes == 3 * network.saved_bytes
        assert larger.networks[name].vram_gb == pytest.approx(3 * network.vram_gb)
        assert larger.networks[name].flops == network.flops


def test_estimated_vram_is_nnunets_rule(cost, minimal_plans):
    network = build_attention_network(
        PlansManager(minimal_plans).get_configuration("3d_fullres"), 1, 2
    )
    values = network.compute_conv_feature_map_size((4, 8, 16))
    # ExperimentPlanner: 560 million values in each of two cases take 8 GB.
    assert cost.networks["attention"].vram_gb == pytest.approx(8 * values / 560e6)
    assert cost.networks["plain"].vram_gb < cost.networks["attention"].vram_gb


def test_another_network_is_refused(minimal_plans):
    architecture = minimal_plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "torch.nn.Linear"
    with pytest.raises(UnsupportedNetworkError, match=r"torch\.nn\.Linear"):
        configuration_cost(PlansManager(minimal_plans), "3d_fullres", DATASET)
