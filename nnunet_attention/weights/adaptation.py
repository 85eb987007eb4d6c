"""Fits the weights of one network to another, tensor by tensor, and says what became of each.

A tensor is taken as it is where name and shape agree. It is adapted where a rule preserves the
output of its layer:

- A kernel of size 1 in place of a longer one gets that one's sum along the axis: the layer's
  response to an image that is constant along it (borders aside, where nnU-Net pads with zeros).
- A longer kernel gets zeros around the source's.
- More image channels repeat the source's, each divided by how often it is repeated; fewer channels
  are sums of the source's. Both preserve the response to repeated images.
- Channels for the segmentations of a cascade's first stage begin with 0, or are taken where the
  source has as many.

Everything else starts as new, whole layers at a time: norm and bias of a new convolution are new.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nnunet_attention.errors import CommandError
from nnunet_attention.networks import AttentionDecoder
from nnunet_attention.networks.gate_start import undo_start
from nnunet_attention.weights.checkpoint import fault_of
from nnunet_attention.weights.function_preserving import start_from_plain
from nnunet_attention.weights.source import GATES, NNSSL, PretrainedSource

TAKEN, ADAPTED, NEW, LEFT = "taken", "adapted", "new", "left out"
_ENCODER, _DECODER = "encoder.", "decoder."
_HEADS = "decoder.seg_layers."
# Options of layers.
_WITHOUT_EFFECT = ("inplace", "device", "dtype")
_PARTS_OF_LAYER = re.compile(r"^(.*)\.(?:conv|norm)\.[a-z_]+$")
_STAGE_OF_ENCODER = re.compile(r"^encoder\.stages\.(\d{1,4})\.")
_STAGE_OF_DECODER = re.compile(r"^decoder\.(stages|transpconvs|seg_layers)\.(\d{1,4})\.(.*)$")


@dataclass(frozen=True)
class TensorOutcome:
    """Tells what became of a tensor.

    Attributes:
        name: its name in the network or, if it is left away, in the source.
        shape: likewise.
        outcome: `TAKEN`, `ADAPTED`, `NEW` or `LEFT`.
        reason: a phrase that says why, if it was not simply taken.
    """

    name: str
    shape: tuple[int, ...]
    outcome: str
    reason: str = ""


@dataclass(frozen=True)
class Adaptation:
    """Holds the weights that fit a network, and what became of each tensor.

    Attributes:
        weights: by the names of the network's tensors, each tensor once, in the source's dtype.
        outcomes: one for every tensor of the network, then one for each of the source's that is
            left away.
        notes: sentences on differences between the networks that show in no tensor.
    """

    weights: dict[str, Tensor]
    outcomes: tuple[TensorOutcome, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def encoder_share(self) -> float:
        """The share of the encoder's numbers that come from the source, 0 to 1."""
        sizes = {True: 0, False: 0}
        for outcome in self.outcomes:
            if outcome.name.startswith(_ENCODER) and outcome.outcome != LEFT:
                sizes[outcome.outcome in (TAKEN, ADAPTED)] += math.prod(outcome.shape)
        return sizes[True] / max(sum(sizes.values()), 1)

    @property
    def is_whole(self) -> bool:
        """Tell whether all tensors of source and network were taken as they are, gates aside."""
        return all(
            outcome.outcome == TAKEN
            for outcome in self.outcomes
            if not outcome.name.startswith(GATES)
        )


