"""Keeps networks that were exported to ONNX, so that each is exported only once."""

import glob
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from nnunet_attention import products, recorder
from nnunet_attention.engines import graph, parts
from nnunet_attention.engines.graph import INPUT_NAME, OPSET
from nnunet_attention.errors import CommandError
from nnunet_attention.files import disk_error, read_json, remove, write_json
from nnunet_attention.versions import versions_of

# This folder lies beside the folds in a model's folder.
CACHE_FOLDER = "engines"
# The packages that determine how torch writes a network.
_WRITERS = ("torch", "onnx", "onnxscript", "dynamic-network-architectures")
# Modules whose functions gates call or determine a graph's outputs; no layer's class is in them.
_CALLED = (products, recorder, graph, parts)
_DIGITS = 16
_CHUNK_BYTES = 2**24


@dataclass(frozen=True)
class GraphKey:
    """Tells what a graph was made from; graphs with equal keys compute the same.

    Attributes:
        weights: a digest of the weights.
        network: a digest of the layers and of the source of their classes.
        shape: (C, *patch).
        outputs: the names of the outputs.
        inputs: the names of the inputs, which distinguish the parts of a network.
    """

    weights: str
    network: str
    shape: tuple[int, ...]
    outputs: tuple[str, ...]
    inputs: tuple[str, ...] = (INPUT_NAME,)

    def content(self) -> dict:
        """Return everything that must be equal, including versions."""
        return {
            "weights": self.weights,
            "network": self.network,
            "shape": list(self.shape),
            "outputs": list(self.outputs),
            "inputs": list(self.inputs),
            "opset": OPSET,
            "versions": versions_of(*_WRITERS),
        }


def graph_key(
    network: nn.Module,
    shape: tuple[int, ...],
    outputs: Iterable[str],
    inputs: Iterable[str] = (INPUT_NAME,),
) -> GraphKey:
    """Return the key of a network with its current weights.

    Args:
        network: the network.
        shape: (C, *patch).
        outputs: the names of the outputs.
        inputs: the names of the inputs.
    """
    weights, code = _digest_of_weights(network), _digest_of_code(network)
    return GraphKey(weights, code, shape, tuple(outputs), tuple(inputs))


class GraphCache:
    """Keeps graphs in a folder.

    A graph NAME.DIGITS.onnx lies beside NAME.DIGITS.json, which holds its key, its check sum, and
    how much each engine was found to differ from torch. Damaged files are written anew.

    Args:
        folder: the folder; it need not exist.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def graph(self, name: str, key: GraphKey, write: Callable[[Path], object]) -> Path:
        """Return the path of a graph, which is written if it is absent, outdated or damaged.

        Args:
            name: the graph's name; other graphs of the same name are deleted when it is written.
            key: the key of what it is made from.
            write: a function that writes a file whole or not at all.

        Raises:
            CommandError: if it cannot be written.
        """
        path = self._path(name, key)
        record = self._record(path)
        if record.get("key") == key.content() and _is_whole(path, record):
            return path
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # A file without its record is not used.
            self._record_path(path).unlink(missing_ok=True)
            write(path)
            write_json(self._record_path(path), {"key": key.content(), "sha256": _digest_of(path)})
            self._remove_others(name, path)
        except OSError as error:
            raise CommandError(
                f"{self.folder}: cannot keep networks for engines there: {disk_error(error)}; name "
                "another folder with --cache"
            ) from error
        return path

    def _remove_others(self, name: str, path: Path) -> None:
        for other in self.folder.glob(f"{glob.escape(name)}.*"):
            if other not in (path, self._record_path(path)) and other.suffix in (".onnx", ".json"):
                remove(other)

    def differences(self, path: Path) -> dict[str, float]:
        """Return how much the engines tried with a graph differ from torch, by engine."""
        found = self._record(path).get("differences")
        return found if isinstance(found, dict) else {}

    def note_difference(self, path: Path, engine: str, difference: float) -> None:
        """Record how much an engine differs from torch."""
        record = self._record(path)
        differences = {**self.differences(path), engine: difference}
        write_json(self._record_path(path), {**record, "differences": differences})

    def _path(self, name: str, key: GraphKey) -> Path:
        digest = hashlib.sha256(json.dumps(key.content(), sort_keys=True).encode()).hexdigest()
        return self.folder / f"{name}.{digest[:_DIGITS]}.onnx"

    @staticmethod
    def _record_path(path: Path) -> Path:
        return path.with_suffix(".json")

    def _record(self, path: Path) -> dict:
        try:
            return read_json(self._record_path(path))
        except CommandError:  # absent or damaged, which makes no difference here
            return {}


def _is_whole(path: Path, record: Mapping) -> bool:
    return path.is_file() and record.get("sha256") == _digest_of(path)


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _digest_of_weights(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for values in (network.named_parameters(), network.named_buffers()):
        for name, tensor in values:
            tensor = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            # numpy() alone does not support bfloat16.
            digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _digest_of_code(network: nn.Module) -> str:
    """Digest the layers, the source files of those not torch's own, and the modules they call."""
    digest = hashlib.sha256(repr(network).encode())
    classes = {type(module) for module in network.modules()}
    sources = {
        inspect.getsourcefile(kind) for kind in classes if not kind.__module__.startswith("torch.")
    }
    sources |= {inspect.getsourcefile(module) for module in _CALLED}
    for path in sorted(source for source in sources if source is not None):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()
