"""Puts an engine in the place of a network, for nnU-Net's predictor."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nnunet_attention.engines.choice import (
    BF16,
    F32,
    TORCH,
    EngineChoice,
    chosen_engine,
    described,
)
from nnunet_attention.engines.graph import (
    INPUT_NAME,
    LOGITS_NAME,
    NotExportableError,
    export_network,
    output_names,
    outputs_of_torch,
)
from nnunet_attention.engines.graph_cache import GraphCache, graph_key
from nnunet_attention.engines.parts import NetworkParts, PartsSession, Replaced, Replacements
from nnunet_attention.engines.sessions import MOST_AT_A_TIME, SESSIONS, Session
from nnunet_attention.errors import CommandError
from nnunet_attention.recorder import AttentionRecord
from nnunet_attention.versions import versions_of

# Largest difference from torch's logits, as a share of their scale. In 16 bits this only detects
# nonsense.
_TOLERANCES = {F32: 1e-3}
_TOLERANCE_IN_16_BITS = 0.2
_FOLD = "fold"


class DifferentResultsError(CommandError):
    """An engine's results differ from torch's."""


@dataclass(frozen=True)
class EngineRequest:
    """Tells which engine is to run a network, and which outputs are wanted.

    Attributes:
        choice: the engine.
        shape: the shape of an image, (C, *patch).
        folder: the folder in which graphs are kept.
        names: a name for each fold's graph in that folder.
        coefficients: whether the gates' coefficients are wanted.
        features: whether the means of the skips before and after their gates are wanted.
        replaces: whether coefficients are to be replaced, for which encoder and decoder run apart;
            coefficients are then returned, features are not.
        at_a_time: how many images there are to segment at once, as those of mirrored passes.
        tell: a function that receives progress messages of one line.
    """

    choice: EngineChoice
    shape: tuple[int, ...]
    folder: Path
    names: tuple[str, ...]
    coefficients: bool = False
    features: bool = False
    replaces: bool = False
    at_a_time: int = MOST_AT_A_TIME
    tell: Callable[[str], None] = lambda line: None


class EngineNetwork(nn.Module):
    """Runs one of several sessions, one per fold, in place of a network in nnU-Net's predictor.

    nnU-Net hands each fold's weights to `load_state_dict`; here it is given `fold_states` in their
    place.

    Args:
        sessions: one for each fold.
        engine: the name of the engine that runs them.
    """

    def __init__(self, sessions: Sequence[Session], engine: str):
        super().__init__()
        self._sessions = list(sessions)
        self._session = self._sessions[0]
        self._record: AttentionRecord | None = None
        self.engine = engine

    @property
    def fold_states(self) -> list[dict[str, int]]:
        """The arguments for `load_state_dict`, one for each fold."""
        return [{_FOLD: number} for number in range(len(self._sessions))]

    def load_state_dict(self, state_dict: Mapping, *arguments, **options):
        """Switch to another fold."""
        chosen = self._sessions[state_dict[_FOLD]]
        if chosen is not self._session:
            self._session.rest()
            self._session = chosen

    def forward(self, image: Tensor) -> Tensor:
        """Segment an image.

        Shape:
            - image: (1, C, *patch)
            - returns: logits, (1, classes, *patch)
        """
        (logits,) = self.run([image])
        return logits

    def run(self, images: Sequence[Tensor]) -> Iterator[Tensor]:
        """Segment several images, each (1, C, *patch), faster than one by one."""
        arrays = [np.ascontiguousarray(image.numpy()) for image in images]
        for outputs in self._session.run([{INPUT_NAME: array} for array in arrays]):
            # Copied, as an engine reuses its memory.
            logits, *maps = [torch.from_numpy(output.copy()) for output in outputs]
            if self._record is not None:
                self._record.passes.append(
                    dict(zip(self._session.output_names[1:], maps, strict=True))
                )
            yield logits

    def run_replaced(self, image: Tensor, variants: Sequence[Replacements]) -> Iterator[Tensor]:
        """Segment an image with coefficients replaced, once for each variant.

        Args:
            image: (1, C, *patch).
            variants: the replacements of each; requires a request with `replaces`.
        """
        assert isinstance(self._session, PartsSession), "the request tells that they are replaced"
        array = np.ascontiguousarray(image.numpy())
        for logits, *_ in self._session.run_replaced(array, variants):
            yield torch.from_numpy(logits.copy())

    def rest(self) -> None:
        """Release the memory of a pass, until the network is run again."""
        self._session.rest()

    @contextmanager
    def recorded(self):
        """Yield an AttentionRecord of the gates' outputs inside the `with` block."""
        self._record = record = AttentionRecord()
        try:
            yield record
        finally:
            self._record = None


