"""What runs a network is the fastest that can, or what was asked for; else the remedy is told."""

import pytest

from nnunet_attention.cli import prediction_arguments
from nnunet_attention.engines import ENGINES, PRECISIONS, EngineChoice, choice, chosen_engine
from nnunet_attention.errors import CommandError


@pytest.fixture
def machine(monkeypatch):
    """Returns a function that says what is installed and computes in which precisions."""

    def set_up(**able: tuple[str, ...]) -> None:
        monkeypatch.setattr(choice, "is_installed", lambda engine: engine in able)
        monkeypatch.setattr(choice, "_precisions_of", lambda engine: able[engine])

    return set_up


@pytest.mark.parametrize(
    ("able", "precision", "expected"),
    [
        ({"torch": ("f32",)}, "f32", "torch"),
        ({"torch": ("f32",), "onnxruntime": ("f32",)}, "f32", "onnxruntime"),
        (
            {"torch": ("f32",), "onnxruntime": ("f32",), "openvino": ("f32",)},
            "f32",
            "openvino",
        ),
        ({"torch": ("f32", "bf16"), "openvino": ("f32",)}, "bf16", "torch"),
        ({"torch": ("f32", "bf16"), "openvino": ("f32", "bf16")}, "bf16", "openvino"),
    ],
)
def test_the_fastest_that_is_able_is_chosen(machine, able, precision, expected):
    machine(**able)
    assert chosen_engine(EngineChoice(None, precision)) == expected


@pytest.mark.parametrize(
    ("able", "engine", "precision", "message"),
    [
        ({"torch": ("f32",)}, "openvino", "f32", "openvino is not installed; install the extra"),
        (
            {"torch": ("f32",), "onnxruntime": ("f32",), "openvino": ("f32", "bf16")},
            "onnxruntime",
            "bf16",
            "on this processor onnxruntime computes only in f32; use --engine openvi",
        ),
        (
            {"torch": ("f32",), "openvino": ("f32",)},
            "openvino",
            "bf16",
            "on this processor openvino computes only in f32; use --precision f32",
        ),
        ({"torch": ("f32",)}, None, "bf16", "no installed engine .*OpenVINO may support it"),
        ({"torch": ("f32",)}, "tensorrt", "f32", "--engine tensorrt: unknown; choose"),
        ({"torch": ("f32",)}, None, "int8", "--precision int8: .*choose from f32, bf16, f16"),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(machine, able, engine, precision, message):
    machine(**able)
    with pytest.raises(CommandError, match=message):
        chosen_engine(EngineChoice(engine, precision))


@pytest.mark.parametrize("missing", ["openvino", "onnxscript"])
def test_an_engine_is_installed_only_with_what_writes_networks_for_it(monkeypatch, missing):
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name == missing else name)
    assert not choice.is_installed("openvino")
    assert choice.is_installed("torch")


def test_commands_offer_what_there_is():
    assert prediction_arguments.ENGINES == ENGINES
    assert prediction_arguments.PRECISIONS == PRECISIONS
