"""Compares plans of ours with those of nnU-Net's planner for the same fingerprint."""

from math import prod

import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_attention.cost import vram_reference
from nnunet_attention.networks import build_attention_network
from nnunet_attention.networks.wide import build_plain_network

# nnU-Net's smallest.
MIN_BATCH = 2


def gigabytes_per_case(plans: dict, name: str, dataset_json: dict, gates: bool) -> float:
    """The planner's estimate for one case, with the gates counted or not."""
    manager = PlansManager(plans)
    configuration = manager.get_configuration(name)
    with torch.device("meta"):
        network = (build_attention_network if gates else build_plain_network)(
            configuration, len(dataset_json["channel_names"]), len(dataset_json["labels"])
        )
    patch = [int(size) for size in configuration.patch_size]
    return vram_reference(
        manager.experiment_planner_name, configuration.network_arch_class_name
    ).vram_gb(int(network.compute_conv_feature_map_size(patch)), 1, len(patch))


def fits(plans: dict, name: str, dataset_json: dict, target_gb: float) -> bool:
    """Whether nnU-Net's rule would allow patch and batch with the gates counted.

    The smallest batch must fit into the target; above that, the batch is rounded to the nearest.
    """
    per_case = gigabytes_per_case(plans, name, dataset_json, gates=True)
    batch = plans["configurations"][name]["batch_size"]
    return MIN_BATCH * per_case <= target_gb and batch <= max(
        MIN_BATCH, round(target_gb / per_case)
    )


def assert_as_stock_where_that_fits(
    stock: dict, ours: dict, dataset_json: dict, target_gb: float
) -> list[str]:
    """Returns the configurations in which the stock plans fit."""
    fitting = []
    for name, configuration in ours["configurations"].items():
        assert fits(ours, name, dataset_json, target_gb)
        if "inherits_from" in configuration:
            continue
        stock_configuration = stock["configurations"][name]
        if fits(stock, name, dataset_json, target_gb):
            fitting.append(name)
            assert configuration["batch_size"] == stock_configuration["batch_size"]
            assert list(configuration["patch_size"]) == list(stock_configuration["patch_size"])
        else:
            assert voxels_per_batch(configuration) < voxels_per_batch(stock_configuration)
    return fitting


def voxels_per_batch(configuration: dict) -> int:
    return configuration["batch_size"] * prod(int(size) for size in configuration["patch_size"])
