"""What is predicted with replaced coefficients, patch by patch, against slower ways."""

import itertools

import numpy as np
import pytest
import torch
from distractor_network import DistractorNetwork, box, distractor_image
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from pointwise_network import initialize, pointwise_plans, random_image

from nnunet_attention.maps.ablation import AblationPredictor, replace_attention
from nnunet_attention.maps.ablation.block_maps import cut
from nnunet_attention.maps.ablation.cams import gate_cams
from nnunet_attention.maps.ablation.decoding import decoder_of
from nnunet_attention.maps.ablation.predictor import Substitute
from nnunet_attention.maps.predictor import AttentionPredictor
from nnunet_attention.networks import build_attention_network

pytestmark = pytest.mark.usefixtures("one_thread")

# Against (4, 8, 16): overlapping patches of odd sizes, and one that is padded.
SHAPES = [(7, 13, 35), (3, 5, 7)]


def cpu_predictor(kind=AblationPredictor, **options):
    return kind(device=torch.device("cpu"), allow_tqdm=False, **options)


def random_network(plans: dict, channels: int = 1):
    configuration = PlansManager(plans).get_configuration("3d_fullres")
    torch.manual_seed(0)
    network = build_attention_network(configuration, channels, 2, False).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def two_folds(network) -> list[dict]:
    first = {name: values.clone() for name, values in network.state_dict().items()}
    other = {name: values + 0.05 for name, values in first.items()}
    return [first, other]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_without_a_substitute_the_logits_are_those_of_the_ordinary_prediction(minimal_plans, shape):
    plans = pointwise_plans(minimal_plans)
    network = random_network(plans)
    data = torch.from_numpy(random_image(shape))[None]
    given = {"mirroring": (0, 2), "parameters": two_folds(network)}
    stock = initialize(cpu_predictor(AttentionPredictor), plans, network, **given)
    wanted, _ = stock.predict_logits_and_maps(data)
    predictor = initialize(cpu_predictor(), plans, network, **given)
    ordinary, maps = predictor.predict_ordinary(data)
    assert ordinary.equal(wanted)
    assert len(maps) == 2
    variants = [[{}, {}], [{0: Substitute(1.0, multiplies=True)}] * 2]
    for logits in predictor.predict_variants(data, variants):
        assert logits.equal(wanted)


def test_maps_of_each_fold_are_block_means_of_the_stitched_map(minimal_plans):
    plans = pointwise_plans(minimal_plans)
    network = random_network(plans)
    data = torch.from_numpy(random_image((7, 13, 35)))[None]
    parameters = two_folds(network)
    predictor = initialize(cpu_predictor(), plans, network, parameters=parameters)
    _, maps = predictor.predict_ordinary(data)
    for fold, of_fold in enumerate(maps):
        alone = initialize(
            cpu_predictor(AttentionPredictor), plans, network, parameters=[parameters[fold]]
        )
        _, (stitched, _) = alone.predict_logits_and_maps(data)
        (found,) = of_fold
        assert found.sizes == (1, 2, 2)
        assert found.mean == pytest.approx(stitched.mean(dtype=float), rel=1e-6)
        assert found.blocks.shape == (7, 7, 18)
        assert found.blocks[3, 2, 4] == pytest.approx(stitched[3, 4:6, 8:10].mean(), rel=1e-5)
        assert found.blocks[3, 6, 17] == pytest.approx(stitched[3, 12, 34], rel=1e-5)


