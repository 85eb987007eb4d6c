"""Chooses the engine that runs a network (torch, OpenVINO or onnxruntime) and its precision."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from nnunet_attention.engines.graph import INSTALL
from nnunet_attention.engines.quiet_openvino import openvino_core
from nnunet_attention.errors import CommandError
from nnunet_attention.processor import why_no_bfloat16

TORCH, OPENVINO, ONNXRUNTIME = "torch", "openvino", "onnxruntime"
# The fastest first, as measured on two cores of a Xeon; see docs/deployment.md.
_BY_SPEED = (OPENVINO, ONNXRUNTIME, TORCH)
ENGINES = (TORCH, OPENVINO, ONNXRUNTIME)
F32, BF16, F16 = "f32", "bf16", "f16"
PRECISIONS = (F32, BF16, F16)
_BITS = {F32: "32 bits", BF16: "bfloat16", F16: "16 bits"}


@dataclass(frozen=True)
class EngineChoice:
    """Tells which engine is to run a network on a CPU.

    Attributes:
        engine: one of ENGINES; None for the fastest that is installed.
        precision: one of PRECISIONS.
        cache: the folder for exported networks; None for one inside the model's folder.
    """

    engine: str | None = None
    precision: str = F32
    cache: Path | None = None


def chosen_engine(choice: EngineChoice) -> str:
    """Return the engine that was asked for, or else the fastest one that has the precision.

    Raises:
        CommandError: if it is not installed, or it or the processor lacks the precision.
    """
    for flag, value, known in (
        ("--engine", choice.engine, (None, *ENGINES)),
        ("--precision", choice.precision, PRECISIONS),
    ):
        if value not in known:
            names = ", ".join(name for name in known if name is not None)
            raise CommandError(f"{flag} {value}: unknown; choose from {names}")
    if choice.engine is not None:
        if not is_installed(choice.engine):
            raise CommandError(
                f"--engine {choice.engine}: {choice.engine} is not installed; {INSTALL}, or "
                "use --engine torch"
            )
        able = _precisions_of(choice.engine)
        if choice.precision not in able:
            raise CommandError(
                f"--precision {choice.precision}: on this processor {choice.engine} computes only "
                f"in {' or '.join(able)}; {_remedy(choice.precision, choice.engine)}"
            )
        return choice.engine
    for engine in _BY_SPEED:
        if is_installed(engine) and choice.precision in _precisions_of(engine):
            return engine
    raise CommandError(
        f"--precision {choice.precision}: no installed engine supports it on this processor; "
        f"{_remedy(choice.precision)}"
    )


def described(engine: str, precision: str) -> str:
    """Describe in words the engine and precision that run a network."""
    return f"{engine}, in {_BITS[precision]}"


def is_installed(engine: str) -> bool:
    """Tell whether an engine, and the packages that export networks for it, can be imported."""
    needed = () if engine == TORCH else (engine, "onnx", "onnxscript")
    return all(find_spec(name) is not None for name in needed)


def _remedy(precision: str, engine: str | None = None) -> str:
    others = [
        other
        for other in _BY_SPEED
        if other != engine and is_installed(other) and precision in _precisions_of(other)
    ]
    if others:
        return f"use --engine {others[0]}"
    if not is_installed(OPENVINO):
        return f"{INSTALL} (OpenVINO may support it), or use --precision {F32}"
    return f"use --precision {F32}"


@cache
def _precisions_of(engine: str) -> tuple[str, ...]:
    return _ABLE[engine]()


def _of_torch() -> tuple[str, ...]:
    # Without bfloat16 instructions it would be slower than in 32 bits.
    return (F32, BF16) if why_no_bfloat16() is None else (F32,)


def _of_openvino() -> tuple[str, ...]:
    able = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    names = {F32: "FP32", BF16: "BF16", F16: "FP16"}
    return tuple(precision for precision, name in names.items() if name in able)


def _of_onnxruntime() -> tuple[str, ...]:
    # Its convolutions on a CPU support 32 bits only.
    return (F32,)


_ABLE: dict[str, Callable[[], tuple[str, ...]]] = {
    TORCH: _of_torch,
    OPENVINO: _of_openvino,
    ONNXRUNTIME: _of_onnxruntime,
}
