"""Every engine gives the outputs of each image, in order."""

import gc
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from engine_packages import skip_without
from small_networks import PATCH, small_network

from nnunet_attention.engines import export_network, sessions
from nnunet_attention.engines.sessions import SESSIONS
from nnunet_attention.errors import CommandError
from nnunet_attention.recorder import record_attention

skip_without("onnxruntime", "onnxscript", "openvino")

SHAPE = (1, 1, *PATCH)
SHAPES = {"image": SHAPE}
PROGRAM = """
import signal, sys
from pathlib import Path
from nnunet_attention.engines import choice
from nnunet_attention.engines.sessions import SESSIONS

choice.chosen_engine(choice.EngineChoice("openvino"))
sessions = [SESSIONS["openvino"](Path(sys.argv[1]), {"image": (1, 1, *PATCH)}) for _ in "12"]
while sessions:
    sessions.pop(0)
signal.signal(signal.SIGINT, lambda *arguments: print("interrupted"))
signal.raise_signal(signal.SIGINT)
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "network.onnx"
    export_network(small_network(), path, 1, PATCH, coefficients=True)
    return path


@pytest.fixture(scope="module", params=sorted(SESSIONS))
def session(request, graph):
    return SESSIONS[request.param](graph, SHAPES)


def images(number: int) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [{"image": generator.normal(size=SHAPE).astype(np.float32)} for _ in range(number)]


@pytest.mark.parametrize("number", [1, 2, 5])
def test_outputs_come_in_the_order_of_the_images(session, number):
    given = images(number)
    network = small_network()
    assert session.output_names == ("logits", "gate_0")
    for inputs, (logits, gate) in zip(given, session.run(given), strict=True):
        with torch.no_grad(), record_attention(network) as record:
            expected = network(torch.from_numpy(inputs["image"]))
        np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)
        np.testing.assert_allclose(gate, record["gate_0"].numpy(), atol=1e-5)


def test_after_a_rest_and_after_stopping_in_between_it_runs_again(session):
    given = images(5)
    (expected,) = ([output.copy() for output in found] for found in session.run(given[:1]))
    started = session.run(given[::-1])
    next(started)
    started.close()
    gc.collect()
    session.rest()
    first = next(session.run(given))
    np.testing.assert_array_equal(first[0], expected[0])


@pytest.mark.parametrize("engine", sorted(SESSIONS))
@pytest.mark.parametrize("damage", ["", "no graph at all", "cut"])
def test_a_damaged_graph_is_named_in_one_line(graph, tmp_path, engine, damage):
    path = tmp_path / "network.onnx"
    content = graph.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else damage.encode())
    with pytest.raises(CommandError, match=f"network.onnx: {engine} cannot run it: .") as error:
        SESSIONS[engine](path, SHAPES)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("at_a_time", "streams"), [(1, 1), (2, 2)])
def test_a_pass_that_is_alone_gets_all_processors(graph, monkeypatch, at_a_time, streams):
    monkeypatch.setattr(sessions, "processors", lambda: 4)
    session = SESSIONS["openvino"](graph, SHAPES, at_a_time=at_a_time)
    assert session._model.get_property("NUM_STREAMS") == streams


class FailureError(Exception):
    """Is no RuntimeError, as those of onnxruntime are none."""


@pytest.mark.parametrize(("engine", "part"), [("onnxruntime", "_session"), ("openvino", "_model")])
def test_a_failure_of_a_pass_is_told_in_one_line(graph, monkeypatch, engine, part):
    def fail(*arguments):
        raise FailureError("somewhere in C++\nbad allocation")

    session = SESSIONS[engine](graph, SHAPES)
    failing = SimpleNamespace(run=fail, create_infer_request=fail)
    monkeypatch.setattr(session, part, failing)
    with pytest.raises(CommandError, match=f"network.onnx: {engine} cannot run it: bad allocation"):
        next(session.run(images(1)))


def test_an_onnxruntime_that_cannot_be_imported_is_named_with_the_remedy(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CommandError, match=r"onnxruntime cannot be imported: .*; install it again"):
        SESSIONS["onnxruntime"](graph, SHAPES)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such stack")
def test_a_signal_is_handled_after_sessions_have_gone_oldest_first(graph):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("PATCH", str(PATCH)), str(graph)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
