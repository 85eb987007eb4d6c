"""Runs a network's ONNX file, with OpenVINO or onnxruntime, on several inputs at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nnunet_attention.engines.choice import BF16, F16, F32, ONNXRUNTIME, OPENVINO
from nnunet_attention.engines.graph import BATCH
from nnunet_attention.engines.quiet_onnxruntime import import_onnxruntime
from nnunet_attention.engines.quiet_openvino import openvino_core
from nnunet_attention.errors import CommandError, last_line
from nnunet_attention.processor import processors

_OPENVINO_TYPES = {F32: "f32", BF16: "bf16", F16: "f16"}
# Each pass needs its own memory; two are enough to keep the cores busy where layers are small.
MOST_AT_A_TIME = 2

Inputs = Mapping[str, np.ndarray]
"""The inputs of one pass, float32, by the names of the graph's inputs."""


class Session(ABC):
    """Runs one network.

    Args:
        path: its ONNX file, from `write_graph`.
        shapes: the shapes of the inputs, by name; of an image, (1, C, *patch).
        precision: one of PRECISIONS.
        at_a_time: how many passes `run` is usually given, up to MOST_AT_A_TIME; processors are
            divided among that many.
    """

    output_names: tuple[str, ...]

    @abstractmethod
    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, Sequence[int]],
        precision: str = F32,
        at_a_time: int = MOST_AT_A_TIME,
    ): ...

    @abstractmethod
    def run(self, passes: Sequence[Inputs]) -> Iterator[list[np.ndarray]]:
        """Yield the outputs of each pass, in order.

        Args:
            passes: the inputs of each pass.

        Yields:
            Arrays in the order of `output_names`; they are valid until the next ones are requested.

        Raises:
            CommandError: if the engine fails.
        """

    def rest(self) -> None:  # noqa: B027 - an engine that holds nothing has nothing to do
        """Release the memory of a pass, until the network is run again."""


class OpenVINOSession(Session):
    """Runs a network with OpenVINO, two passes at a time."""

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, Sequence[int]],
        precision: str = F32,
        at_a_time: int = MOST_AT_A_TIME,
    ):
        core = openvino_core()
        self._path = path
        with _described(path, OPENVINO):
            model = core.read_model(path)
            # With fixed shapes, batch included, OpenVINO can plan ahead.
            model.reshape({name: list(shape) for name, shape in shapes.items()})
            self._model = core.compile_model(
                model,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": _OPENVINO_TYPES[precision],
                    # A pass is computed by the threads of a single stream.
                    "NUM_STREAMS": str(min(at_a_time, MOST_AT_A_TIME, processors())),
                },
            )
        self.output_names = tuple(output.get_any_name() for output in self._model.outputs)
        self._requests: list = []

    def run(self, passes: Sequence[Inputs]) -> Iterator[list[np.ndarray]]:
        """Yield the outputs of each pass, while the next one is running."""
        while len(self._requests) < min(len(passes), MOST_AT_A_TIME):
            with _described(self._path, OPENVINO):
                self._requests.append(self._model.create_infer_request())
        requests = self._requests[: len(passes)]
        try:
            with _described(self._path, OPENVINO):
                for inputs, request in zip(passes, requests, strict=False):
                    request.start_async(dict(inputs), share_inputs=True)
            for number in range(len(passes)):
                request = requests[number % len(requests)]
                with _described(self._path, OPENVINO):
                    request.wait()
                    outputs = [request.get_tensor(output).data for output in self._model.outputs]
                yield outputs
                following = number + len(requests)
                if following < len(passes):
                    with _described(self._path, OPENVINO):
                        request.start_async(dict(passes[following]), share_inputs=True)
        finally:
            # If the caller stops early, running requests still read their inputs.
            for request in requests:
                with _described(self._path, OPENVINO):
                    request.wait()

    def rest(self) -> None:
        """Release the memory of a pass."""
        self._requests = []
        self._model.release_memory()


class OnnxRuntimeSession(Session):
    """Runs a network with onnxruntime."""

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, Sequence[int]],
        precision: str = F32,
        at_a_time: int = MOST_AT_A_TIME,
    ):
        onnxruntime = import_onnxruntime()
        assert precision == F32, "chosen_engine offers nothing else"
        self._path = path
        options = onnxruntime.SessionOptions()
        # The default counts the processors of the machine, not those that this process may use.
        options.intra_op_num_threads = processors()
        # Errors only: onnxruntime warns about everything that it cannot detect on the machine.
        options.log_severity_level = 3
        for batch in {shape[0] for shape in shapes.values()}:
            options.add_free_dimension_override_by_name(BATCH, batch)
        with _described(path, ONNXRUNTIME):
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        self.output_names = tuple(output.name for output in self._session.get_outputs())

    def run(self, passes: Sequence[Inputs]) -> Iterator[list[np.ndarray]]:
        """Yield the outputs of each pass, one after the other."""
        for inputs in passes:
            with _described(self._path, ONNXRUNTIME):
                outputs = self._session.run(None, inputs)
            yield outputs


SESSIONS: dict[str, type[Session]] = {OPENVINO: OpenVINOSession, ONNXRUNTIME: OnnxRuntimeSession}


@contextmanager
def _described(path: Path, engine: str) -> Iterator[None]:
    """Turn any error of an engine with a file into a CommandError of one line."""
    try:
        yield
    except Exception as error:  # engines have their own errors, and files can fail in any way
        raise CommandError(f"{path}: {engine} cannot run it: {last_line(error)}") from error
