"""An engine's ablation is torch's, and equal coefficients change nothing with it either."""

from pathlib import Path

import numpy as np
import pytest
import torch
from engine_packages import skip_without
from pointwise_network import initialize, random_image
from two_gates import network_of_two_gates, plans_of_two_gates

from nnunet_attention.engines import BFloat16Network, EngineChoice, EngineRequest
from nnunet_attention.maps.ablation import AblationPredictor, replace_attention
from nnunet_attention.maps.ablation.decoding import decoder_of
from nnunet_attention.maps.ablation.predictor import Substitute

pytestmark = pytest.mark.usefixtures("one_thread")

# Against (4, 8, 16): overlapping patches, of odd sizes.
SHAPE = (5, 9, 19)


@pytest.fixture(scope="module", params=[3, 2], ids=["3d", "2d"])
def plans(request) -> dict:
    return plans_of_two_gates(request.param)


@pytest.fixture(scope="module")
def folder(plans, tmp_path_factory) -> Path:
    """Where graphs are kept from one engine to the next."""
    return tmp_path_factory.mktemp("engines")


def predictor_of(plans: dict, engine: str, folder: Path) -> AblationPredictor:
    """A predictor of two folds that differ, with mirroring."""
    network = network_of_two_gates(plans)
    first = {name: values.clone() for name, values in network.state_dict().items()}
    second = {name: values + 0.05 for name, values in first.items()}
    predictor = initialize(
        # The Gaussian's weights at the corners are nearly 0, and nnU-Net adds up in 16 bits.
        AblationPredictor(device=torch.device("cpu"), allow_tqdm=False, use_gaussian=False),
        plans, network, mirroring=(0, 1), parameters=[first, second],
    )  # fmt: skip
    patch = plans["configurations"]["3d_fullres"]["patch_size"]
    predictor._engine_request = EngineRequest(
        EngineChoice(engine), (1, *patch), folder, ("fold_0", "fold_1"), replaces=True
    )
    return predictor


def some_variants(maps) -> list:
    """One for each way to replace, of other values in each fold."""
    random = np.random.default_rng(1)

    def blocks(gate: int) -> np.ndarray:
        return random.random(maps[0][gate].blocks.shape).astype(np.float32)

    return [
        [{}, {}],
        [{0: Substitute(0.0), 1: Substitute(0.0)}, {0: Substitute(0.3)}],
        [{0: Substitute(blocks(0))}, {1: Substitute(blocks(1))}],
        [{1: Substitute(blocks(1), multiplies=True)}] * 2,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_logits_maps_and_cams_are_those_of_torch(plans, folder, engine):
    skip_without("onnxscript", engine)
    data = torch.from_numpy(random_image(SHAPE))[None]
    found = {}
    for name in ("torch", engine):
        predictor = predictor_of(plans, name, folder)
        # Variants first, as where an ablation goes on; they are the same for both.
        if name == "torch":
            variants = some_variants(predictor.predict_ordinary(data)[1])
        replaced = list(predictor.predict_variants(data, variants))
        ordinary, maps = predictor.predict_ordinary(data)
        assert predictor.runs_on == name
        assert replaced[0].equal(ordinary)
        cams = predictor.predict_cams(data)
        assert not any(values.requires_grad for values in predictor.list_of_parameters[0].values())
        found[name] = ([ordinary, *replaced], maps, cams, predictor.checksums)
    wanted, of_engine = found.values()
    for logits, of_torch in zip(of_engine[0], wanted[0], strict=True):
        np.testing.assert_allclose(logits.float(), of_torch.float(), atol=0.01, rtol=0.002)
        np.testing.assert_array_equal(logits.argmax(0), of_torch.argmax(0))
    for kind, atol in ((1, 1e-5), (2, 0.0)):
        for of_fold, expected in zip(of_engine[kind], wanted[kind], strict=True):
            for gate, of_gate in zip(of_fold, expected, strict=True):
                np.testing.assert_allclose(gate.blocks, of_gate.blocks, atol=atol, rtol=0)
    assert of_engine[3] == wanted[3]


@pytest.mark.slow
def test_other_weights_have_graphs_that_do_not_stay_and_equal_coefficients_no_effect(plans, folder):
    patch = plans["configurations"]["3d_fullres"]["patch_size"]
    engine = "openvino" if len(patch) == 3 else "onnxruntime"
    skip_without("onnxscript", engine)
    data = torch.from_numpy(random_image(SHAPE))[None]
    predictor = predictor_of(plans, engine, folder)
    before, _ = predictor.predict_ordinary(data)
    graphs = sorted(folder.iterdir())
    constant = []
    for weights in predictor.list_of_parameters:
        changed = dict(weights)
        for gate in (0, 1):
            name = f"decoder.gates.{gate}.psi"
            changed[f"{name}.weight"] = torch.zeros_like(weights[f"{name}.weight"])
            changed[f"{name}.bias"] = torch.full_like(weights[f"{name}.bias"], 0.3 - gate)
        constant.append(changed)
    told: list[str] = []
    predictor.tell = told.append
    with predictor.with_weights(constant, "constant"):
        ordinary, maps = predictor.predict_ordinary(data)
        assert predictor.runs_on == engine
        same = [
            [{gate: Substitute(of_fold[gate].mean) for gate in (0, 1)} for of_fold in maps],
            [{gate: Substitute(of_fold[gate].blocks) for gate in (0, 1)} for of_fold in maps],
        ]
        zero = [{0: Substitute(0.0), 1: Substitute(0.0)}] * 2
        *unchanged, shut = predictor.predict_variants(data, [*same, zero])
    alpha = torch.sigmoid(torch.tensor(0.3)).item()
    np.testing.assert_allclose(maps[0][0].blocks, alpha, rtol=1e-6)
    for logits in unchanged:
        assert logits.equal(ordinary)
    assert not shut.equal(ordinary)
    assert told[-1] == f"constant: run by {engine}, in 32 bits"
    assert not any(Path(line.rpartition(" ")[2]).exists() for line in told[:-1])
    assert sorted(folder.iterdir()) == graphs
    again, _ = predictor.predict_ordinary(data)
    assert again.equal(before)
    assert not again.equal(ordinary)


def test_in_bfloat16_torch_runs_the_encoder_once_too():
    network = network_of_two_gates(plans_of_two_gates(3))
    half = BFloat16Network(network)
    image = torch.randn(1, 1, 4, 8, 16)
    encoded = []
    network.encoder.register_forward_hook(lambda *_: encoded.append(None))
    with torch.no_grad():
        decode = decoder_of(half, image)
        for value in (0.0, 0.3):
            with replace_attention(network, {0: value}):
                found = decode()
                assert found.dtype == torch.float32
                assert found.equal(half(image))
    assert len(encoded) == 1 + 2
