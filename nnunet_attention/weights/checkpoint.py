"""Reads nnU-Net checkpoints without executing their content, and writes them atomically."""

import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from packaging.version import Version
from torch import Tensor, nn

from nnunet_attention.errors import CommandError
from nnunet_attention.files import written_beside
from nnunet_attention.nnunet.pretraining import ADAPTATION_PLAN

# In spite of weights_only=True a crafted file can execute code in torch up to 2.5.1
# (CVE-2025-32434), and corrupt memory up to 2.9 (CVE-2026-24747).
_FIRST_SAFE_TORCH = Version("2.10")
_ARCHIVE_START, _PICKLE_START = b"PK\x03\x04", b"\x80"
_INIT_ARGUMENTS: dict[str, type] = {"plans": dict, "configuration": str, "dataset_json": dict}
# The first is of distributed networks, and nnUNetTrainer.load_checkpoint drops it too; the second
# is of compiled networks. They come in either order.
_PREFIXES = ("module.", "_orig_mod.")
# The types that layers compute with. Batch normalisation also counts batches, in whole numbers.
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COUNTER = "num_batches_tracked"
_REFUSED_GLOBAL = re.compile(r"GLOBAL (\S+) (?:was not an allowed|whose module)")


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], described: str) -> None:
    """Load weights into a network, or say in one line why they do not fit.

    Args:
        network: changed in place.
        weights: names to tensors.
        described: a phrase for the network, for the message.

    Raises:
        CommandError: if the tensors differ in names, shapes or kinds.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        reason = reasons[0] if len(reasons[0]) <= 200 else f"{reasons[0][:200]} ..."
        raise CommandError(
            f"the weights do not fit {described}: {reason}{more}; the file is damaged or the plans "
            f"belong to another model"
        ) from error


def load_checkpoint(path: str | Path) -> dict:
    """Load a checkpoint of nnU-Net onto the CPU; nothing in the file is executed.

    Only tensors, plain Python values and numpy numbers, which nnU-Net's log holds, are accepted.

    Returns:
        What nnUNetTrainer.save_checkpoint wrote. `network_weights` (names to tensors),
        `trainer_name`, and in `init_args` the entries `plans`, `configuration` and `dataset_json`
        are present and of the right type; the content of the plans is not checked.

    Raises:
        CommandError: if the file does not exist, is truncated, holds anything else, or lacks one of
            these entries.
    """
    path = Path(path)
    checkpoint = load_safely(path)
    check_entries(path, checkpoint)
    return checkpoint


def load_safely(path: Path) -> dict:
    """Load a dictionary that `torch.save` wrote onto the CPU; nothing in the file is executed.

    Only tensors, plain Python values and numpy numbers are accepted.

    Raises:
        CommandError: if the file does not exist, is truncated or holds anything else.
    """
    if not path.is_file():
        remedy = "it is a folder" if path.is_dir() else "there is no such file"
        raise CommandError(f"cannot load the checkpoint {path}: {remedy}")
    if Version(torch.__version__) < _FIRST_SAFE_TORCH:
        raise CommandError(
            f"with torch {torch.__version__}, loading a checkpoint can execute code or damage "
            "memory (CVE-2025-32434 before 2.6, CVE-2026-24747 before 2.10); install torch 2.10 "
            'or later: pip install "torch>=2.10"'
        )
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_globals()):
            # torch warns about unusual pickles before it refuses them; the error says enough.
            warnings.simplefilter("ignore")
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way
        raise CommandError(_why_not_loaded(path, error)) from error
    if not isinstance(checkpoint, dict):
        raise CommandError(
            f"{path} is not an nnU-Net checkpoint: it holds a {type(checkpoint).__name__}, not a "
            "dictionary with network_weights, trainer_name and init_args"
        )
    return checkpoint


def save_checkpoint(checkpoint: Mapping, path: str | Path) -> None:
    """Write a checkpoint beside `path` and then rename it, so that no partial file is left there.

    Raises:
        CommandError: if it cannot be written.
    """
    path = Path(path)
    try:
        with written_beside(path) as beside:
            torch.save(dict(checkpoint), beside)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        raise CommandError(f"cannot write {path}: {_first_line(error)}") from error


def _numpy_globals() -> list:
    """List the types and functions that the unpickler needs to rebuild numpy numbers."""
    number_types = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}
    required = [np.dtype, *number_types, *map(_scalar_of, ("numpy.core", "numpy._core"))]
    # Leave out those that the caller has allowed: torch would remove them from its list afterwards.
    return [name for name in required if name not in torch.serialization.get_safe_globals()]


def _scalar_of(core: str):
    """Wrap numpy's constructor of scalars under the name that numpy 1 or numpy 2 writes."""
    rebuild = np.float64(0).__reduce__()[0]

    def scalar(*arguments):
        return rebuild(*arguments)

    scalar.__module__ = f"{core}.multiarray"
    scalar.__qualname__ = "scalar"
    return scalar


