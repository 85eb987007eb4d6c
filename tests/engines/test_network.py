"""An engine stands in the place of a network for nnU-Net's predictor, or torch goes on."""

import numpy as np
import pytest
import torch
from engine_packages import skip_without
from small_networks import PATCH, small_network
from torch import nn

from nnunet_attention.engines import EngineChoice, EngineNetwork, EngineRequest, put_on_engine
from nnunet_attention.engines import network as engine_network
from nnunet_attention.engines.network import BFloat16Network
from nnunet_attention.engines.sessions import SESSIONS
from nnunet_attention.errors import CommandError
from nnunet_attention.recorder import record_attention

skip_without("onnxruntime", "onnxscript", "openvino")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def request_of(tmp_path, told):
    def request(engine: str | None, precision: str = "f32", **options) -> EngineRequest:
        names = options.pop("names", ("fold_0",))
        return EngineRequest(
            EngineChoice(engine, precision),
            (1, *PATCH),
            tmp_path / "engines",
            names,
            tell=told.append,
            **options,
        )

    return request


def test_each_fold_has_its_own_weights_and_they_are_written_once(request_of, told):
    folds = [small_network(seed=seed) for seed in (0, 1)]
    weights = [fold.state_dict() for fold in folds]
    image = torch.randn(1, 1, *PATCH)
    request = request_of("onnxruntime", names=("fold_0", "fold_3"), coefficients=True)

    fast, states = put_on_engine(small_network(seed=2), weights, request)

    assert isinstance(fast, EngineNetwork)
    for number in (1, 0, 1):
        fast.load_state_dict(states[number])
        with torch.no_grad(), record_attention(folds[number]) as expected:
            logits = folds[number](image)
        with fast.recorded() as record:
            np.testing.assert_allclose(fast(image), logits, atol=1e-5)
        np.testing.assert_allclose(record["gate_0"], expected["gate_0"], atol=1e-5)
    assert [line.partition(" ")[0] for line in told] == ["writing", "writing", "run"]
    put_on_engine(small_network(seed=2), weights, request)
    assert told[3:] == ["run by onnxruntime, in 32 bits"]


def test_what_cannot_be_written_is_left_to_torch_with_the_reason(request_of, told):
    class Branching(nn.Module):
        def forward(self, image):
            return image if image.sum() > 0 else -image

    network = Branching()
    same, states = put_on_engine(network, [{}], request_of("onnxruntime"))
    assert same is network
    assert states == [{}]
    assert "cannot be written as ONNX" in told[-1]
    assert told[-1].endswith("; torch runs it instead")
    assert "\n" not in told[-1]


def test_an_engine_with_other_results_is_left_for_torch(request_of, told, monkeypatch):
    class Wrong(SESSIONS["onnxruntime"]):
        def run(self, passes):
            for outputs in super().run(passes):
                yield [output + 0.1 for output in outputs]

    network = small_network()
    monkeypatch.setitem(SESSIONS, "onnxruntime", Wrong)
    for _ in range(2):
        same, _ = put_on_engine(network, [network.state_dict()], request_of("onnxruntime"))
        assert same is network
        assert "computes logits that differ from torch's" in told[-1]


def test_an_engine_with_other_coefficients_is_left_for_torch(request_of, told, monkeypatch):
    class Wrong(SESSIONS["onnxruntime"]):
        def run(self, passes):
            for logits, *maps in super().run(passes):
                yield [logits, *(values + 0.1 for values in maps)]

    network = small_network()
    monkeypatch.setitem(SESSIONS, "onnxruntime", Wrong)
    for _ in range(2):
        request = request_of("onnxruntime", coefficients=True)
        same, _ = put_on_engine(network, [network.state_dict()], request)
        assert same is network
        assert "computes logits or maps that differ from torch's (by 0.1 of" in told[-1]


def test_a_precision_that_torch_lacks_is_not_left_to_it(request_of, monkeypatch):
    def fail(*arguments):
        raise engine_network.NotExportableError("no")
        yield

    monkeypatch.setattr(engine_network, "_sessions", fail)
    monkeypatch.setattr(engine_network, "chosen_engine", lambda choice: "openvino")
    with pytest.raises(CommandError, match="no"):
        put_on_engine(small_network(), [{}], request_of("openvino", "f16"))


def test_torch_itself_runs_the_network_as_it_is(request_of, told):
    network = small_network()
    weights = [network.state_dict()]
    same, states = put_on_engine(network, weights, request_of("torch"))
    assert same is network
    assert states == weights
    assert told == ["run by torch, in 32 bits"]


def test_bfloat16_with_torch_comes_close_and_loads_weights():
    network, other = small_network(), small_network(seed=1)
    half = BFloat16Network(small_network(seed=2))
    image = torch.randn(1, 1, *PATCH)
    for wanted in (network, other):
        half.load_state_dict(wanted.state_dict())
        with torch.no_grad():
            logits, expected = half(image), wanted(image)
        assert logits.dtype == torch.float32
        assert 0 < (logits - expected).abs().max() < 0.05 * expected.abs().max()