def adapt(
    source: PretrainedSource, network: nn.Module, image_channels: int, *, heads: bool = True
) -> Adaptation:
    """Find which of the source's weights a network can start with.

    Args:
        source: the weights.
        network: plain or gated; only names and shapes are used, so that it may be on the meta
            device.
        image_channels: the network's image channels; its further input channels are a cascade's
            segmentations.
        heads: False leaves the segmentation layers as they are, as nnU-Net does.

    Raises:
        CommandError: if source and network differ in dimensions (2-D, 3-D), or if weights that are
            used are not floats or not finite.
    """
    encoder: Any = network.encoder
    first_name = f"{_ENCODER}{next(iter(dict(encoder.named_parameters())))}"
    tensors = dict(_unique_tensors(network))
    _check_dimensions(source, tensors[first_name][0])
    matching = _Matching(source, len(encoder.strides), heads)
    new_layers: set[str] = set()
    weights: dict[str, Tensor] = {}
    outcomes: list[TensorOutcome] = []
    for name, (tensor, aliases) in tensors.items():
        shape = tuple(tensor.shape)
        match = matching.find(name, aliases)
        value, told = None, match.why_not
        fault = None if match.tensor is None else fault_of(name, match.tensor)
        if fault is not None:
            raise CommandError(f"{source.path}: {fault}")
        if match.tensor is not None and _layer_of(name) in new_layers:
            told = "its layer is newly initialised"
        elif match.tensor is not None:
            channels = None
            if name == first_name and match.tensor.ndim == len(shape):
                channels = _Channels(source, match.tensor, image_channels, shape)
            transposed = ".transpconvs." in name
            value, told = _fitted(match.tensor, shape, channels, transposed=transposed)
        if value is None:
            outcomes.append(TensorOutcome(name, shape, NEW, told))
            if name.endswith(".weight"):
                new_layers.add(_layer_of(name))
        else:
            weights[name] = value
            how = "; ".join(filter(None, [match.origin, told]))
            outcomes.append(TensorOutcome(name, shape, ADAPTED if told else TAKEN, how))
    if not any(name.startswith(_ENCODER) for name in weights):
        why = "the encoder that feeds it is newly initialised"
        weights = {}
        outcomes = [
            outcome
            if outcome.outcome == NEW
            else TensorOutcome(outcome.name, outcome.shape, NEW, why)
            for outcome in outcomes
        ]
        matching.leave_decoder(why)
    _check_finite(source, weights)
    outcomes += matching.left()
    first_is_new = bool(weights) and first_name not in weights
    return Adaptation(weights, tuple(outcomes), tuple(_notes(source, network, first_is_new)))


def load_adapted(network: nn.Module, adaptation: Adaptation) -> None:
    """Load the weights into a network that has just been initialised; gates start as identity.

    A gated network then computes what a plain network with the same plain weights would compute.

    Args:
        network: the one that `adapt` was given, or one of the same shape; changed in place.
        adaptation: the result of `adapt`.

    Raises:
        CommandError: if the gates have an output transform, which cannot start as identity.
    """
    state = {
        name: value.detach().clone()
        for name, value in network.state_dict().items()
        if not name.startswith(GATES)
    }
    decoder = network.decoder
    if isinstance(decoder, AttentionDecoder):
        undo_start(decoder.iter_gates(), state, decoder.gate_start)
    for name, (_, aliases) in _unique_tensors(network):
        if name in adaptation.weights:
            for alias in (name, *aliases):
                state[alias] = adaptation.weights[name]
    if not isinstance(decoder, AttentionDecoder):
        network.load_state_dict(state)
        return
    try:
        start_from_plain(network, state)
    except ValueError as error:
        raise CommandError(f"gates cannot start from pretrained weights: {error}") from error


class _Match(NamedTuple):
    """Holds the source's tensor for one of the network's and its origin, or why there is none.

    `origin` is empty if the tensor has the same name in the source.
    """

    tensor: Tensor | None
    origin: str = ""
    why_not: str = ""


class _Matching:
    """Finds the source's tensor for each of the network's, and remembers which have been used."""

    def __init__(self, source: PretrainedSource, stages: int, heads: bool):
        self._source = source
        self._stages = stages
        self._heads = heads
        self._source_stages = _number_of_stages(source.weights)
        self._decoder_left = source.decoder_left
        self.used: set[str] = set()

    def find(self, name: str, aliases: Sequence[str]) -> _Match:
        """Return the source's tensor for a name, or why there is none."""
        if name.startswith(GATES):
            return _Match(None, why_not="gates start as identity")
        if name.startswith(_DECODER) and self._source.decoder_left:
            why = f"the source's decoder is left out: {self._source.decoder_left}"
            return _Match(None, why_not=why)
        for candidate in (name, *aliases):
            there = self._place(candidate)
            if there is not None and there in self._source.weights:
                self.used.add(there)
                if name.startswith(_HEADS) and not self._heads:
                    return _Match(
                        None, why_not="segmentation layers are newly initialised, as in nnU-Net"
                    )
                origin = "" if there == candidate else f"from {there}"
                return _Match(self._source.weights[there], origin)
        return _Match(None, why_not=self._why_absent(name))

    def leave_decoder(self, why: str) -> None:
        """Count the source's decoder among the tensors left away, for the given reason."""
        self.used = {name for name in self.used if not name.startswith(_DECODER)}
        self._decoder_left = self._decoder_left or why

    def left(self) -> Iterator[TensorOutcome]:
        """Iterate over the source's unused tensors, each once."""
        weights = self._source.weights
        for name, value in weights.items():
            if name in self.used or _is_alias(name, weights):
                continue
            reason = "the network has no such layer"
            if not name.startswith((_ENCODER, _DECODER)):
                reason = "it is not part of a U-Net's encoder or decoder"
            elif name.startswith(_DECODER) and self._decoder_left:
                reason = self._decoder_left
            yield TensorOutcome(name, tuple(value.shape), LEFT, reason)

    def _place(self, name: str) -> str | None:
        """Return the name in the source at the same resolution; decoders count from the bottleneck.

        None means that the source has no such stage.
        """
        found = _STAGE_OF_DECODER.match(name)
        if found is None or self._source_stages == 0:
            return name
        number = int(found[2]) + self._source_stages - self._stages
        return f"decoder.{found[1]}.{number}.{found[3]}" if number >= 0 else None

    def _why_absent(self, name: str) -> str:
        stage = _STAGE_OF_ENCODER.match(name)
        if stage is not None and int(stage[1]) >= self._source_stages > 0:
            return f"the source has only {self._source_stages} stages"
        if name.startswith(_ENCODER) and not self._source_has_layers_of(name):
            kind = self._source.plain_architecture["network_class_name"].rpartition(".")[2]
            return f"the source's {kind} builds its stages differently"
        if name.endswith(".bias") and _layer_of(name) + ".conv.bias" == name:
            return "the source's convolution has no bias"
        return "the source has no such layer"

    def _source_has_layers_of(self, name: str) -> bool:
        residual = ".blocks." in name or ".stem." in name
        return residual == any(".blocks." in known for known in self._source.weights)


