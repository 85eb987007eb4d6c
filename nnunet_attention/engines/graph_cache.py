"""Keeps networks that were exported to ONNX, so that each is exported only once."""

import glob
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from nnunet_attention import products, recorder
from nnunet_attention.engines import graph, parts
from nnunet_attention.engines.graph import INPUT_NAME, OPSET
from nnunet_attention.engines.sources import sources_of
from nnunet_attention.errors import CommandError
from nnunet_attention.files import disk_error, read_json, remove, sha256_of, write_json
from nnunet_attention.versions import versions_of

# This folder lies beside the folds in a model's folder.
CACHE_FOLDER = "engines"
# The packages that determine how torch writes a network.
_WRITERS = ("torch", "onnx", "onnxscript", "dynamic-network-architectures")
# Modules whose functions gates call or determine a graph's outputs; no layer's class is in them.
_CALLED = (products, recorder, graph, parts)
_DIGITS = 16
_ABANDONED_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class GraphKey:
    """Tells what a graph was made from; graphs with equal keys compute the same.

    Attributes:
        weights: a digest of the weights.
        network: a digest of the layers, their attributes and their source files.
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
            name: the graph's name; when it is written, outdated graphs of that name are deleted.
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
            write_json(self._record_path(path), {"key": key.content(), "sha256": sha256_of(path)})
            self._remove_others(name, path, key)
        except OSError as error:
            raise CommandError(
                f"{self.folder}: cannot keep networks for engines there: {disk_error(error)}; name "
                "another folder with --cache"
            ) from error
        return path

    def _remove_others(self, name: str, path: Path, key: GraphKey) -> None:
        pattern = f"{glob.escape(name)}.*"
        for other in self.folder.glob(f"{pattern}.onnx"):
            found = self._record(other).get("key")
            # Those of other versions belong to another environment that shares the folder.
            current = isinstance(found, dict) and found.get("versions") == key.content()["versions"]
            if other != path and current:
                remove(other)
                remove(self._record_path(other))
        # Of processes that were killed. Another machine that shares the folder may be writing.
        for unfinished in self.folder.glob(f".{pattern}.part"):
            with suppress(FileNotFoundError):
                if time.time() - unfinished.stat().st_mtime > _ABANDONED_SECONDS:
                    remove(unfinished)

    def differences(self, path: Path) -> dict[str, float]:
        """Return how much the engines tried with a graph differ from torch, by engine."""
        found = self._record(path).get("differences")
        if not isinstance(found, dict):
            return {}
        return {
            engine: difference
            for engine, difference in found.items()
            if type(difference) in (int, float) and 0 <= difference <= sys.float_info.max
        }

    def note_difference(self, path: Path, engine: str, difference: float) -> None:
        """Record how much an engine differs from torch, if that can be written."""
        record = self._record(path)
        if "key" not in record:
            # Another process is just writing the graph anew.
            return
        differences = {**self.differences(path), engine: difference}
        # In a folder that is only read, the engine is compared each time.
        with suppress(OSError):
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
    return path.is_file() and record.get("sha256") == sha256_of(path)


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
    """Digest the layers with their attributes, and the sources that are not torch's own."""
    digest = hashlib.sha256(repr(network).encode())
    for name, module in network.named_modules():
        for attribute, value in sorted(vars(module).items()):
            if attribute != "training" and _is_plain(value):
                digest.update(f"{name}.{attribute} = {value!r}\n".encode())
    for content in sorted(sources_of(network, _CALLED)):
        digest.update(content)
    return digest.hexdigest()


def _is_plain(value: object) -> bool:
    """Tell whether a value is a number, a text, or a tuple or list of such."""
    if isinstance(value, (tuple, list)):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, (int, float, str))
