"""Maps that were made on a GPU are those of a CPU, also where its memory does not suffice."""

import numpy as np
import pytest
import torch
from devices import marked, needs_gpu
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from pointwise_network import expected, initialize, pointwise_plans, random_image

from nnunet_attention.maps import AttentionPredictor
from nnunet_attention.networks import build_attention_network


def predictor(device, **options) -> AttentionPredictor:
    return AttentionPredictor(device=torch.device(device), allow_tqdm=False, **options)


@marked(needs_gpu)
@pytest.mark.parametrize("on_device", [True, False])
def test_maps_of_a_gpu_are_those_of_the_cpu(minimal_plans, on_device):
    plans = pointwise_plans(minimal_plans)
    configuration = PlansManager(plans).get_configuration("3d_fullres")
    torch.manual_seed(0)
    network = build_attention_network(configuration, 1, 2, False).eval()
    data = torch.from_numpy(random_image((7, 13, 35)))[None]
    found = []
    for device in ("cpu", "cuda"):
        one = predictor(device, perform_everything_on_device=on_device)
        logits, maps = initialize(one, plans, network).predict_logits_and_maps(data)
        found.append((logits.float().numpy(), maps))
    for on_cpu, on_gpu in zip(*found, strict=True):
        # nnU-Net predicts in 16 bits on a GPU.
        np.testing.assert_allclose(on_gpu, on_cpu, atol=0.02)


@marked(needs_gpu)
def test_out_of_memory_on_a_gpu_falls_back_to_the_cpu_for_results(minimal_plans, capsys):
    one = initialize(predictor("cuda"), pointwise_plans(minimal_plans))
    forward, calls = one.network.forward, []

    def fails_once(x):
        calls.append(None)
        if len(calls) == 3:
            # A petabyte.
            torch.empty(2**50, dtype=torch.uint8, device="cuda")
        return forward(x)

    one.network.forward = fails_once
    image = random_image((7, 13, 35))
    _, maps = one.predict_logits_and_maps(torch.from_numpy(image)[None])
    assert "Moving results arrays to CPU" in capsys.readouterr().out
    np.testing.assert_allclose(maps[0], expected(image)["gate_0"], atol=0.01)
