"""The predictor's maps against a known function, and against a second, slow stitcher."""

import itertools

import numpy as np
import pytest
import torch
from nnunetv2.inference.sliding_window_prediction import (
    compute_gaussian,
    compute_steps_for_sliding_window,
)
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from pointwise_network import PointwiseNetwork, expected, initialize, pointwise_plans, random_image
from torch.nn import functional

from nnunet_attention.maps import AttentionPredictor, MapOptions
from nnunet_attention.networks import build_attention_network

pytestmark = pytest.mark.usefixtures("one_thread")

# Against (4, 8, 16): one patch, odd and larger, smaller in one axis, smaller in all.
SHAPES = [(4, 8, 16), (7, 13, 35), (3, 21, 16), (3, 5, 7)]


def cpu_predictor(**options) -> AttentionPredictor:
    return AttentionPredictor(device=torch.device("cpu"), allow_tqdm=False, **options)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("mirroring", [True, False], ids=["mirrored", "plain"])
def test_maps_that_depend_on_the_voxel_alone_come_out_unchanged(minimal_plans, shape, mirroring):
    predictor = initialize(cpu_predictor(use_mirroring=mirroring), pointwise_plans(minimal_plans))
    image = random_image(shape)
    logits, maps = predictor.predict_logits_and_maps(torch.from_numpy(image)[None])
    assert maps.dtype == np.float32
    assert logits.shape == (2, *shape)
    for name, one_map in zip(predictor.map_names, maps, strict=True):
        np.testing.assert_allclose(one_map, expected(image)[name], atol=2e-6)


def test_without_the_gaussian_too(minimal_plans):
    predictor = initialize(cpu_predictor(use_gaussian=False), pointwise_plans(minimal_plans))
    image = random_image((7, 13, 35))
    _, maps = predictor.predict_logits_and_maps(torch.from_numpy(image)[None])
    np.testing.assert_allclose(maps[0], expected(image)["gate_0"], atol=2e-6)


def test_a_2d_network_is_stitched_slice_by_slice(minimal_plans):
    plans = pointwise_plans(minimal_plans, patch_size=[8, 16], spacing=[2.0, 1.0])
    predictor = initialize(cpu_predictor(), plans)
    image = random_image((3, 13, 35))
    _, maps = predictor.predict_logits_and_maps(torch.from_numpy(image)[None])
    np.testing.assert_allclose(maps[1], expected(image)["gate_1"], atol=2e-6)


def test_folds_are_averaged(minimal_plans):
    other = PointwiseNetwork()
    torch.nn.init.constant_(other.gates[0].psi.bias, 3.0)
    network = PointwiseNetwork()
    parameters = [network.state_dict(), other.state_dict(), other.state_dict()]
    predictor = initialize(
        cpu_predictor(), pointwise_plans(minimal_plans), network, parameters=parameters
    )
    image = random_image((7, 13, 35))
    _, maps = predictor.predict_logits_and_maps(torch.from_numpy(image)[None])
    of_other = 1 / (1 + np.exp(-(1.5 * np.maximum(image.astype(float), 0) + 3.0)))
    np.testing.assert_allclose(maps[0], (expected(image)["gate_0"] + 2 * of_other) / 3, atol=2e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("features", [False, True], ids=["gates", "features"])
def test_a_random_attention_unet_is_stitched_as_a_slow_stitcher_does(
    minimal_plans, shape, features
):
    plans = pointwise_plans(minimal_plans)
    configuration = PlansManager(plans).get_configuration("3d_fullres")
    torch.manual_seed(0)
    network = build_attention_network(configuration, 1, 2, False).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    predictor = initialize(
        cpu_predictor(options=MapOptions(features=features)), plans, network, mirroring=(0, 2)
    )
    data = torch.from_numpy(random_image(shape))[None]

    _, maps = predictor.predict_logits_and_maps(data)

    kinds = ("gate", "skip", "gated") if features else ("gate",)
    assert predictor.map_names == [f"{kind}_0" for kind in kinds] + ["mean"]
    for kind, one_map in zip(kinds, maps, strict=False):
        wanted = slowly_stitched(network, data[0].numpy(), (4, 8, 16), kind, flip_axes=(0, 2))
        np.testing.assert_allclose(one_map, wanted, atol=5e-6)
    np.testing.assert_array_equal(maps[-1], maps[0])


def slowly_stitched(network, image, patch_size, kind, flip_axes):
    """numpy, 64 bits, one patch and one voxel grid at a time; the network's only gate."""
    missing = [max(patch - size, 0) for patch, size in zip(patch_size, image.shape, strict=True)]
    before = [gap // 2 for gap in missing]
    padded = np.pad(image, [(low, gap - low) for low, gap in zip(before, missing, strict=True)])
    gaussian = compute_gaussian(
        tuple(patch_size), 1.0 / 8, value_scaling_factor=10, device=torch.device("cpu")
    )
    weight = gaussian.double().numpy()
    total, weights = np.zeros(padded.shape), np.zeros(padded.shape)
    steps = compute_steps_for_sliding_window(padded.shape, patch_size, 0.5)
    for start in itertools.product(*steps):
        place = tuple(slice(a, a + n) for a, n in zip(start, patch_size, strict=True))
        patch = padded[place]
        for flipped in itertools.product(
            *[(False, True) if a in flip_axes else (False,) for a in range(3)]
        ):
            axes = tuple(axis for axis in range(3) if flipped[axis])
            x = torch.from_numpy(np.ascontiguousarray(np.flip(patch, axes)))[None, None]
            with torch.no_grad():
                _, (alpha,) = network(x, return_coefficients=True)
                skip = network.encoder(x)[1]
            one = {"gate": alpha, "skip": skip, "gated": alpha * skip}[kind].mean(1, keepdim=True)
            one = functional.interpolate(
                one.double(), size=tuple(patch_size), mode="trilinear", align_corners=False
            )
            total[place] += weight * np.flip(one[0, 0].numpy(), axes)
            weights[place] += weight
    inside = tuple(slice(low, low + size) for low, size in zip(before, image.shape, strict=True))
    return (total / weights)[inside]


def test_logits_are_those_of_nnunets_own_predictor(minimal_plans):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    plans = pointwise_plans(minimal_plans)
    configuration = PlansManager(plans).get_configuration("3d_fullres")
    torch.manual_seed(0)
    network = build_attention_network(configuration, 1, 2, False).eval()
    data = torch.from_numpy(random_image((7, 13, 35)))[None]
    stock = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    wanted = initialize(stock, plans, network).predict_logits_from_preprocessed_data(data)
    found, _ = initialize(cpu_predictor(), plans, network).predict_logits_and_maps(data)
    assert found.equal(wanted)


def test_a_pass_that_runs_out_of_memory_on_the_device_is_repeated_and_counted_once(minimal_plans):
    """As nnU-Net does on a GPU, here played on the CPU."""
    predictor = initialize(cpu_predictor(), pointwise_plans(minimal_plans))
    predictor.perform_everything_on_device = True
    forward, calls = predictor.network.forward, []

    def fails_once(x):
        calls.append(None)
        if len(calls) == 3:
            raise RuntimeError("CUDA out of memory")
        return forward(x)

    predictor.network.forward = fails_once
    image = random_image((7, 13, 35))
    _, maps = predictor.predict_logits_and_maps(torch.from_numpy(image)[None])
    np.testing.assert_allclose(maps[0], expected(image)["gate_0"], atol=2e-6)
