"""Loading refuses whatever is not a checkpoint of nnU-Net, and executes nothing."""

import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from plain_checkpoints import plain_checkpoint

from nnunet_attention.errors import CommandError
from nnunet_attention.weights import load_checkpoint, save_checkpoint
from nnunet_attention.weights.checkpoint import load_weights

pytestmark = pytest.mark.usefixtures("one_thread")


class Hostile:
    """Calls a function when it is unpickled without care."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def checkpoint(minimal_plans) -> dict:
    return plain_checkpoint(minimal_plans)


@pytest.fixture
def path(tmp_path, checkpoint) -> Path:
    torch.save(checkpoint, tmp_path / "checkpoint_final.pth")
    return tmp_path / "checkpoint_final.pth"


def rename_numpy(path: Path, found: bytes, wanted: bytes) -> None:
    """Rewrites the names of numpy's modules in a checkpoint's pickle."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            if name.endswith("data.pkl"):
                assert found in data or wanted in data
                data = data.replace(found, wanted)
            archive.writestr(name, data)


def test_loads_what_nnunet_saves(path, checkpoint):
    loaded = load_checkpoint(str(path))
    assert loaded.keys() == checkpoint.keys()
    assert loaded["logging"] == checkpoint["logging"]
    assert loaded["init_args"] == checkpoint["init_args"]
    assert isinstance(loaded["_best_ema"], np.float64)
    for name, weight in checkpoint["network_weights"].items():
        assert torch.equal(loaded["network_weights"][name], weight)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (b"numpy._core.multiarray", b"numpy.core.multiarray"),
        (b"numpy.core.multiarray", b"numpy._core.multiarray"),
    ],
    ids=["numpy 1", "numpy 2"],
)
def test_loads_numbers_as_either_numpy_wrote_them(path, checkpoint, found, wanted):
    rename_numpy(path, found, wanted)
    assert load_checkpoint(path)["logging"] == checkpoint["logging"]


@pytest.mark.parametrize("number", [np.float16(2), np.int64(2), np.uint8(2), np.bool_(True)])
def test_loads_other_numbers_of_numpy(tmp_path, checkpoint, number):
    torch.save({**checkpoint, "number": number}, tmp_path / "checkpoint.pth")
    loaded = load_checkpoint(tmp_path / "checkpoint.pth")["number"]
    assert loaded == number
    assert loaded.dtype == number.dtype


def test_loads_the_file_format_of_torch_before_1_6(tmp_path, checkpoint):
    path = tmp_path / "old.pth"
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
    assert load_checkpoint(path)["logging"] == checkpoint["logging"]


def test_the_allow_list_is_afterwards_what_it_was(path):
    with torch.serialization.safe_globals([np.dtype]):
        before = set(torch.serialization.get_safe_globals())
        load_checkpoint(path)
        assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("place", ["alone", "network_weights", "logging"])
@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (open, ("{marker}", "w"), "_?io.open"),
        (os.system, ("echo > {marker}",), f"{os.name}.system"),
        (exec, ("open('{marker}', 'w')",), "exec"),
    ],
    ids=["open", "os.system", "exec"],
)
def test_a_hostile_pickle_is_refused_and_not_executed(
    tmp_path, checkpoint, place, new_format, function, arguments, name
):
    marker, path = tmp_path / "executed", tmp_path / "hostile.pth"
    hostile = Hostile(function, *(part.format(marker=marker) for part in arguments))
    content = hostile if place == "alone" else {**checkpoint, place: {"x": hostile}}
    torch.save(content, path, _use_new_zipfile_serialization=new_format)

    with pytest.raises(CommandError, match=f"refused to load .*hostile.pth: it asks for {name},"):
        load_checkpoint(path)

    assert not marker.exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_hostile_pickle_of_these_tests_would_be_executed(tmp_path):
    marker, path = tmp_path / "executed", tmp_path / "hostile.pth"
    torch.save(Hostile(open, str(marker), "w"), path)
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_hostile_file_of_bare_pickle_is_not_executed(tmp_path, protocol):
    marker, path = tmp_path / "executed", tmp_path / "hostile.pth"
    path.write_bytes(pickle.dumps(Hostile(open, str(marker), "w"), protocol))
    with pytest.raises(CommandError, match=r"hostile\.pth"):
        load_checkpoint(path)
    assert not marker.exists()


@pytest.mark.parametrize("version", ["2.5.1+cpu", "2.6.0", "2.9.1"])
def test_an_old_torch_is_refused_as_its_safe_loading_is_not(path, monkeypatch, version):
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(version))
    remedy = r"CVE-2025-32434.*CVE-2026-24747.*install torch 2\.10 or later"
    with pytest.raises(CommandError, match=remedy):
        load_checkpoint(path)


def test_the_first_safe_torch_is_accepted(path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion("2.10.0+cu126"))
    assert load_checkpoint(path)["trainer_name"] == "nnUNetTrainer"


