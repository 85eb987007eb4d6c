"""An engine runs encoder and decoder apart, and replaces the coefficients between them."""

import numpy as np
import pytest
import torch
from engine_packages import skip_without
from torch import nn
from two_gates import network_of_two_gates, plans_of_two_gates

from nnunet_attention.engines import (
    EngineChoice,
    EngineNetwork,
    EngineRequest,
    Replaced,
    put_on_engine,
)
from nnunet_attention.engines import network as engine_network
from nnunet_attention.engines.parts import PartsSession
from nnunet_attention.engines.sessions import SESSIONS
from nnunet_attention.gates import AttentionGate
from nnunet_attention.maps.ablation import replace_attention
from nnunet_attention.recorder import record_attention

skip_without("onnxruntime", "onnxscript", "openvino")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=[3, 2], ids=["3d", "2d"])
def plans(request) -> dict:
    return plans_of_two_gates(request.param)


@pytest.fixture(scope="module")
def folder(plans, tmp_path_factory):
    """Where graphs are kept from one engine to the next."""
    return tmp_path_factory.mktemp("engines")


def request_of(plans: dict, folder, engine: str, told: list[str]) -> EngineRequest:
    shape = (1, *plans["configurations"]["3d_fullres"]["patch_size"])
    choice = EngineChoice(engine)
    return EngineRequest(choice, shape, folder, ("fold_0",), replaces=True, tell=told.append)


@pytest.mark.slow
@pytest.mark.parametrize("engine", sorted(SESSIONS))
def test_replaced_and_multiplied_coefficients_give_the_logits_of_torch(plans, folder, engine):
    network = network_of_two_gates(plans)
    request = request_of(plans, folder, engine, [])
    fast, _ = put_on_engine(network_of_two_gates(plans), [network.state_dict()], request)
    assert isinstance(fast, EngineNetwork)
    image = torch.randn(3, *request.shape)
    with torch.no_grad(), record_attention(network) as expected:
        wanted = [network(one[None]) for one in image]
    with fast.recorded() as record:
        found = list(fast.run([one[None] for one in image]))
    for logits, of_torch in zip(found, wanted, strict=True):
        np.testing.assert_allclose(logits, of_torch, atol=1e-4)
    assert set(record) == {"gate_0", "gate_1"}
    for own, of_torch in zip(record.passes, expected.passes, strict=True):
        for name in own:
            np.testing.assert_allclose(own[name], of_torch[name], atol=1e-5)
    values = torch.rand(expected["gate_1"].shape)
    own = {number: Replaced(record.passes[0][f"gate_{number}"]) for number in (0, 1)}
    variants = [
        {},
        own,
        {0: Replaced(0.0)},
        {0: Replaced(0.3), 1: Replaced(values)},
        {1: Replaced(values, multiplies=True)},
    ]
    replaced = list(fast.run_replaced(image[:1], variants))
    # What is left as it is, or replaced by the same, is the same to the last bit.
    assert replaced[0].equal(found[0])
    assert replaced[1].equal(found[0])
    functions = [
        {0: 0.0},
        {0: 0.3, 1: values},
        {1: lambda coefficients: coefficients * values},
    ]
    for logits, replacements in zip(replaced[2:], functions, strict=True):
        with torch.no_grad(), replace_attention(network, replacements):
            np.testing.assert_allclose(logits, network(image[:1]), atol=1e-4)


@pytest.mark.slow
def test_an_engine_that_replaces_otherwise_is_left_for_torch(plans, folder, monkeypatch):
    class Wrong(PartsSession):
        def run_replaced(self, image, variants):
            for outputs in super().run_replaced(image, variants):
                yield [output + 0.1 * np.abs(output).max() for output in outputs]

    told: list[str] = []
    network = network_of_two_gates(plans)
    monkeypatch.setattr(engine_network, "PartsSession", Wrong)
    # It has not been compared in this version.
    monkeypatch.setattr(engine_network, "versions_of", lambda name: {name: "0"})
    request = request_of(plans, folder, "onnxruntime", told)
    same, _ = put_on_engine(network, [network.state_dict()], request)
    assert same is network
    assert "that differ from torch's" in told[-1]


def test_a_network_that_is_not_encoder_and_decoder_is_left_to_torch(tmp_path):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gates = nn.ModuleList([AttentionGate(nn.Conv3d, 1, 1, 1)])

        def forward(self, image):
            return self.gates[0](image, image)[0]

    told: list[str] = []
    network = Gated()
    request = request_of(plans_of_two_gates(3), tmp_path / "engines", "onnxruntime", told)
    same, _ = put_on_engine(network, [network.state_dict()], request)
    assert same is network
    (line,) = told
    assert line.startswith("the network Gated is not an encoder and a decoder that holds all gates")
    assert line.endswith("; torch runs it instead")
    assert not (tmp_path / "engines").exists()
