"""A model folder becomes ONNX files that compute what torch computes, whole or not at all."""

import hashlib
import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import pytest
import torch
from jsonschema import validate
from portable_models import dataset_with, model_of, plans_with, write_model

from nnunet_attention.errors import CommandError
from nnunet_attention.portable import ExportOptions, export_model, exporting, segment
from nnunet_attention.prediction.trained_model import load_trained_model
from nnunet_attention.recorder import NoAttentionGatesError, record_attention
from nnunet_attention.trainers import AttentionUNetTrainer

# nnU-Net's search for a trainer imports all of its own, and warnings of their dependencies.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("one_thread")]

PATCH = (4, 8, 16)


@pytest.fixture
def source(tmp_path):
    return _attention_model(tmp_path)


def _attention_model(folder: Path) -> Path:
    model = model_of(plans_with(), dataset_with(), 2, AttentionUNetTrainer)
    return write_model(folder / "AttentionUNetTrainer__nnUNetPlans__3d_fullres", model)


class Exported(NamedTuple):
    """A model of two folds, written with everything."""

    source: Path
    target: Path
    content: dict
    told: list[str]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    root = tmp_path_factory.mktemp("exported")
    source, told = _attention_model(root), []
    options = ExportOptions(coefficients=True, program=True)
    content = export_model(source, root / "exported", options=options, on_fold=told.append)
    return Exported(source, root / "exported", content, told)


def outputs(path, image: torch.Tensor) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image.numpy()}), strict=True))


def of_torch(source, fold: str, image: torch.Tensor) -> dict[str, np.ndarray]:
    network = load_trained_model(source, fold).network.eval()
    with torch.no_grad(), record_attention(network) as record:
        logits = network(image)
    return {"logits": logits.numpy(), **{name: value.numpy() for name, value in record.items()}}


@pytest.mark.slow
def test_every_fold_is_written_with_all_that_is_needed(exported):
    source, target, content, told = exported
    assert told == ["0", "1"]
    names = ("fold_{}.onnx", "fold_{}.pt2")
    assert {path.name for path in target.iterdir()} == {
        "README.md", "model.json", "model.schema.json", "segment.py",
        *(name.format(fold) for name in names for fold in told),
    }  # fmt: skip
    assert [path for path in target.parent.iterdir() if path.name.startswith(".")] == []
    assert json.loads((target / "model.json").read_text()) == content
    validate(content, json.loads((target / "model.schema.json").read_text()))
    assert [output["name"] for output in content["outputs"]] == ["logits", "gate_0"]
    assert content["outputs"][1]["grid"] == [4, 4, 8]

    image = torch.randn(3, 2, *PATCH)
    for network in content["networks"]:
        path = target / network["file"]
        assert network["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        expected = of_torch(source, network["fold"], image)
        found = outputs(path, image)
        assert list(found) == list(network["largest_difference"]) == list(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-4)
        assert 0 <= network["largest_difference"]["logits"] < 1e-4
        assert network["largest_logit"] > 0
        program = torch.export.load(target / network["program"]).module()
        np.testing.assert_allclose(program(image).detach(), expected["logits"], atol=1e-4)
    first, second = (outputs(target / f"fold_{fold}.onnx", image)["logits"] for fold in told)
    assert np.abs(first - second).max() > 0.1


@pytest.mark.slow
def test_the_readme_holds_the_program_and_the_models_numbers(exported):
    _, target, content, _ = exported
    readme = (target / "README.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert program == (target / "segment.py").read_text()
    assert "python segment.py segmentation.nii.gz case_0000.nii.gz case_0001.nii.gz" in readme
    assert "| 1 | CT | x clipped to -0.5 to 3, then (x - 1.2) / 0.8 |" in readme
    assert "| 2 | tumour |" in readme
    assert all(network["file"] in readme for network in content["networks"])
    assert "Patches of 4 x 8 x 16" in readme
    worst = max(network["largest_difference"]["logits"] for network in content["networks"])
    assert f"by at most {worst:.1e}" in readme
    assert "{" not in readme.partition("## The program")[0]


@pytest.mark.slow
def test_the_program_averages_the_folds(exported):
    source, target, content, _ = exported
    networks = segment.load_networks(target, content, None)
    image = np.random.default_rng(0).normal(size=(2, *PATCH)).astype(np.float32)
    found = segment.run(image, networks, [])
    expected = [of_torch(source, fold, torch.from_numpy(image[None]))["logits"] for fold in "01"]
    np.testing.assert_allclose(found, np.mean(expected, 0)[0], atol=1e-4)


@pytest.mark.slow
def test_patches_of_other_sizes_are_taken_if_asked_for(source, tmp_path):
    options = ExportOptions(dynamic_patch=True)
    content = export_model(source, tmp_path / "exported", "1", options=options)
    assert content["patch_multiple_of"] == [2, 4, 4]
    image = torch.randn(1, 2, 6, 12, 20)
    found = outputs(tmp_path / "exported" / "fold_1.onnx", image)["logits"]
    np.testing.assert_allclose(found, of_torch(source, "1", image)["logits"], atol=1e-4)
    assert "(batch, 2, 2n, 4n, 4n)" in (tmp_path / "exported" / "README.md").read_text()


@pytest.mark.usefixtures("written")
def test_a_free_patch_is_checked_at_another_size_and_batch(source, tmp_path, monkeypatch):
    shapes = []

    def compared(network, path, given, names):
        shapes.extend(given)
        return {"logits": 1e-6}, 2.0

    monkeypatch.setattr(exporting, "_compared", compared)
    options = ExportOptions(dynamic_patch=True)
    content = export_model(source, tmp_path / "exported", "0", options=options)
    # Strides multiply to (2, 4, 4), and 2 * (2, 4, 4) is the plans' patch along the first two axes.
    assert shapes == [(1, 2, 4, 8, 16), (1, 2, 4, 8, 16), (2, 2, 6, 12, 8)]
    assert content["checked"]["patches"] == 3
    readme = (tmp_path / "exported" / "README.md").read_text()
    assert "n may be another number along each axis, and is at least 2" in readme


class FailureError(Exception):
    """Is no RuntimeError, as those of onnxruntime are none."""


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        ("_halve", ExportOptions(precision="f16"), "it cannot be converted to 16 bits"),
        ("_compared", ExportOptions(), "onnxruntime cannot run it"),
        ("_write_program", ExportOptions(program=True), "torch cannot write it for torch.export."),
    ],
)
def test_what_other_packages_fail_at_is_told_in_one_line(
    source, tmp_path, written, monkeypatch, function, options, message
):
    def fail(*arguments):
        raise FailureError("somewhere in C++\nbad allocation")

    monkeypatch.setattr(exporting, function, fail)
    expected = f"^fold 0: {message}.*: bad allocation; nothing was written$"
    with pytest.raises(CommandError, match=expected):
        export_model(source, tmp_path / "exported", "0", options=options)
    assert list(tmp_path.iterdir()) == [source]


