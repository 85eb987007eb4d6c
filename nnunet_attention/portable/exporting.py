"""Writes a trained model into a folder that programs without torch and nnU-Net can use."""

import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nnunet_attention.engines import export_network, output_names
from nnunet_attention.engines.graph import (
    INPUT_NAME,
    INSTALL,
    LOGITS_NAME,
    outputs_of_torch,
    patch_divisors,
    require_exporter,
)
from nnunet_attention.engines.quiet_onnxruntime import import_onnxruntime
from nnunet_attention.errors import CommandError, last_line
from nnunet_attention.files import (
    disk_error,
    folder_written_beside,
    read_json,
    require_writable,
    sha256_of,
    write_json,
    write_text,
)
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.portable.description import describe_model
from nnunet_attention.portable.readme import readme_of
from nnunet_attention.prediction.trained_model import Folds, TrainedModel, load_trained_model

MODEL_JSON, SCHEMA, PROGRAM, README = "model.json", "model.schema.json", "segment.py", "README.md"
PRECISIONS = ("f32", "f16")

_NETWORK = re.compile(r"fold_[^.]+\.(onnx|pt2)")
_PATCHES, _SEED = 2, 0
# As a share of the largest logit. Another order of computation makes a difference of about 1e-5.
_TOLERANCES = {"f32": 1e-3, "f16": 5e-2}
# Sums over whole patches do not fit into 16 bits.
_KEPT_IN_32_BITS = ["InstanceNormalization", "ReduceMean", "Resize"]


@dataclass(frozen=True)
class ExportOptions:
    """Options for the export of a model.

    Attributes:
        coefficients: whether the attention gates' coefficients are outputs too.
        precision: the weights' precision, f32 or f16.
        dynamic_patch: whether the network accepts patches of other sizes too.
        program: whether a .pt2 file for torch.export.load is written beside each ONNX file; it
            returns logits only, and takes patches of the plans' size only.
    """

    coefficients: bool = False
    precision: str = "f32"
    dynamic_patch: bool = False
    program: bool = False


