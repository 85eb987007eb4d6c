"""Networks of the smallest plans, gated or not, with weights of a seed."""

import torch
from smallest_plans import smallest_plans
from torch import nn

from nnunet_attention.networks import build_attention_network
from nnunet_attention.networks.trusted_plans import build_from_plans

DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "tumour": 1},
    "file_ending": ".nii.gz",
}
PATCH = (4, 8, 16)


def small_network(build=build_attention_network, seed: int = 0) -> nn.Module:
    """One channel in, two out, without deep supervision, in evaluation."""
    torch.manual_seed(seed)
    network = build_from_plans(
        smallest_plans(),
        "3d_fullres",
        DATASET,
        lambda _, configuration, inputs, outputs: build(configuration, inputs, outputs, False),
    )
    return network.eval()