def test_a_program_that_computes_something_else_is_not_left_there(
    source, tmp_path, written, monkeypatch
):
    def write(network, path, shape):
        program = torch.export.export(torch.nn.Conv3d(2, 3, 1), (torch.zeros(1, *shape),))
        torch.export.save(program, path)

    monkeypatch.setattr(exporting, "_write_program", write)
    with pytest.raises(CommandError, match=r"fold 0: the logits of fold_0.pt2 differ from the net"):
        export_model(source, tmp_path / "exported", "0", options=ExportOptions(program=True))
    assert list(tmp_path.iterdir()) == [source]


def test_bfloat16_is_refused_with_the_reason(source, tmp_path, written):
    with pytest.raises(CommandError, match="--precision bf16: onnxruntime does not compute in it"):
        export_model(source, tmp_path / "exported", options=ExportOptions(precision="bf16"))
    assert written == []


@pytest.mark.slow
def test_weights_in_16_bits_halve_the_file_and_are_nearly_as_exact(source, tmp_path):
    export_model(source, tmp_path / "in 32", "0")
    content = export_model(source, tmp_path / "in 16", "0", options=ExportOptions(precision="f16"))
    assert content["precision"] == "f16"
    assert 1e-5 < content["networks"][0]["largest_difference"]["logits"] < 0.05
    image = torch.randn(1, 2, *PATCH)
    found = outputs(tmp_path / "in 16" / "fold_0.onnx", image)["logits"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, of_torch(source, "0", image)["logits"], atol=0.05)
    weights = [
        sum(t.nbytes for t in _weights(tmp_path / name / "fold_0.onnx"))
        for name in ("in 16", "in 32")
    ]
    assert weights[0] < 0.6 * weights[1]


def _weights(path) -> list[np.ndarray]:
    import onnx

    return [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]


@pytest.fixture
def written(monkeypatch):
    """Stands in for torch's exporter, which takes seconds."""
    paths = []

    def write(network, path, *arguments, **options):
        path.write_bytes(b"network")
        paths.append(path.name)
        return ["logits"]

    monkeypatch.setattr(exporting, "export_network", write)
    monkeypatch.setattr(exporting, "_compared", lambda *_: ({"logits": 1e-6}, 2.0))
    return paths


def test_only_the_folds_asked_for_are_written(source, tmp_path, written):
    export_model(source, tmp_path / "exported", ["1"])
    assert written == ["fold_1.onnx"]