class _Channels:
    """Fits a first convolution's channels for images and for a cascade's segmentations."""

    def __init__(
        self, source: PretrainedSource, weight: Tensor, image_channels: int, shape: Sequence[int]
    ):
        self.source_previous = source.previous_channels
        self.source_images = weight.shape[1] - source.previous_channels
        if self.source_images < 1:
            raise CommandError(
                f"{source.path}: the first convolution has {weight.shape[1]} channels, but its "
                f"plans give {source.previous_channels} of them to an earlier stage's "
                "segmentations; the plans belong to another network"
            )
        self.images = image_channels
        self.previous = shape[1] - image_channels

    def fit(self, weight: Tensor) -> tuple[Tensor, list[str]]:
        """Return the weight for the network's channels, and phrases on what was done to it."""
        there, here = self.source_images, self.images
        images, told = weight[:, :there], []
        if here > there:
            index = torch.arange(here) % there
            times = torch.bincount(index, minlength=there)
            images = images[:, index] / times[index].view(1, -1, *[1] * (weight.ndim - 2))
            told.append(
                f"{there} image channel{'s' * (there > 1)} repeated to {here}, each divided by the "
                "number of its copies"
            )
        elif here < there:
            images = torch.stack([images[:, place::here].sum(1) for place in range(here)], 1)
            told.append(f"{there} image channels summed to {here}")
        if self.previous == 0:
            if self.source_previous:
                told.append("the channels of an earlier stage's segmentations left out")
            return images, told
        if self.previous == self.source_previous:
            return torch.cat([images, weight[:, there:]], 1), told
        zeros = images.new_zeros(weight.shape[0], self.previous, *weight.shape[2:])
        told.append(f"{self.previous} channels of an earlier stage's segmentations start at 0")
        return torch.cat([images, zeros], 1), told


def _fitted(
    value: Tensor, shape: tuple[int, ...], channels: _Channels | None, *, transposed: bool
) -> tuple[Tensor | None, str]:
    """Return the tensor in another shape and what was done, or None and why if no rule applies."""
    if channels is None and tuple(value.shape) == shape:
        return value, ""
    differs = f"it is {_by(shape)} here, {_by(value.shape)} in the source"
    if value.ndim != len(shape) or value.ndim < 3 or transposed:
        return None, differs
    if value.shape[0] != shape[0] or (channels is None and value.shape[1] != shape[1]):
        return None, differs
    told: list[str] = []
    if channels is not None:
        value, told = channels.fit(value)
    for axis in range(2, value.ndim):
        there, here = value.shape[axis], shape[axis]
        if here == there:
            continue
        if here == 1:
            value = value.sum(axis, keepdim=True)
        elif here > there and here % 2 == there % 2 == 1:
            margin = (here - there) // 2
            # Two numbers per axis, beginning with the last axis.
            padding = [0] * (2 * (value.ndim - 1 - axis)) + [margin, margin]
            value = nn.functional.pad(value, padding)
        else:
            return None, differs
        what = "summed" if here == 1 else "padded with 0"
        told.append(f"kernel {what} from {there} to {here} along axis {axis - 2}")
    return value, "; ".join(told)