def export_model(
    source: str | Path,
    target: str | Path,
    folds: Folds = None,
    checkpoint: str = FINAL,
    options: ExportOptions = ExportOptions(),
    *,
    overwrite: bool = False,
    on_fold: Callable[[str], None] = lambda fold: None,
) -> dict:
    """Write each fold's network as ONNX, model.json, its schema, a program and a README.

    Each network is run by onnxruntime, and compared with torch, before the folder appears.

    Args:
        source: the model's folder, `TRAINER__PLANS__CONFIGURATION`.
        target: the folder to write.
        folds: one fold or several; None for all that have the checkpoint.
        checkpoint: the checkpoint's name in each fold's folder.
        options: the options of the export.
        overwrite: whether to replace an earlier export; one that holds other files is an error.
        on_fold: called with each fold's name before it is written.

    Returns:
        The content of model.json.

    Raises:
        CommandError: if the model cannot be loaded or written, the target is not free, or
            onnxruntime's results differ from torch's. In this case nothing is written.
    """
    source, target = Path(source), Path(target)
    if options.precision == "bf16":
        raise CommandError(
            "--precision bf16: onnxruntime does not compute in it on a CPU, so that the file could "
            "not be checked; use f32, which OpenVINO can run in bfloat16, or f16"
        )
    if options.precision not in PRECISIONS:
        raise CommandError(f"precision {options.precision!r}: choose {' or '.join(PRECISIONS)}")
    _require_engines()
    _require_free(target, overwrite)
    require_writable(target.parent, "-o")
    model = load_trained_model(source, folds, checkpoint)
    content = describe_model(model) | _tensors(model, options)
    content |= {
        "networks": [],
        "checked": {"patches": len(_shapes(model, options)), "seed": _SEED},
        "precision": options.precision,
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with folder_written_beside(target, replace=overwrite) as folder:
            for fold, weights in zip(model.folds, model.weights, strict=True):
                on_fold(fold)
                model.network.load_state_dict(weights)
                content["networks"].append(_written_network(model, fold, folder, options))
            write_json(folder / MODEL_JSON, content)
            program = _beside_this_module(PROGRAM)
            write_text(folder / PROGRAM, program)
            write_text(folder / SCHEMA, _beside_this_module(SCHEMA))
            write_text(folder / README, readme_of(content, program))
    except OSError as error:
        raise CommandError(f"cannot write {target}: {disk_error(error)}") from error
    return content


def _require_engines() -> None:
    require_exporter()
    if find_spec("onnxruntime") is None:
        raise CommandError(
            f"onnxruntime is not installed, but needed to compare the export with torch; {INSTALL}"
        )


def _require_free(target: Path, overwrite: bool) -> None:
    """Raise a CommandError if the target holds something that must not be replaced."""
    if target.is_dir() and not any(target.iterdir()):
        return
    if not os.path.lexists(target):
        return
    if not (target / MODEL_JSON).is_file() or "format_version" not in read_json(
        target / MODEL_JSON
    ):
        raise CommandError(
            f"{target} already exists and is not an exported model, so nothing in it was touched; "
            "choose another name for -o, or remove it"
        )
    if not overwrite:
        raise CommandError(
            f"{target} is already an exported model; give --overwrite to replace it, or choose "
            "another name for -o"
        )
    others = sorted(path.name for path in target.iterdir() if not _is_exported(path.name))
    if others:
        raise CommandError(
            f"{target} holds files that no export wrote and that --overwrite would delete: "
            f"{', '.join(others)}; move them elsewhere, or choose another name for -o"
        )


def _is_exported(name: str) -> bool:
    """Tell whether a name is that of an exported file, or of Python's cache of the program."""
    return (
        name in (MODEL_JSON, SCHEMA, PROGRAM, README, "__pycache__")
        or _NETWORK.fullmatch(name) is not None
    )


def _tensors(model: TrainedModel, options: ExportOptions) -> dict:
    """Describe input and outputs, with their grids for the plans' patch."""
    network, patch = model.network, tuple(model.configuration_manager.patch_size)
    names = output_names(network, options.coefficients)
    image = torch.zeros(1, model.input_channels, *patch)
    try:
        outputs = outputs_of_torch(network, image, names)
    except Exception as error:  # layers have arguments from the plans, which may be anything
        reason = str(error).partition("\n")[0]
        raise CommandError(
            f"the network of the plans cannot be run: {type(error).__name__}: {reason}"
        ) from error
    return {
        "input": _tensor(INPUT_NAME, image.shape),
        "outputs": [_tensor(name, output.shape) for name, output in outputs.items()],
        "patch_multiple_of": patch_divisors(network) if options.dynamic_patch else None,
    }


def _tensor(name: str, shape: Sequence[int]) -> dict:
    return {
        "name": name,
        "type": "float32",
        "channels": shape[1],
        "grid": list(shape[2:]),
    }


def _written_network(model: TrainedModel, fold: str, folder: Path, options: ExportOptions) -> dict:
    """Write the network with its current weights, and compare it with torch."""
    network, patch = model.network, tuple(model.configuration_manager.patch_size)
    path = folder / f"fold_{fold}.onnx"
    names = export_network(
        network,
        path,
        model.input_channels,
        patch,
        coefficients=options.coefficients,
        dynamic_patch=options.dynamic_patch,
    )
    if options.precision == "f16":
        with _described(fold, "it cannot be converted to 16 bits"):
            _halve(path)
    with _described(fold, "onnxruntime cannot run it"):
        differences, largest = _compared(network, path, _shapes(model, options), names)
    for name, difference in differences.items():
        # Coefficients lie between 0 and 1.
        what, scale = ("logits", largest) if name == LOGITS_NAME else (f"coefficients {name}", 1.0)
        allowed = _TOLERANCES[options.precision] * max(scale, 1.0)
        if not difference <= allowed:
            raise CommandError(
                f"fold {fold}: onnxruntime's {what} differ from torch's by {difference:.3g}, but "
                f"at most {allowed:.3g} was expected for values up to {scale:.3g}; nothing was "
                "written"
            )
    program = None
    if options.program:
        program = f"fold_{fold}.pt2"
        shape = (model.input_channels, *patch)
        with _described(fold, "torch cannot write it for torch.export.load"):
            _write_program(network, folder / program, shape)
            difference, scale = _program_compared(network, folder / program, shape)
        allowed = _TOLERANCES["f32"] * max(scale, 1.0)
        if not difference <= allowed:
            raise CommandError(
                f"fold {fold}: the logits of {program} differ from the network's by "
                f"{difference:.3g}, at most {allowed:.3g} was expected; nothing was written"
            )
    return {
        "fold": fold,
        "file": path.name,
        "sha256": sha256_of(path),
        "program": program,
        "largest_difference": differences,
        "largest_logit": largest,
    }


@contextmanager
def _described(fold: str, problem: str) -> Iterator[None]:
    """Turn any error of a package into a CommandError of one line, except for those of the disk."""
    try:
        yield
    except (CommandError, OSError):
        raise
    except Exception as error:  # onnxruntime and torch have errors of their own, of any kind
        raise CommandError(
            f"fold {fold}: {problem}: {last_line(error)}; nothing was written"
        ) from error


def _shapes(model: TrainedModel, options: ExportOptions) -> list[tuple[int, ...]]:
    """Return the shapes of the patches, batch included, on which networks are compared."""
    patch = tuple(int(size) for size in model.configuration_manager.patch_size)
    shapes = [(1, model.input_channels, *patch)] * _PATCHES
    if options.dynamic_patch:
        # Another size along each axis, but hardly more memory; and another batch.
        divisors = patch_divisors(model.network)
        other = [d * (2 if size != 2 * d else 3) for size, d in zip(patch, divisors, strict=True)]
        shapes.append((2, model.input_channels, *other))
    return shapes


def _halve(path: Path) -> None:
    """Convert a file's weights, and the computations with them, to 16 bits."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with warnings.catch_warnings():
        # It warns of each weight that is too small for 16 bits; outputs are compared afterwards.
        warnings.simplefilter("ignore")
        model = convert_float_to_float16(
            onnx.load(path), keep_io_types=True, op_block_list=_KEPT_IN_32_BITS
        )
    onnx.save(model, path)


def _compared(
    network: nn.Module, path: Path, shapes: Sequence[Sequence[int]], names: Sequence[str]
) -> tuple[dict[str, float], float]:
    """Compare with torch on random patches; return each largest difference and the largest logit.

    Args:
        network: the network in torch.
        path: the ONNX file.
        shapes: (B, C, *S) of each.
        names: the names of the outputs.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(_SEED)
    differences, largest = dict.fromkeys(names, 0.0), 0.0
    for shape in shapes:
        image = torch.randn(*shape, generator=generator)
        found = session.run(list(names), {INPUT_NAME: image.numpy()})
        expected = outputs_of_torch(network, image, names)
        largest = max(largest, float(np.abs(expected[LOGITS_NAME]).max()))
        for name, output in zip(names, found, strict=True):
            difference = np.abs(output - expected[name]).max()
            # Unlike Python's max, np.maximum propagates NaN.
            differences[name] = float(np.maximum(differences[name], difference))
    return differences, largest


def _write_program(network: nn.Module, path: Path, shape: Sequence[int]) -> None:
    """Write a file for torch.export.load that computes logits for any number of patches."""
    # From a batch of size 1, torch would conclude that its size is always 1.
    image = torch.zeros(2, *shape)
    with warnings.catch_warnings():
        # torch's exporter warns about its own internals.
        warnings.simplefilter("ignore")
        program = torch.export.export(
            network.eval(), (image,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
        torch.export.save(program, path)


@torch.no_grad()
def _program_compared(network: nn.Module, path: Path, shape: Sequence[int]) -> tuple[float, float]:
    """Compare with the network on a random patch; return the largest difference and logit."""
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(_SEED))
    expected = network.eval()(image)
    found = torch.export.load(path).module()(image)
    return float((found - expected).abs().max()), float(expected.abs().max())


def _beside_this_module(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