def test_what_is_there_and_no_export_is_never_touched(source, tmp_path, written):
    target = tmp_path / "important"
    target.mkdir()
    (target / "thesis.md").write_text("years")
    for overwrite in (False, True):
        with pytest.raises(CommandError, match="is not an exported model, so nothing in it"):
            export_model(source, target, overwrite=overwrite)
    (target / "model.json").write_text('{"my": "own"}')
    with pytest.raises(CommandError, match="is not an exported model"):
        export_model(source, target, overwrite=True)
    assert (target / "thesis.md").read_text() == "years"
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CommandError, match="is not an exported model"):
        export_model(source, file, overwrite=True)
    assert written == []


def test_an_earlier_export_is_replaced_only_if_that_is_said(source, tmp_path, written):
    target = tmp_path / "exported"
    export_model(source, target, "0")
    with pytest.raises(CommandError, match="is already an exported model; give --overwrite"):
        export_model(source, target, "1")
    assert (target / "fold_0.onnx").exists()
    export_model(source, target, "1", overwrite=True)
    assert (target / "fold_1.onnx").exists()
    assert not (target / "fold_0.onnx").exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_an_empty_folder_is_filled(source, tmp_path, written):
    (tmp_path / "exported").mkdir()
    export_model(source, tmp_path / "exported")
    assert (tmp_path / "exported" / "model.json").exists()


@pytest.mark.parametrize("difference", [0.1, np.nan])
def test_what_computes_something_else_is_not_left_there(
    source, tmp_path, written, monkeypatch, difference
):
    monkeypatch.setattr(exporting, "_compared", lambda *_: ({"logits": difference}, 2.0))
    export = tmp_path / "exported"
    with pytest.raises(CommandError, match=r"fold 0: onnxruntime's logits differ from torch's by"):
        export_model(source, export)
    assert list(tmp_path.iterdir()) == [source]


class NaNSession:
    """Returns NaN, as weights do that 16 bits do not hold."""

    def __init__(self, path, options, providers):
        pass

    def run(self, names, inputs):
        return [np.full((1, 3, *PATCH), np.nan, np.float32) for _ in names]


def test_nan_is_a_difference(source, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "export_network", lambda *_, **__: ["logits"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", NaNSession)
    with pytest.raises(CommandError, match=r"fold 0: onnxruntime's logits .* by nan, but at most"):
        export_model(source, tmp_path / "exported", "0")
    assert list(tmp_path.iterdir()) == [source]


def test_coefficients_that_are_others_are_not_left_there_either(
    source, tmp_path, written, monkeypatch
):
    found = {"logits": 1e-6, "gate_0": 0.01}
    monkeypatch.setattr(exporting, "_compared", lambda *_: (found, 20.0))
    with pytest.raises(
        CommandError, match=r"coefficients gate_0 differ .* by 0.01, but at most 0.001"
    ):
        export_model(source, tmp_path / "exported", options=ExportOptions(coefficients=True))
    assert list(tmp_path.iterdir()) == [source]


def test_what_somebody_put_into_an_export_is_never_deleted(source, tmp_path, written):
    target = tmp_path / "exported"
    export_model(source, target, "0")
    (target / "segmentation.nii.gz").write_text("hours")
    with pytest.raises(
        CommandError, match=r"would delete: segmentation.nii.gz; move them elsewhere"
    ):
        export_model(source, target, "1", overwrite=True)
    assert (target / "segmentation.nii.gz").read_text() == "hours"
    assert written == ["fold_0.onnx"]


def test_an_earlier_export_survives_a_failure(source, tmp_path, written, monkeypatch):
    target = tmp_path / "exported"
    export_model(source, target, "0")
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    monkeypatch.setattr(exporting, "_compared", lambda *_: ({"logits": 1.0}, 2.0))
    with pytest.raises(CommandError, match="differ"):
        export_model(source, target, overwrite=True)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before


def test_coefficients_of_a_network_without_gates_are_refused(tmp_path, written):
    source = write_model(tmp_path / "plain", model_of(plans_with(), dataset_with()))
    with pytest.raises(NoAttentionGatesError):
        export_model(source, tmp_path / "exported", options=ExportOptions(coefficients=True))
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("plans.json", r"plans\.json"),
        ("dataset.json", r"dataset\.json"),
        ("fold_0/checkpoint_final.pth", "has no checkpoint_final.pth for fold 0"),
    ],
)
def test_an_incomplete_model_is_refused(source, tmp_path, written, remove, message):
    (source / remove).unlink()
    with pytest.raises(CommandError, match=message):
        export_model(source, tmp_path / "exported", "0")
    assert list(tmp_path.iterdir()) == [source]


def test_what_is_not_installed_is_named(source, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match="onnxruntime is not installed"):
        export_model(source, tmp_path / "exported")


def test_an_unknown_precision_is_refused(source, tmp_path):
    with pytest.raises(CommandError, match="precision 'f8': choose f32 or f16"):
        export_model(source, tmp_path / "exported", options=ExportOptions(precision="f8"))
