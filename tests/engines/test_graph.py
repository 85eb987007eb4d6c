"""A network written as ONNX computes what it computes in torch."""

import numpy as np
import pytest
import torch
from small_networks import PATCH, small_network
from torch import nn

from nnunet_attention.engines import NotExportableError, export_network, graph
from nnunet_attention.errors import CommandError
from nnunet_attention.networks.wide import build_plain_network
from nnunet_attention.recorder import NoAttentionGatesError, record_attention

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

pytestmark = pytest.mark.usefixtures("one_thread")


def run(path, image: torch.Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": image.numpy()}), strict=True))


@pytest.mark.parametrize("batch", [1, 3])
def test_logits_and_maps_are_those_of_torch_for_any_batch(tmp_path, batch):
    network = small_network()
    path = tmp_path / "network.onnx"
    names = export_network(network, path, 1, PATCH, coefficients=True, features=True)
    image = torch.randn(batch, 1, *PATCH)

    outputs = run(path, image)

    with torch.no_grad(), record_attention(network, features=True) as record:
        logits = network(image)
    assert list(outputs) == names == ["logits", "gate_0", "skip_0", "gated_0"]
    for name, value in {"logits": logits, **record}.items():
        np.testing.assert_allclose(outputs[name], value.numpy(), atol=1e-5)


def test_a_free_patch_may_be_any_multiple_of_the_strides(tmp_path):
    network = small_network(build_plain_network)
    path = tmp_path / "network.onnx"
    export_network(network, path, 1, PATCH, dynamic_patch=True)
    image = torch.randn(1, 1, 6, 4, 20)

    (logits,) = run(path, image).values()

    with torch.no_grad():
        np.testing.assert_allclose(logits, network(image).numpy(), atol=1e-5)


def test_the_network_is_left_in_training_as_it_was(tmp_path):
    network = small_network(build_plain_network).train()
    network.encoder.eval()
    export_network(network, tmp_path / "network.onnx", 1, PATCH)
    assert network.training
    assert network.decoder.training
    assert not network.encoder.training


def test_of_what_torch_cannot_write_nothing_is_left_and_the_reason_is_told(tmp_path):
    class Branching(nn.Module):
        def forward(self, image):
            return image if image.sum() > 0 else -image

    with pytest.raises(NotExportableError, match="network Branching cannot be written as ONNX: "):
        export_network(Branching(), tmp_path / "network.onnx", 1, PATCH)
    assert not list(tmp_path.iterdir())


def test_maps_of_a_network_without_gates_are_refused(tmp_path):
    with pytest.raises(NoAttentionGatesError):
        export_network(
            small_network(build_plain_network), tmp_path / "a.onnx", 1, PATCH, coefficients=True
        )


def test_what_torch_would_write_into_a_second_file_is_refused(tmp_path):
    # 1.6 GiB in the file, most of it in a buffer, but hardly any memory.
    network = nn.Conv3d(1, 2, 1)
    network.register_buffer("table", torch.zeros(1).expand(1639 * 2**18))
    with pytest.raises(NotExportableError, match=r"weights are 1.72 GB, and torch writes at most"):
        export_network(network, tmp_path / "a.onnx", 1, PATCH)
    assert not list(tmp_path.iterdir())


def test_what_torch_wrote_into_a_second_file_is_refused_and_removed(tmp_path, monkeypatch):
    # The limit of another version of torch, or constants that are no weights.
    save = torch.onnx.ONNXProgram.save
    monkeypatch.setattr(
        torch.onnx.ONNXProgram, "save", lambda *arguments: save(*arguments, external_data=True)
    )
    network = nn.Conv3d(1, 64, 3)
    with pytest.raises(NotExportableError, match="do not fit into one file"):
        export_network(network, tmp_path / "a.onnx", 1, PATCH)
    assert not list(tmp_path.iterdir())


def test_without_onnxscript_the_remedy_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "find_spec", lambda name: None if name == "onnxscript" else 1)
    with pytest.raises(CommandError, match=r"onnxscript not installed.*extra `engines`"):
        export_network(small_network(build_plain_network), tmp_path / "a.onnx", 1, PATCH)