def with_another_first_byte_in_its_pickle(whole: bytes) -> bytes:
    assert whole.count(b"\x80\x02}") == 1
    return whole.replace(b"\x80\x02}", b"\x81\x02}")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda whole: b"", "it is empty"),
        (lambda whole: whole[: len(whole) // 2], "its end is missing"),
        (lambda whole: whole[:3], "its end is missing"),
        (with_another_first_byte_in_its_pickle, "the checksum of its part .* is wrong"),
        (lambda whole: b"epoch,loss", "it does not begin like a torch file"),
        (lambda whole: b"\x80\x02", "ends too soon or is not a torch pickle"),
        (lambda whole: b"\x80\x02e", "ends too soon or is not a torch pickle"),
    ],
)
def test_what_is_wrong_with_a_damaged_file_is_said_in_words(path, damage, reason):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CommandError, match=rf"truncated or damaged \(.*{reason}.*\); copy or"):
        load_checkpoint(path)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(path, kept):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(CommandError, match="truncated or damaged") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_a_text_file_is_refused(tmp_path):
    (tmp_path / "notes.pth").write_text("not a checkpoint")
    with pytest.raises(CommandError, match="not an nnU-Net checkpoint") as caught:
        load_checkpoint(tmp_path / "notes.pth")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(CommandError, match=r"absent.pth: there is no such file"):
        load_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(CommandError, match="it is a folder"):
        load_checkpoint(tmp_path)


def test_a_file_that_may_not_be_read_is_not_called_damaged(path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(CommandError, match=r"checkpoint_final.pth: permission denied"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["network_weights", "trainer_name", "init_args"])
def test_a_missing_entry_is_named(path, checkpoint, name):
    del checkpoint[name]
    torch.save(checkpoint, path)
    with pytest.raises(CommandError, match=f": {name} missing"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["plans", "configuration", "dataset_json"])
def test_a_missing_init_argument_is_named(path, checkpoint, name):
    del checkpoint["init_args"][name]
    torch.save(checkpoint, path)
    with pytest.raises(CommandError, match=rf"init_args\.{name} missing"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "it holds a list"),
        ({"network_weights": {}, "trainer_name": "T", "init_args": {}}, "init_args.plans"),
        ({"network_weights": 3, "trainer_name": "T", "init_args": {}}, "network_weights is a int"),
    ],
)
def test_another_content_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CommandError, match=message):
        load_checkpoint(tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("weights", "message"), [({}, "network_weights is empty"), ({"a": 1}, "'a'.* is a int")]
)
def test_weights_that_are_no_tensors_are_refused(path, checkpoint, weights, message):
    torch.save({**checkpoint, "network_weights": weights}, path)
    with pytest.raises(CommandError, match=message):
        load_checkpoint(path)


def test_saving_leaves_the_file_and_nothing_else(tmp_path, checkpoint):
    save_checkpoint(checkpoint, tmp_path / "saved.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["saved.pth"]
    assert load_checkpoint(tmp_path / "saved.pth")["trainer_name"] == "nnUNetTrainer"


def test_a_failed_save_leaves_nothing(tmp_path):
    # A local function cannot be pickled.
    kind = pickle.PicklingError if sys.version_info >= (3, 14) else AttributeError
    with pytest.raises(kind):
        save_checkpoint({"function": lambda: None}, tmp_path / "saved.pth")
    with pytest.raises(CommandError, match="cannot write"):
        save_checkpoint({}, tmp_path / "absent" / "saved.pth")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (
            {"weight": torch.ones(2, 3), "bias": torch.ones(2).to_sparse()},
            r"copy_\(\) between dense",
        ),
        ({"weight": torch.ones(2, 3)}, r'Missing key\(s\) in state_dict: "bias"'),
        ({"weight": torch.ones(3, 2), "bias": torch.ones(3)}, r"size mismatch .* \(and 1 more\)"),
    ],
)
def test_weights_that_do_not_fit_are_told_in_one_line(weights, reason):
    layer = torch.nn.Linear(3, 2)
    with pytest.raises(CommandError, match=f"do not fit the small layer: .*{reason}") as error:
        load_weights(layer, weights, "the small layer")
    assert "\n" not in str(error.value)


def test_a_part_that_says_it_is_packed_in_an_unknown_way_is_damaged(tmp_path):
    path = tmp_path / "damaged.pth"
    torch.save({"network_weights": {}}, path)
    content = bytearray(path.read_bytes())
    # The table of contents comes last; ten bytes into an entry stands how it is packed.
    entry = content.rfind(b"PK\x01\x02")
    content[entry + 10] = 77
    path.write_bytes(bytes(content))
    with pytest.raises(CommandError, match=r"damaged\.pth is not an nnU-Net checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", [3, None])
def test_weights_without_a_name_are_refused(tmp_path, name):
    content = {"network_weights": {name: torch.zeros(1)}, "trainer_name": "T"}
    content["init_args"] = {"plans": {}, "configuration": "2d", "dataset_json": {}}
    torch.save(content, tmp_path / "nameless.pth")
    with pytest.raises(CommandError, match=f"the name {name!r} in network_weights is a"):
        load_checkpoint(tmp_path / "nameless.pth")
