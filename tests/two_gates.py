"""Plans of small networks with two gates, in two or three dimensions."""

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from pointwise_network import pointwise_plans
from smallest_plans import smallest_plans
from torch import nn

from nnunet_attention.networks import build_attention_network


def plans_of_two_gates(dimensions: int) -> dict:
    """Those of `smallest_plans`, with a gate at full resolution; in 2-D without the first axis."""
    plans = pointwise_plans(smallest_plans())
    configuration = plans["configurations"]["3d_fullres"]
    architecture = configuration["architecture"]
    architecture["network_class_name"] = "nnunet_attention.networks.AttentionUNet"
    layers = architecture["arch_kwargs"]
    layers["gate_full_resolution"] = True
    if dimensions == 2:
        for name in ("conv_op", "norm_op"):
            layers[name] = layers[name].replace("3d", "2d")
        for name in ("kernel_sizes", "strides"):
            layers[name] = [of_stage[1:] for of_stage in layers[name]]
        for name in ("patch_size", "spacing"):
            configuration[name] = configuration[name][1:]
    return plans


def network_of_two_gates(plans: dict) -> nn.Module:
    """One channel in, two out, with coefficients that differ much from voxel to voxel."""
    configuration = PlansManager(plans).get_configuration("3d_fullres")
    torch.manual_seed(0)
    network = build_attention_network(configuration, 1, 2, False).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network
