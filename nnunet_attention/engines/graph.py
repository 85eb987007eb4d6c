"""Writes a network as an ONNX file, on request with its attention gates' maps as outputs."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nnunet_attention.errors import CommandError
from nnunet_attention.files import written_beside
from nnunet_attention.recorder import attention_gates, map_names, record_attention

INPUT_NAME = "image"
LOGITS_NAME = "logits"
# The first opset with all operators of nnU-Net's networks.
OPSET = 20
AXES = ("z", "y", "x")
# The free dimension of a graph's inputs.
BATCH = "batch"

_NEEDED = ("onnx", "onnxscript")
# True wherever the package comes from: a clone, a wheel or an index.
INSTALL = "install the extra `engines` of nnunet-attention"
# Torch puts larger weights into a second file, which no check sum and no cleaning up would cover.
_LARGEST_BYTES = 1536 * 2**20


class NotExportableError(CommandError):
    """Torch cannot write the network as a graph."""


def output_names(
    network: nn.Module, coefficients: bool = False, features: bool = False
) -> list[str]:
    """Return the names of a graph's outputs, in their order: `logits`, then the gates' maps.

    Args:
        network: the network that is exported.
        coefficients: whether the coefficients are outputs: `gate_0`, the coarsest, and so on.
        features: whether `skip_0` and `gated_0` and so on are too, see `record_attention`.

    Raises:
        NoAttentionGatesError: if maps are requested of a network without gates.
    """
    if not (coefficients or features):
        return [LOGITS_NAME]
    return [LOGITS_NAME, *map_names(len(attention_gates(network)), features)]


def export_network(
    network: nn.Module,
    path: Path,
    input_channels: int,
    patch_size: Sequence[int],
    *,
    coefficients: bool = False,
    features: bool = False,
    dynamic_patch: bool = False,
) -> list[str]:
    """Write a network as an ONNX file that computes what the network does in evaluation mode.

    The file's input is `image`, (B, C, *patch), float32; its first output is `logits`. B is free.

    Args:
        network: a network without deep supervision; it is left as it was.
        path: the file; it is written whole or not at all, and replaces an earlier one.
        input_channels: C.
        patch_size: *patch, two or three axes.
        coefficients: whether the gates' coefficients, each on the grid of its skip, are outputs.
        features: whether the means of the skips before and after their gates are outputs too.
        dynamic_patch: whether to leave the axes of the patch free, too; their sizes must then be
            multiples of `patch_divisors`, and `patch_size` is only an example.

    Returns:
        The names of the outputs, see `output_names`.

    Raises:
        NotExportableError: if torch cannot trace it, or it is too large for one file.
        CommandError: if onnx or onnxscript is not installed.
        NoAttentionGatesError: if maps are requested of a network without gates.
    """
    names = output_names(network, coefficients, features)
    # From a batch or an axis of size 1, torch would conclude that its size is always 1.
    free = {0: torch.export.Dim(BATCH, min=1)}
    if dynamic_patch:
        divisors = patch_divisors(network)
        patch_size = [max(p, 2 * d) for p, d in zip(patch_size, divisors, strict=True)]
        free |= {
            2 + axis: divisor * torch.export.Dim(name)
            for axis, (divisor, name) in enumerate(
                zip(divisors, AXES[-len(divisors) :], strict=True)
            )
        }
    shapes = {INPUT_NAME: (2, input_channels, *patch_size)}
    write_graph(_Outputs(network, names), path, shapes, names, network, {INPUT_NAME: free})
    return names


def write_graph(
    module: nn.Module,
    path: Path,
    shapes: Mapping[str, Sequence[int]],
    outputs: Sequence[str],
    network: nn.Module,
    free: dict[str, dict] | None = None,
) -> None:
    """Write a module in evaluation mode as an ONNX file.

    Args:
        module: takes the inputs in their order and returns the outputs in a tuple.
        path: the file; it is written whole or not at all, and replaces an earlier one.
        shapes: the shapes of the inputs, by name.
        outputs: the names of the outputs.
        network: the network that the module, or its layers, belongs to.
        free: the free dimensions of each input, by the name of the module's argument; None for no
            free dimensions.

    Raises:
        NotExportableError: if torch cannot trace it, or it is too large for one file.
        CommandError: if onnx or onnxscript is not installed.
    """
    require_exporter()
    size = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    if size > _LARGEST_BYTES:
        raise NotExportableError(
            f"the network's weights are {size / 1e9:.2f} GB, and torch writes at most "
            f"{_LARGEST_BYTES / 1e9:.2f} GB into one ONNX file"
        )
    with _evaluated(module) as traced:
        try:
            # Prediction may run in inference mode, but tracing must not.
            with torch.inference_mode(False), warnings.catch_warnings():
                device = _device_of(network)
                inputs = tuple(torch.zeros(*shape, device=device) for shape in shapes.values())
                # torch's exporter and onnxscript warn about their own internals.
                warnings.simplefilter("ignore")
                program = torch.onnx.export(
                    traced,
                    inputs,
                    dynamo=True,
                    opset_version=OPSET,
                    dynamic_shapes=free,
                    input_names=list(shapes),
                    output_names=list(outputs),
                    verbose=False,
                )
        except Exception as error:  # tracing can fail in any way, depending on the network
            raise NotExportableError(
                f"the network {type(network).__name__} cannot be written as ONNX: {_reason(error)}"
            ) from error
    assert program is not None, "torch returns a program where dynamo is asked for"
    with written_beside(path) as beside:
        program.save(str(beside))
        # Constants are not counted above, and another version of torch may have another limit.
        second = beside.with_name(f"{beside.name}.data")
        if second.exists():
            second.unlink()
            raise NotExportableError("the network's weights and constants do not fit into one file")


def require_exporter() -> None:
    """Raise a CommandError if a package that torch needs to write ONNX is not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise CommandError(
            f"{' and '.join(missing)} not installed, but needed to write ONNX; {INSTALL}"
        )