@pytest.mark.parametrize("multiplies", [False, True], ids=["instead", "times"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_substitutes_are_cut_for_each_patch_and_flipped_with_it(minimal_plans, shape, multiplies):
    plans = pointwise_plans(minimal_plans)
    network = random_network(plans)
    data = torch.from_numpy(random_image(shape))[None]
    parameters = two_folds(network)
    # The Gaussian's weights at the corners are nearly 0, and nnU-Net adds up in 16 bits.
    predictor = initialize(
        cpu_predictor(use_gaussian=False), plans, network,
        mirroring=(0, 2), parameters=parameters,
    )  # fmt: skip
    _, maps = predictor.predict_ordinary(data)
    blocks = np.random.default_rng(1).random(maps[0][0].blocks.shape).astype(np.float32)
    variants = [
        [{0: Substitute(blocks, multiplies)}, {0: Substitute(0.25, multiplies)}],
        [{0: Substitute(0.5, multiplies)}, {}],
    ]
    found = list(predictor.predict_variants(data, variants))
    for logits, of_folds in zip(found, variants, strict=True):
        wanted = slowly(predictor, network, data, of_folds, parameters, (0, 2))
        np.testing.assert_allclose(logits.float(), wanted, atol=0.02, rtol=0.01)
    assert not found[0].equal(found[1])


def slowly(predictor, network, data, of_folds, parameters, axes):
    """A pass of the whole network for each patch, mirroring and fold."""
    from acvl_utils.cropping_and_padding.padding import pad_nd_image
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    patch = (4, 8, 16)
    padded, inside = pad_nd_image(data, patch, "constant", {"value": 0}, True, None)
    total = 0
    for variant, weights in zip(of_folds, parameters, strict=True):
        network.load_state_dict(weights)
        sums = torch.zeros((2, *padded.shape[1:]))
        counts = torch.zeros(padded.shape[1:])
        steps = compute_steps_for_sliding_window(padded.shape[1:], patch, 0.5)
        for start in itertools.product(*steps):
            tile = (slice(None), *(slice(a, a + n) for a, n in zip(start, patch, strict=True)))
            flips = [f for n in range(3) for f in itertools.combinations([a + 2 for a in axes], n)]
            for flip in flips:
                replacements = {
                    gate: _replacement(predictor, substitute, tile, flip)
                    for gate, substitute in variant.items()
                }
                with torch.no_grad(), replace_attention(network, replacements):
                    logits = torch.flip(network(torch.flip(padded[tile][None], flip)), flip)
                sums[tile] += logits[0] / len(flips)
            counts[tile[1:]] += 1
        total = total + sums / counts / len(parameters)
    return total[(slice(None), *inside[1:])].numpy()


def _replacement(predictor, substitute, tile, flip):
    values = substitute.blocks
    if isinstance(values, np.ndarray):
        seen = cut(values, (1, 2, 2), predictor._frame, tile, (4, 4, 8))
        values = torch.flip(torch.from_numpy(seen)[None, None], flip)
    return (lambda own: own * values) if substitute.multiplies else values


def test_variants_that_do_not_fit_together_are_predicted_in_turn(minimal_plans, monkeypatch):
    plans = pointwise_plans(minimal_plans)
    network = random_network(plans)
    data = torch.from_numpy(random_image((7, 13, 35)))[None]
    predictor = initialize(cpu_predictor(), plans, network)
    variants = [[{0: Substitute(share / 4)}] for share in range(5)]
    together = list(predictor.predict_variants(data, variants))
    monkeypatch.setattr("nnunet_attention.maps.ablation.predictor._MOST_LOGITS", 2**15)
    encoded = []
    listener = network.encoder.register_forward_hook(lambda *_: encoded.append(None))
    in_turn = list(predictor.predict_variants(data, variants))
    listener.remove()
    assert all(a.equal(b) for a, b in zip(together, in_turn, strict=True))
    # 2 classes of 3185 voxels in 2 bytes: 2 variants at a time, so 3 turns of 2 x 3 x 4 patches
    # with 8 mirrorings.
    assert len(encoded) == 3 * 3 * 3 * 4 * 8


def test_the_encoder_runs_once_and_what_follows_is_exact(minimal_plans):
    network = random_network(pointwise_plans(minimal_plans))
    x = torch.from_numpy(random_image((4, 8, 16)))[None, None]
    with torch.no_grad():
        decode = decoder_of(network, x)
        for value in (0.0, 0.3, 1.0):
            with replace_attention(network, {0: value}):
                assert decode().equal(network(x))


@pytest.mark.parametrize("mirroring", [True, False], ids=["mirrored", "plain"])
@pytest.mark.parametrize("patch_size", [[4, 8, 16], [8, 16]], ids=["3d", "2d"])
def test_the_distractor_comes_back_in_the_whole_image(minimal_plans, patch_size, mirroring):
    """The second fold's gate is shut everywhere, and the mean of both logits is cut at 0.5."""
    plans = pointwise_plans(
        minimal_plans,
        patch_size=patch_size,
        spacing=[3.0, 2.0, 1.0][-len(patch_size) :],
        normalization_schemes=["NoNormalization"] * 2,
    )
    shape = (7, 13, 35)
    organ, distractor = box(shape, (1, 4), (2, 9), (3, 11)), box(shape, (3, 7), (1, 12), (20, 30))
    data = torch.from_numpy(distractor_image(organ, distractor))
    network = DistractorNetwork(len(patch_size))
    predictor = initialize(
        cpu_predictor(use_mirroring=mirroring), plans, network,
        channel_names={"0": "a", "1": "b"},
    )  # fmt: skip
    logits, maps = predictor.predict_ordinary(data)
    np.testing.assert_array_equal(logits.argmax(0), organ)
    ((found,),) = maps
    np.testing.assert_allclose(found.blocks, ~distractor, atol=1e-6)
    assert found.mean == pytest.approx(1 - distractor.mean(), rel=1e-6)
    shifted = np.roll(found.blocks, -17, axis=2)
    variants = {"open": Substitute(1.0), "zero": Substitute(0.0), "shifted": Substitute(shifted)}
    wanted = {
        "open": organ | distractor,
        "zero": np.zeros_like(organ),
        # Now the distractor passes, and of the organ what the shifted map does not shut.
        "shifted": (organ | distractor) & ~np.roll(distractor, -17, axis=2),
    }
    given = [[substitute] for substitute in ({0: one} for one in variants.values())]
    for name, logits in zip(variants, predictor.predict_variants(data, given), strict=True):
        np.testing.assert_array_equal(logits.argmax(0), wanted[name], err_msg=name)


def test_equal_coefficients_give_exactly_the_same_logits(minimal_plans):
    plans = pointwise_plans(minimal_plans)
    network = random_network(plans)
    gate = network.decoder.gates[0]
    torch.nn.init.zeros_(gate.psi.weight)
    torch.nn.init.constant_(gate.psi.bias, 0.3)
    predictor = initialize(cpu_predictor(), plans, network, parameters=[network.state_dict()])
    data = torch.from_numpy(random_image((7, 13, 35)))[None]
    ordinary, (((found,)),) = predictor.predict_ordinary(data)
    alpha = torch.sigmoid(torch.tensor(0.3)).item()
    assert (found.blocks == np.float32(alpha)).all()
    assert np.float32(found.mean) == np.float32(alpha)
    variants = [[{0: Substitute(found.mean)}], [{0: Substitute(found.blocks)}]]
    for logits in predictor.predict_variants(data, variants):
        assert logits.equal(ordinary)


def test_a_cam_is_the_channels_weighted_by_their_slopes():
    """The organ's logit is 2 x + 0.1 x c with c the other gated channel; by hand."""
    from torch import nn

    from nnunet_attention.gates import AttentionGate

    class TwoChannels(nn.Module):
        def __init__(self):
            super().__init__()
            self.gates = nn.ModuleList([AttentionGate(nn.Conv2d, 2, 2, 1)])
            nn.init.zeros_(self.gates[0].psi.weight)
            nn.init.zeros_(self.gates[0].psi.bias)

        def forward(self, x):
            gated, _ = self.gates[0](x, x)
            return torch.cat((torch.full_like(x[:, :1], 0.9), 2 * gated[:, :1] - gated[:, 1:]), 1)

    x = torch.tensor([[[2.0, 0.0, 4.0]], [[0.0, 1.0, 1.0]]])[None]
    network = TwoChannels()
    with torch.inference_mode():
        (cam,) = gate_cams(network, x)
    # alpha = 0.5: gated (1, 0, 2) and (0, .5, .5); the organ's logit (2, -.5, 3.5): the first and
    # the third voxel are predicted. Slopes are 2 and -1 there, so their means 4/3 and -2/3.
    np.testing.assert_allclose(cam.flatten(), [4 / 3, 0, 8 / 3 - 1 / 3], rtol=1e-6)


def test_cams_are_stitched_as_maps_are(minimal_plans):
    plans = pointwise_plans(minimal_plans)
    network = random_network(plans)
    predictor = initialize(cpu_predictor(use_mirroring=False), plans, network)
    data = torch.from_numpy(random_image((4, 8, 16)))[None]
    (((found),),) = predictor.predict_cams(data)
    (cam,) = gate_cams(network, data[None])
    assert found.blocks.shape == (4, 4, 8)
    upsampled = torch.nn.functional.interpolate(cam, size=(4, 8, 16), mode="trilinear")
    wanted = upsampled[0, 0].view(4, 4, 2, 8, 2).mean((2, 4))
    np.testing.assert_allclose(found.blocks, wanted, rtol=1e-4, atol=1e-6)
    ordinary, _ = predictor.predict_ordinary(data)
    assert ordinary.any()