def _why_not_loaded(path: Path, error: Exception) -> str:
    refused = _REFUSED_GLOBAL.search(str(error))
    if refused:
        return (
            f"refused to load {path}: it asks for {refused[1]}, but only tensors, plain Python "
            "values and numpy numbers are allowed, as loading anything else could execute code; "
            "get the checkpoint from its source again, as nnU-Net wrote it"
        )
    if isinstance(error, PermissionError):
        return f"cannot load the checkpoint {path}: permission denied"
    return (
        f"{path} is not an nnU-Net checkpoint, or is truncated or damaged "
        f"({_what_is_wrong(path, error)}); copy or download it again"
    )


def _what_is_wrong(path: Path, error: Exception) -> str:
    """Say in words what torch reports only as a number or the name of an error."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
        if not start:
            return "it is empty"
        if start == _ARCHIVE_START[: len(start)]:
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            if broken is not None:
                return f"the checksum of its part {broken} is wrong"
        elif not start.startswith(_PICKLE_START):
            return "it does not begin like a torch file"
    except zipfile.BadZipFile:
        return "it begins like a checkpoint, but its end is missing"
    except (OSError, zlib.error, EOFError, ValueError, NotImplementedError):
        return "one of its parts cannot be unpacked"
    if isinstance(error, (RuntimeError, pickle.UnpicklingError)):
        return _first_line(error)
    return "its content ends too soon or is not a torch pickle"


def _first_line(error: Exception) -> str:
    # torch puts its advice, to load unsafely, before the reason.
    reason = str(error).split("WeightsUnpickler error:")[-1].strip()
    return reason.partition("\n")[0] or type(error).__name__


def check_entries(path: Path, checkpoint: Mapping) -> None:
    """Check that a checkpoint has the entries that `load_checkpoint` promises.

    Raises:
        CommandError: naming the entries that are missing, or the first of another type.
    """
    if ADAPTATION_PLAN in checkpoint:
        raise CommandError(
            f"{path} is an nnssl checkpoint, which has not learnt to segment; fit it to plans with "
            "nnunet-attention upgrade -d, or plan for it with nnunet-attention plan --like"
        )
    _require(path, "", checkpoint, ("network_weights", "trainer_name", "init_args"))
    init_arguments = checkpoint["init_args"]
    _check_type(path, "network_weights", checkpoint["network_weights"], dict)
    _check_type(path, "trainer_name", checkpoint["trainer_name"], str)
    _check_type(path, "init_args", init_arguments, dict)
    _require(path, "init_args.", init_arguments, _INIT_ARGUMENTS)
    for name, kind in _INIT_ARGUMENTS.items():
        _check_type(path, f"init_args.{name}", init_arguments[name], kind)
    check_weights(path, checkpoint["network_weights"])


def without_prefixes(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Drop the prefixes that distributed and compiled networks put before names."""
    named = {}
    for name, value in weights.items():
        while name.startswith(_PREFIXES):
            name = name.partition(".")[2]
        named[name] = value
    return named


def fault_of(name: str, value: Tensor) -> str | None:
    """Return why no network can compute with a tensor, or None if one can."""
    if value.is_meta or value.layout != torch.strided:
        kind = "without values" if value.is_meta else f"stored as {value.layout}"
    elif value.dtype not in _FLOATS and not name.endswith(_COUNTER):
        kind = f"of type {value.dtype}"
    else:
        return None
    return (
        f"{name} is a tensor {kind}; nnU-Net never writes such a tensor: the file is damaged; use "
        "another checkpoint"
    )


def check_weights(path: Path, weights: object) -> None:
    """Check that the weights of a checkpoint map names to tensors.

    Raises:
        CommandError: if they do not, or if there are none.
    """
    _check_type(path, "network_weights", weights, dict)
    assert isinstance(weights, dict)
    if not weights:
        raise CommandError(f"{path} is not an nnU-Net checkpoint: network_weights is empty")
    for name, value in weights.items():
        _check_type(path, f"the name {name!r} in network_weights", name, str)
        _check_type(path, f"network_weights[{name!r}]", value, Tensor)


def _require(path: Path, prefix: str, found: Mapping, names: Iterable[str]) -> None:
    missing = [prefix + name for name in names if name not in found]
    if missing:
        raise CommandError(
            f"{path} is not an nnU-Net checkpoint: {', '.join(missing)} missing; expected a "
            "checkpoint_final.pth or checkpoint_best.pth written by nnUNetv2_train"
        )


def _check_type(path: Path, name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        raise CommandError(
            f"{path} is not an nnU-Net checkpoint: {name} is a {type(value).__name__}; expected a "
            f"{kind.__name__}"
        )
