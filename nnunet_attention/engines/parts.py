"""Runs encoder and decoder apart, so that one encoder pass serves many decoder passes.

Each gate of the decoder has two further inputs that change the coefficients that it passes on::

    passed on = factor * (keep * own + (1 - keep))

This is exact for the gate's own coefficients (keep 1, factor 1), for their product with a mask
(keep 1) and for other values in their place (keep 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nnunet_attention.engines.graph import (
    INPUT_NAME,
    LOGITS_NAME,
    NotExportableError,
    write_graph,
)
from nnunet_attention.engines.sessions import MOST_AT_A_TIME, Inputs, Session
from nnunet_attention.gates import attending_otherwise
from nnunet_attention.networks.attention_decoder import AttentionDecoder, encoder_and_decoder
from nnunet_attention.recorder import attention_gates, map_names


class Replaced(NamedTuple):
    """The replacement for one gate's coefficients.

    Attributes:
        values: a number, or (1, 1, *S) on the grid of the gate's skip connection.
        multiplies: whether the gate's own coefficients are multiplied by the values instead of
            replaced.
    """

    values: float | Tensor
    multiplies: bool = False


Replacements = Mapping[int, Replaced]
"""Replacements by the number of the gate; the other gates keep their coefficients."""


class NetworkParts:
    """Writes encoder and decoder of a network as separate graphs, and describes their inputs.

    Args:
        network: made of an encoder and an AttentionDecoder, without deep supervision.
        shape: the shape of an image, (C, *patch).

    Attributes:
        encoder_shapes: the shapes of the encoder's inputs, by name.
        decoder_shapes: those of the decoder's inputs: the features, highest resolution first, then
            `keep_0` and `factor_0` and so on for each gate.
        encoder_outputs: the names of the features.
        decoder_outputs: the names of the outputs: `logits`, then the gates' own coefficients.

    Raises:
        NotExportableError: if the network is not made of an encoder and an AttentionDecoder that
            holds all gates.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int]):
        parts = encoder_and_decoder(network)
        if parts is None or attention_gates(network) != list(parts[1].iter_gates()):
            raise NotExportableError(
                f"the network {type(network).__name__} is not an encoder and a decoder that holds "
                "all gates, so no engine can replace the gates' coefficients"
            )
        self._network, (self._encoder, self._decoder) = network, parts
        self.encoder_shapes = {INPUT_NAME: (1, *shape)}
        with torch.inference_mode():
            features = self._encoder(torch.zeros(self.encoder_shapes[INPUT_NAME]))
        self.encoder_outputs = [f"features_{level}" for level in range(len(features))]
        self.decoder_shapes: dict[str, tuple[int, ...]] = {
            name: tuple(of_level.shape)
            for name, of_level in zip(self.encoder_outputs, features, strict=True)
        }
        self.gate_count = len(self._decoder.gates)
        for gate in range(self.gate_count):
            grid = features[-(gate + 2)].shape[2:]
            self.decoder_shapes |= {f"keep_{gate}": (1,), f"factor_{gate}": (1, 1, *grid)}
        self.decoder_outputs = [LOGITS_NAME, *map_names(self.gate_count)]

    def write_encoder(self, path: Path) -> None:
        """Write the encoder, see `write_graph`."""
        module = _Encoder(self._encoder)
        write_graph(module, path, self.encoder_shapes, self.encoder_outputs, self._network)

    def write_decoder(self, path: Path) -> None:
        """Write the decoder, see `write_graph`."""
        module = _Decoder(self._decoder)
        write_graph(module, path, self.decoder_shapes, self.decoder_outputs, self._network)

    @torch.inference_mode()
    def logits(self, image: Tensor, replacements: Replacements) -> Tensor:
        """Return torch's logits with some coefficients replaced."""
        inputs = _gate_inputs(self.decoder_shapes, replacements)
        arrays = [torch.from_numpy(array) for array in inputs.values()]
        return _Decoder(self._decoder)(*self._encoder(image), *arrays)[0]


class PartsSession(Session):
    """Runs an encoder, and for each of its results a decoder, once or several times.

    As a session it takes images, and yields the decoder's outputs.

    Args:
        encoder: a session of the graph of `write_encoder`.
        decoder: a session of the graph of `write_decoder`.
        parts: the network that both belong to.
    """

    def __init__(self, encoder: Session, decoder: Session, parts: NetworkParts):
        self._encoder, self._decoder, self._parts = encoder, decoder, parts
        self.output_names = decoder.output_names

    def run(self, passes: Sequence[Inputs]) -> Iterator[list[np.ndarray]]:
        """Yield the outputs for each image, with the gates' own coefficients."""
        own = _gate_inputs(self._parts.decoder_shapes, {})
        # The features of all mirrored images would take much memory.
        for start in range(0, len(passes), MOST_AT_A_TIME):
            images = passes[start : start + MOST_AT_A_TIME]
            features = [self._named(found) for found in self._encoder.run(images)]
            yield from self._decoder.run([{**of_image, **own} for of_image in features])

    def run_replaced(
        self, image: np.ndarray, variants: Sequence[Replacements]
    ) -> Iterator[list[np.ndarray]]:
        """Yield the outputs for each of the variants, after a single pass of the encoder."""
        (features,) = [self._named(found) for found in self._encoder.run([{INPUT_NAME: image}])]
        shapes = self._parts.decoder_shapes
        passes = [{**features, **_gate_inputs(shapes, variant)} for variant in variants]
        yield from self._decoder.run(passes)

    def rest(self) -> None:
        """Release the memory of a pass."""
        self._encoder.rest()
        self._decoder.rest()

    def _named(self, features: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        # Copied, as an engine reuses its memory.
        copies = (of_level.copy() for of_level in features)
        return dict(zip(self._parts.encoder_outputs, copies, strict=True))


def _gate_inputs(
    shapes: Mapping[str, Sequence[int]], replacements: Replacements
) -> dict[str, np.ndarray]:
    """Return `keep` and `factor` of each gate, in the order of a decoder's inputs."""
    inputs = {}
    for name, shape in shapes.items():
        kind, _, gate = name.partition("_")
        if kind not in ("keep", "factor"):
            continue
        values, multiplies = replacements.get(int(gate), Replaced(1.0, multiplies=True))
        content = values if kind == "factor" else float(multiplies)
        inputs[name] = np.array(np.broadcast_to(np.asarray(content, np.float32), shape))
    return inputs


class _Encoder(nn.Module):
    """Returns the features of all levels in a tuple."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.encoder(image))


class _Decoder(nn.Module):
    """Computes logits and the gates' own coefficients from the inputs of a decoder's graph."""

    def __init__(self, decoder: AttentionDecoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        gates = list(self.decoder.iter_gates())
        levels = len(inputs) - 2 * len(gates)
        features, keeps, factors = inputs[:levels], inputs[levels::2], inputs[levels + 1 :: 2]
        all_own: list[Tensor] = []

        def passed_on(keep: Tensor, factor: Tensor, attend, skip: Tensor, gating: Tensor) -> Tensor:
            own = attend(skip, gating)
            all_own.append(own)
            return factor * (keep * own + (1 - keep))

        with ExitStack() as stack:
            for gate, keep, factor in zip(gates, keeps, factors, strict=True):
                stack.enter_context(attending_otherwise(gate, partial(passed_on, keep, factor)))
            logits = self.decoder(features)
        return (logits, *all_own)
