"""A graph is written once, and again when it is damaged or made from something else."""

import importlib
import json
import os
import sys
import time
from dataclasses import replace

import pytest
import torch
from small_networks import small_network
from torch import nn

from nnunet_attention import products
from nnunet_attention.engines import graph_cache
from nnunet_attention.engines.graph_cache import GraphCache, GraphKey, graph_key
from nnunet_attention.errors import CommandError
from nnunet_attention.networks.wide import build_plain_network

KEY = GraphKey("weights", "network", (1, 4, 8, 16), ("logits",))


@pytest.fixture
def cache(tmp_path) -> GraphCache:
    return GraphCache(tmp_path / "engines")


@pytest.fixture
def write():
    """Writes a new content each time."""

    def write(path):
        write.times += 1
        path.write_bytes(b"graph %d" % write.times)

    write.times = 0
    return write


def test_what_is_there_is_not_written_again(cache, write):
    path = cache.graph("fold_0", KEY, write)
    assert cache.graph("fold_0", KEY, write) == path
    assert path.read_bytes() == b"graph 1"


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "others"},
        {"network": "other"},
        {"shape": (1, 4, 8, 32)},
        {"outputs": ("logits", "gate_0")},
        {"inputs": ("features_0", "keep_0")},
    ],
)
def test_of_another_model_it_is_written_and_takes_the_place(cache, write, change):
    old = cache.graph("fold_0", KEY, write)
    other_fold = cache.graph("fold_1", KEY, write)
    new = cache.graph("fold_0", replace(KEY, **change), write)
    assert new.read_bytes() == b"graph 3"
    assert not old.exists()
    assert sorted(path.name for path in cache.folder.iterdir()) == sorted(
        path.with_suffix(suffix).name for path in (new, other_fold) for suffix in (".onnx", ".json")
    )