class BFloat16Network(nn.Module):
    """Runs a network in torch's mixed precision on a CPU.

    Args:
        network: the network, into which weights are loaded.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def load_state_dict(self, state_dict: Mapping, *arguments, **options):
        """Load weights into the network."""
        return self.network.load_state_dict(state_dict, *arguments, **options)

    def forward(self, image: Tensor) -> Tensor:
        """Segment an image; the logits are float32."""
        with self.mixed():
            return self.network(image).float()

    @staticmethod
    def mixed() -> torch.autocast:
        """Make torch compute in mixed precision inside a `with` block."""
        return torch.autocast("cpu", torch.bfloat16)


def put_on_engine(
    network: nn.Module, weights: Sequence[Mapping[str, Tensor]], request: EngineRequest
) -> tuple[nn.Module, list]:
    """Return the module that runs a network, and what nnU-Net loads into it for each fold.

    If a network cannot be exported, or an engine's results differ from torch's, torch runs the
    network, and `request.tell` gets a message.

    Args:
        network: a network on the CPU, without deep supervision; its weights change.
        weights: the weights of each fold.
        request: the engine, and which outputs are wanted.

    Raises:
        CommandError: see `chosen_engine`; or if a graph cannot be kept.
    """
    choice = request.choice
    engine = chosen_engine(choice)
    if engine != TORCH:
        try:
            folds = list(_sessions(engine, network, weights, request))
        except (NotExportableError, DifferentResultsError) as error:
            if choice.precision not in (F32, BF16):
                raise
            request.tell(f"{error}; torch runs it instead")
            chosen_engine(EngineChoice(TORCH, choice.precision))
            engine = TORCH
        else:
            request.tell(f"run by {described(engine, choice.precision)}")
            fast = EngineNetwork(folds, engine)
            return fast.eval(), fast.fold_states
    else:
        request.tell(f"run by {described(engine, choice.precision)}")
    if choice.precision == BF16:
        network = BFloat16Network(network).eval()
    return network, list(weights)


def _sessions(
    engine: str, network: nn.Module, weights: Sequence[Mapping[str, Tensor]], request: EngineRequest
) -> Iterator[Session]:
    parts = NetworkParts(network.eval(), request.shape) if request.replaces else None
    graphs = _Graphs(engine, network, request)
    for name, fold_weights in zip(request.names, weights, strict=True):
        network.load_state_dict(fold_weights)
        if parts is None:
            session, path = graphs.whole(name)
        else:
            session, path = graphs.in_parts(name, parts)
        _compare_once(session, parts, network, engine, path, graphs.cache, request)
        yield session


class _Graphs:
    """Makes sessions of a network with its current weights; each graph is written only once."""

    def __init__(self, engine: str, network: nn.Module, request: EngineRequest):
        self.cache = GraphCache(request.folder)
        self._engine, self._network, self._request = engine, network, request

    def whole(self, name: str) -> tuple[Session, Path]:
        """Return a session of the network, and the path of its graph."""
        request = self._request
        outputs = "features" if request.features else "gates" if request.coefficients else "logits"
        wanted = {"coefficients": request.coefficients, "features": request.features}
        return self._session(
            f"{name}-{outputs}",
            {INPUT_NAME: (1, *request.shape)},
            output_names(self._network, **wanted),
            lambda path: export_network(
                self._network, path, request.shape[0], request.shape[1:], **wanted
            ),
        )

    def in_parts(self, name: str, parts: NetworkParts) -> tuple[Session, Path]:
        """Return a session of encoder and decoder, and the path of the decoder's graph."""
        encoder, _ = self._session(
            f"{name}-encoder", parts.encoder_shapes, parts.encoder_outputs, parts.write_encoder
        )
        decoder, path = self._session(
            f"{name}-decoder",
            parts.decoder_shapes,
            parts.decoder_outputs,
            parts.write_decoder,
            # Even without mirroring there are several replacements.
            at_a_time=MOST_AT_A_TIME,
        )
        return PartsSession(encoder, decoder, parts), path

    def _session(
        self,
        title: str,
        shapes: Mapping[str, tuple[int, ...]],
        outputs: Sequence[str],
        write: Callable[[Path], object],
        at_a_time: int | None = None,
    ) -> tuple[Session, Path]:
        network, request = self._network, self._request

        def written(path: Path) -> None:
            request.tell(f"writing {type(network).__name__} for the engine (only once): {path}")
            write(path)

        key = graph_key(network, request.shape, outputs, shapes)
        path = self.cache.graph(title, key, written)
        session = SESSIONS[self._engine](
            path, shapes, request.choice.precision, at_a_time or request.at_a_time
        )
        return session, path


def _compare_once(
    session: Session,
    parts: NetworkParts | None,
    network: nn.Module,
    engine: str,
    path: Path,
    cache: GraphCache,
    request: EngineRequest,
) -> None:
    """Compare an engine with torch, the first time that it runs a graph.

    Raises:
        DifferentResultsError: if their outputs differ by more than the tolerance.
    """
    precision = request.choice.precision
    version = versions_of(engine)[engine]
    title = f"{engine} {version} {precision}"
    difference = cache.differences(path).get(title)
    if difference is None:
        image = torch.randn((1, *request.shape), generator=torch.Generator().manual_seed(0))
        names = session.output_names
        expected = list(outputs_of_torch(network, image, names).items())
        (found,) = (
            [output.copy() for output in outputs]
            for outputs in session.run([{INPUT_NAME: image.numpy()}])
        )
        if isinstance(session, PartsSession) and parts is not None:
            # Compare with replaced coefficients too.
            halved = dict.fromkeys(range(parts.gate_count), Replaced(0.5))
            expected.append((LOGITS_NAME, parts.logits(image, halved).numpy()))
            found += [out[0].copy() for out in session.run_replaced(image.numpy(), [halved])]
        # Another fold is compared next, and any fold may be the first to predict.
        session.rest()
        shares = [
            _share_of_scale(output, values, name)
            for output, (name, values) in zip(found, expected, strict=True)
        ]
        # Unlike max, np.max propagates NaN.
        difference = float(np.max(shares))
        if math.isfinite(difference):
            cache.note_difference(path, title, difference)
    or_maps = " or maps" if len(session.output_names) > 1 else ""
    if not difference <= _TOLERANCES.get(precision, _TOLERANCE_IN_16_BITS):
        raise DifferentResultsError(
            f"{engine} {version} computes logits{or_maps} that differ from torch's (by "
            f"{difference:.2g} of their scale)"
        )


def _share_of_scale(found: np.ndarray, expected: np.ndarray, name: str) -> float:
    # The scale of coefficients is 1, however small those of an image are.
    scale = 1.0 if name.startswith("gate_") else float(np.abs(expected).max())
    return float(np.abs(found - expected).max()) / (scale or 1.0)
