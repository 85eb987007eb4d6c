"""Runs a network's ONNX file, with OpenVINO or onnxruntime, on some images at a time."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nnunet_attention.engines.choice import BF16, F16, F32, ONNXRUNTIME, OPENVINO
from nnunet_attention.engines.graph import INPUT_NAME
from nnunet_attention.engines.quiet_openvino import import_openvino
from nnunet_attention.errors import CommandError, last_line

_OPENVINO_TYPES = {F32: "f32", BF16: "bf16", F16: "f16"}
# More would each need the memory of a pass; two keep the cores busy where layers are small.
_MOST_AT_A_TIME = 2


class Session(ABC):
    """Runs one network.

    Args:
        path: its ONNX file, of `export_network`.
        shape: of the images, (1, C, *patch).
        precision: one of PRECISIONS.
    """

    output_names: tuple[str, ...]

    @abstractmethod
    def __init__(self, path: Path, shape: Sequence[int], precision: str = F32): ...

    @abstractmethod
    def run(self, images: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """Give the outputs of each image, in order.

        Args:
            images: each (1, C, *patch), float32.

        Yields:
            Arrays in the order of `output_names`; they hold until the next ones are asked for.
        """

    def rest(self) -> None:  # noqa: B027 - an engine that holds nothing has nothing to do
        """Give back the memory of a pass, until the network is run again."""


class OpenVINOSession(Session):
    """Runs a network with OpenVINO, two images at a time."""

    def __init__(self, path: Path, shape: Sequence[int], precision: str = F32):
        core = import_openvino().Core()
        with _described(path, OPENVINO):
            model = core.read_model(path)
            # A fixed batch, for which it plans ahead.
            model.reshape(list(shape))
            self._model = core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": _OPENVINO_TYPES[precision],
                    "NUM_STREAMS": str(min(_MOST_AT_A_TIME, processors())),
                },
            )
        self.output_names = tuple(output.get_any_name() for output in self._model.outputs)
        self._requests: list = []

    def run(self, images: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """Give the outputs of each image, while the next one is under way."""
        while len(self._requests) < min(len(images), _MOST_AT_A_TIME):
            self._requests.append(self._model.create_infer_request())
        requests = self._requests[: len(images)]
        try:
            for image, request in zip(images, requests, strict=False):
                request.start_async({INPUT_NAME: image}, share_inputs=True)
            for number in range(len(images)):
                request = requests[number % len(requests)]
                request.wait()
                yield [request.get_tensor(output).data for output in self._model.outputs]
                following = number + len(requests)
                if following < len(images):
                    request.start_async({INPUT_NAME: images[following]}, share_inputs=True)
        finally:
            # Where somebody stops in between, images go on being read.
            for request in requests:
                request.wait()

    def rest(self) -> None:
        """Give back the memory of a pass."""
        self._requests = []
        self._model.release_memory()


class OnnxRuntimeSession(Session):
    """Runs a network with onnxruntime."""

    def __init__(self, path: Path, shape: Sequence[int], precision: str = F32):
        import onnxruntime

        assert precision == F32, "chosen_engine offers nothing else"
        # On Windows it would report what it runs.
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        # Its own default counts the processors of the machine, not those that we may use.
        options.intra_op_num_threads = processors()
        # Only what is wrong: it warns of each thing that it does not know about the machine.
        options.log_severity_level = 3
        options.add_free_dimension_override_by_name("batch", shape[0])
        with _described(path, ONNXRUNTIME):
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        self.output_names = tuple(output.name for output in self._session.get_outputs())

    def run(self, images: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """Give the outputs of each image; one after the other."""
        for image in images:
            yield self._session.run(None, {INPUT_NAME: image})


SESSIONS: dict[str, type[Session]] = {OPENVINO: OpenVINOSession, ONNXRUNTIME: OnnxRuntimeSession}


def processors() -> int:
    """Count the processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


@contextmanager
def _described(path: Path, engine: str) -> Iterator[None]:
    """Have whatever an engine says of a file be one line."""
    try:
        yield
    except Exception as error:  # each has its own kinds, and files from elsewhere fail in any way
        raise CommandError(f"{path}: {engine} cannot run it: {last_line(error)}") from error