def patch_divisors(network: nn.Module) -> list[int]:
    """Return the number that each axis of a patch must be a multiple of, given the strides.

    Raises:
        NotExportableError: if the network has no `encoder.strides`.
    """
    strides = getattr(getattr(network, "encoder", None), "strides", None)
    if strides is None:
        raise NotExportableError(
            f"the network {type(network).__name__} does not tell its strides, so the patch size "
            "cannot be left variable; export it for a fixed patch size"
        )
    return [math.prod(steps) for steps in zip(*strides, strict=True)]


@torch.no_grad()
def outputs_of_torch(
    network: nn.Module, image: Tensor, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Compute the outputs of a network's graph with torch, in evaluation mode.

    Args:
        network: the network, which is left in evaluation mode.
        image: (B, C, *S).
        names: see `output_names`.
    """
    outputs = _Outputs(network.eval(), names)(image)
    return {name: output.numpy() for name, output in zip(names, outputs, strict=True)}


class _Outputs(nn.Module):
    """Returns the logits and the gates' maps, in the order of `names`."""

    def __init__(self, network: nn.Module, names: Sequence[str]):
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        names = self.names[1:]
        if not names:
            return (self.network(image),)
        with record_attention(self.network, features="skip_0" in names) as record:
            logits = self.network(image)
        return (logits, *(record[name] for name in names))


@contextmanager
def _evaluated(module: nn.Module) -> Iterator[nn.Module]:
    """Set a module to evaluation mode, and restore the mode of each part afterwards."""
    learning = [part for part in module.modules() if part.training]
    try:
        yield module.eval()
    finally:
        for part in learning:
            part.training = True


def _device_of(network: nn.Module) -> torch.device:
    return next((p.device for p in network.parameters()), torch.device("cpu"))


def _reason(error: Exception) -> str:
    """Return torch's reason in one line; its exporter wraps it in a page of advice."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