def test_graphs_of_another_environment_stay(cache, write, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(graph_cache, "versions_of", lambda *names: {"torch": "99"})
        old = cache.graph("fold_0", KEY, write)
    new = cache.graph("fold_0", KEY, write)
    assert old != new
    assert cache.graph("fold_0", KEY, write) == new
    with monkeypatch.context() as patch:
        patch.setattr(graph_cache, "versions_of", lambda *names: {"torch": "99"})
        assert cache.graph("fold_0", KEY, write) == old
    assert write.times == 2


def test_unfinished_files_are_removed_a_day_later(cache, write):
    cache.graph("fold_0", KEY, write)
    old, new, other = (
        cache.folder / f".{name}.onnx.{process}-0123abcd.part"
        for name, process in (("fold_0.a", 7), ("fold_0.a", 8), ("fold_1.a", 7))
    )
    for path, hours in ((old, 25), (new, 23), (other, 25)):
        path.touch()
        os.utime(path, (time.time() - hours * 3600,) * 2)
    cache.graph("fold_0", replace(KEY, weights="others"), write)
    assert [path.exists() for path in (old, new, other)] == [False, True, True]


def test_names_are_no_patterns(cache, write):
    other = cache.graph("fold_0-a", KEY, write)
    named = cache.graph("fold_0-[ab]", KEY, write)
    new = cache.graph("fold_0-[ab]", replace(KEY, weights="others"), write)
    assert [path.is_file() for path in (other, named, new)] == [True, False, True]


def test_other_versions_write_it_anew(cache, write, monkeypatch):
    cache.graph("fold_0", KEY, write)
    monkeypatch.setattr(
        "nnunet_attention.engines.graph_cache.versions_of", lambda *names: {"torch": "99"}
    )
    assert cache.graph("fold_0", KEY, write).read_bytes() == b"graph 2"


@pytest.mark.parametrize("damage", [b"", b"grap", b"graph 2", None])
def test_a_damaged_graph_is_written_anew(cache, write, damage):
    path = cache.graph("fold_0", KEY, write)
    path.unlink() if damage is None else path.write_bytes(damage)
    assert cache.graph("fold_0", KEY, write).read_bytes() == b"graph 2"


@pytest.mark.parametrize("damage", ["", "[1]", "{", "{}", '{"key": 3, "sha256": 4}', None])
def test_with_a_damaged_record_it_is_written_anew(cache, write, damage):
    path = cache.graph("fold_0", KEY, write)
    record = path.with_suffix(".json")
    record.unlink() if damage is None else record.write_text(damage)
    assert cache.graph("fold_0", KEY, write).read_bytes() == b"graph 2"
    assert json.loads(record.read_text())["key"] == KEY.content()


def test_of_what_cannot_be_written_there_is_no_record(cache, write):
    cache.graph("fold_0", KEY, write)
    (path,) = cache.folder.glob("*.onnx")
    path.write_bytes(b"damaged")

    def fail(path):
        raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        cache.graph("fold_0", KEY, fail)
    assert not list(cache.folder.glob("*.json"))


def test_differences_are_noted_by_engine(cache, write):
    path = cache.graph("fold_0", KEY, write)
    assert cache.differences(path) == {}
    cache.note_difference(path, "openvino 1 f32", 1e-6)
    cache.note_difference(path, "openvino 1 bf16", 1e-2)
    assert cache.differences(path) == {"openvino 1 f32": 1e-6, "openvino 1 bf16": 1e-2}
    assert cache.graph("fold_0", KEY, write).read_bytes() == b"graph 1"


@pytest.mark.parametrize(
    "damage",
    ["x", None, True, float("nan"), float("inf"), -1.0, [], {}, pytest.param(10**400, id="huge")],
)
def test_what_is_no_difference_is_not_believed(cache, write, damage):
    path = cache.graph("fold_0", KEY, write)
    record = path.with_suffix(".json")
    content = json.loads(record.read_text())
    content["differences"] = {"openvino 1 f32": damage, "onnxruntime 1 f32": 0}
    record.write_text(json.dumps(content))
    assert cache.differences(path) == {"onnxruntime 1 f32": 0}


def test_where_a_record_is_just_being_written_none_takes_its_place(cache, write):
    path = cache.graph("fold_0", KEY, write)
    path.with_suffix(".json").unlink()
    cache.note_difference(path, "openvino 1 f32", 1e-6)
    assert not path.with_suffix(".json").exists()


def test_a_difference_that_cannot_be_noted_is_no_error(cache, write, monkeypatch):
    def fail(*arguments):
        raise PermissionError(13, "Permission denied")

    path = cache.graph("fold_0", KEY, write)
    monkeypatch.setattr(graph_cache, "write_json", fail)
    cache.note_difference(path, "openvino 1 f32", 1e-6)
    assert cache.differences(path) == {}


def network_digest(network: nn.Module) -> str:
    return graph_key(network, (1, 4, 8, 16), ["logits"]).network


class Scaled(nn.Module):
    """Multiplies by a number that `repr` does not show."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, image):
        return image * self.scale


def test_the_key_follows_attributes_of_layers():
    digests = [
        network_digest(nn.Sequential(Scaled(scale)))
        for scale in (1.0, 3.0, 1, True, "1", (1, 3), [1, 3], ((1,), 3))
    ]
    assert len(set(digests)) == len(digests)
    assert network_digest(Scaled(1.0)) == network_digest(Scaled(1.0).eval())


def test_the_key_follows_the_code_of_base_classes(tmp_path, monkeypatch):
    (tmp_path / "base_layer.py").write_text("from torch import nn\nclass Base(nn.Module): pass\n")
    (tmp_path / "own_layer.py").write_text("import base_layer\nclass Own(base_layer.Base): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    own_layer = importlib.import_module("own_layer")
    before = network_digest(own_layer.Own())
    assert network_digest(own_layer.Own()) == before
    with (tmp_path / "base_layer.py").open("a") as file:
        file.write("# changed\n")
    assert network_digest(own_layer.Own()) != before


USES_OF_A_HELPER = {
    "a function": "from helper import scale\n",
    "the module": "import helper\n",
    "another module that calls it": "from other import call\n",
    "a module of its package": "from package import part\n",
    "its package": "import package.part\n",
}


@pytest.fixture
def user_code(tmp_path, monkeypatch):
    """Writes modules as a user's folder has them; afterwards they are forgotten."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "part.py").write_text("from helper import scale\n")
    (tmp_path / "other.py").write_text("import helper\ndef call(x): return helper.scale(x)\n")
    (tmp_path / "helper.py").write_text("import numpy\ndef scale(x): return x\n")
    yield tmp_path
    for name in ("user_layer", "helper", "other", "package", "package.part"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("imports", USES_OF_A_HELPER.values(), ids=USES_OF_A_HELPER)
def test_the_key_follows_functions_of_other_files(imports, user_code):
    layer = f"from torch import nn\n{imports}class Own(nn.Module): pass\n"
    (user_code / "user_layer.py").write_text(layer)
    network = importlib.import_module("user_layer").Own()
    before = network_digest(network)
    assert network_digest(network) == before
    (user_code / "helper.py").write_text("import numpy\ndef scale(x): return 2 * x\n")
    assert network_digest(network) != before


def test_the_key_does_not_follow_what_others_installed(user_code, monkeypatch):
    # Environments that share a model's folder may have other versions.
    installed = user_code / "site-packages"
    installed.mkdir()
    monkeypatch.syspath_prepend(installed)
    (user_code / "helper.py").rename(installed / "helper.py")
    layer = "from torch import nn\nfrom helper import scale\nclass Own(nn.Module): pass\n"
    (user_code / "user_layer.py").write_text(layer)
    network = importlib.import_module("user_layer").Own()
    before = network_digest(network)
    (installed / "helper.py").write_text("def scale(x): return 2 * x\n")
    assert network_digest(network) == before


def test_the_key_does_not_depend_on_what_else_is_loaded(user_code):
    layer = "from torch import nn\nclass Own(nn.Module):\n    def f(self): import helper\n"
    (user_code / "user_layer.py").write_text(layer)
    network = importlib.import_module("user_layer").Own()
    before = network_digest(network)
    importlib.import_module("helper")
    assert network_digest(network) == before


def test_code_without_a_source_is_never_taken_for_the_same(monkeypatch):
    # As of a class that was typed into a notebook or an interpreter.
    monkeypatch.setattr(Scaled, "__module__", "no_such_module")
    assert network_digest(Scaled(1.0)) != network_digest(Scaled(1.0))


def test_the_key_follows_weights_and_layers():
    def key(build=build_plain_network, seed=0, shape=(1, 4, 8, 16)):
        return graph_key(small_network(build, seed), shape, ["logits"])

    network = small_network(build_plain_network)
    with torch.no_grad():
        network.encoder.stages[0][0].convs[0].conv.bias[0] += 1e-6
    changed = graph_key(network, (1, 4, 8, 16), ["logits"])
    assert key() == key()
    assert key().weights != key(seed=1).weights != changed.weights != key().weights
    assert key().network == key(seed=1).network
    assert key().network != graph_key(small_network(), (1, 4, 8, 16), ["logits"]).network
    network.decoder.stages[0].convs[0].nonlin.negative_slope = 0.5
    assert graph_key(network, (1, 4, 8, 16), ["logits"]).network != key().network


def test_the_key_follows_what_gates_call(monkeypatch, tmp_path):
    network = small_network()
    before = graph_key(network, (1, 4, 8, 16), ("logits",))
    changed = tmp_path / "products.py"
    changed.write_text("# another way to multiply\n")
    monkeypatch.setattr(products, "__file__", str(changed))
    assert graph_key(network, (1, 4, 8, 16), ("logits",)).network != before.network


def test_a_folder_that_takes_nothing_is_named_with_the_remedy(tmp_path, write):
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=r"file/engines: cannot keep networks .* --cache"):
        GraphCache(tmp_path / "file" / "engines").graph("fold_0", KEY, write)