def _unique_tensors(network: nn.Module) -> Iterator[tuple[str, tuple[Tensor, list[str]]]]:
    """Iterate over a network's tensors: the first name of each, the tensor and its other names."""
    names: dict[int, list[str]] = {}
    tensors: dict[int, Tensor] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
        tensors[id(tensor)] = tensor
    for key, (name, *aliases) in names.items():
        yield name, (tensors[key], aliases)


def _is_alias(name: str, weights: Mapping[str, Tensor]) -> bool:
    """Tell whether a name is a tensor's second name in nnU-Net's state dicts."""
    if name.startswith("decoder.encoder."):
        return name.removeprefix(_DECODER) in weights
    return (
        ".all_modules." in name and name.partition(".all_modules.")[0] + ".conv.weight" in weights
    )


def _layer_of(name: str) -> str:
    found = _PARTS_OF_LAYER.match(name)
    return found[1] if found else name.rpartition(".")[0]


def _number_of_stages(weights: Mapping[str, Tensor]) -> int:
    numbers = [int(found[1]) for name in weights if (found := _STAGE_OF_ENCODER.match(name))]
    return max(numbers, default=-1) + 1


def _check_dimensions(source: PretrainedSource, first: Tensor) -> None:
    there = {
        value.ndim - 2
        for name, value in source.weights.items()
        if name.startswith(_ENCODER) and value.ndim in (4, 5)
    }
    here = first.ndim - 2
    if there and here not in there:
        raise CommandError(
            f"{source.path} holds a {max(there)}-D network, but the plans' configuration is "
            f"{here}-D: no rule converts one into the other; choose a {max(there)}-D configuration "
            "with -c, or other weights"
        )


def _check_finite(source: PretrainedSource, weights: Mapping[str, Tensor]) -> None:
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise CommandError(
                f"{source.path}: {name} has values that are not finite: the training that made it "
                "failed, or the file is damaged; use another checkpoint"
            )


def _notes(
    source: PretrainedSource, network: nn.Module, first_is_new: bool = False
) -> Iterator[str]:
    """Describe differences that show in no tensor: strides, layers without weights, gate start.

    Args:
        source: the weights.
        network: the network that they are fitted to.
        first_is_new: whether its first convolution starts as new, and later layers do not.
    """
    encoder: Any = network.encoder
    arguments = source.plain_architecture["arch_kwargs"]
    if first_is_new:
        yield (
            "the input layers are newly initialised, but the layers after them, which come from "
            "the source, have learnt to read others"
        )
    steps = [[int(step) for step in row] for row in encoder.strides]
    there = _rows(arguments.get("strides"), len(steps[0]))
    if there != steps:
        yield f"the stages' strides are {_steps(steps)} here, {_steps(there)} in the source"
    for name in ("norm_op", "nonlin", "dropout_op"):
        wanted = arguments.get(name)
        wanted = wanted and str(wanted).rpartition(".")[2]
        operation = getattr(encoder, name, None)
        found = None if operation is None else operation.__name__
        if found != wanted:
            yield f"{name} is {found or 'absent'} here, {wanted or 'absent'} in the source"
        elif operation is not None:
            key = f"{name}_kwargs"
            options = (
                _options(operation, getattr(encoder, key)),
                _options(operation, arguments.get(key)),
            )
            for option in sorted({*options[0], *options[1]}):
                here, there_too = (known.get(option) for known in options)
                if here != there_too:
                    yield f"{option} of {name} is {here} here, {there_too} in the source"
    start = getattr(network.decoder, "gate_start", "identity")
    if start != "identity":
        yield f"the gates start as identity, not as {start}, which the plans ask for"
    if source.kind == NNSSL:
        yield "only the encoder comes from nnssl's checkpoint; the decoder is newly initialised"


def _options(operation: Callable, given: object) -> dict[str, Any]:
    """Return a layer's options, those that are not given too; without those that change no result.

    Args:
        operation: the layer's class.
        given: the plans' options for it, whatever they hold.
    """
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(operation).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    options = {**defaults, **(given if isinstance(given, Mapping) else {})}
    return {name: value for name, value in options.items() if name not in _WITHOUT_EFFECT}


def _rows(value: Any, axes: int) -> list[list[int]]:
    rows = value if isinstance(value, (list, tuple)) else []
    return [
        [int(step) for step in row] if isinstance(row, (list, tuple)) else [int(row)] * axes
        for row in rows
    ]


def _steps(rows: list[list[int]]) -> str:
    return " ".join(_by(row) for row in rows)


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes)) or "a number"
