"""Replaces the coefficients of attention gates in any forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch import Tensor, nn

from nnunet_attention.errors import CommandError
from nnunet_attention.gates import Attend, AttentionGate, attending_otherwise
from nnunet_attention.recorder import attention_gates

# What each puts in the place of a gate's coefficients.
REPLACEMENTS: dict[str, str] = {
    "open": "1: the whole skip connection is passed on",
    "mean": "the mean of the image's own coefficients, everywhere",
    "shuffled": "the image's own coefficients, each in a random place",
    "other_case": "the coefficients of another image, of another patient where groups are given",
    "uniform": "one number for all images: the mean over the images of their means",
    "zero": "0: nothing of the skip connection is passed on",
}
Replacement = str | float | Tensor | Callable[[Tensor], Tensor]


class UnknownGateError(CommandError, ValueError):
    """The network has no gate with that number."""


@contextmanager
def replace_attention(
    network: nn.Module,
    replacements: Mapping[int, Replacement],
    generator: torch.Generator | None = None,
) -> Iterator[None]:
    """Replace gates' coefficients in every forward pass inside the `with` block.

    Everything after a gate (product, output transform, decoder) uses the new coefficients.

    Args:
        network: any module that holds attention gates; not a compiled one.
        replacements: by gate number, 0 for the coarsest. A number, or a tensor that fits (B, 1, *S)
            on the grid of the gate's skip connection, with either of which the gate's own
            coefficients are not computed; a function of the gate's own coefficients, (B, 1, *S); or
            a name from `REPLACEMENTS`, whose images are then those of the batch.
        generator: random number generator for `shuffled`; None for a new one, seeded with 0.

    Raises:
        NoAttentionGatesError: if the network holds none.
        UnknownGateError: if it has no gate with one of the numbers.
        ValueError: if a name is not that of a replacement.

    Examples:
        >>> with replace_attention(network, {0: "mean"}):
        ...     logits = network(image)
        >>> with replace_attention(network, {1: lambda coefficients: 1 - coefficients}):
        ...     logits = network(image)
    """
    gates = attention_gates(network)
    check_gates(replacements, len(gates))
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    with ExitStack() as stack:
        for number, replacement in replacements.items():
            stack.enter_context(_replaced(gates[number], replacement, generator))
        yield


def check_gates(numbers: Iterable[int], count: int) -> None:
    """Check that a network has all gates of the given numbers.

    Raises:
        UnknownGateError: naming the first one that it lacks.
    """
    for number in numbers:
        if not 0 <= number < count:
            known = "0" if count == 1 else f"0 to {count - 1}"
            raise UnknownGateError(
                f"gate {number}: the network has the gate{'s' if count > 1 else ''} {known}, "
                "the coarsest first"
            )


def _replaced(
    gate: AttentionGate, replacement: Replacement, generator: torch.Generator
) -> AbstractContextManager[None]:
    if isinstance(replacement, str):
        replacement = _named(replacement, generator)

    def give(attend: Attend, skip: Tensor, gating: Tensor) -> Tensor:
        if callable(replacement):
            return replacement(attend(skip, gating)).to(skip.dtype)
        values = torch.as_tensor(replacement, dtype=skip.dtype, device=skip.device)
        return values.expand(len(skip), 1, *skip.shape[2:])

    return attending_otherwise(gate, give)


def _named(name: str, generator: torch.Generator) -> Replacement:
    functions: dict[str, Replacement] = {
        "open": 1.0,
        "zero": 0.0,
        "mean": _mean_of_each,
        # All images of a batch have the same size.
        "uniform": lambda own: _mean_of_each(own.flatten()[None]).view_as(own),
        "shuffled": lambda own: _shuffled(own, generator),
        "other_case": _of_the_next,
    }
    if name not in functions:
        raise ValueError(f"replacement {name!r}: choose from {', '.join(REPLACEMENTS)}")
    return functions[name]


def _mean_of_each(own: Tensor) -> Tensor:
    axes = tuple(range(1, own.ndim))
    mean = own.double().mean(axes, keepdim=True).to(own.dtype)
    # This makes the mean of equal numbers exactly that number.
    return mean.clamp(own.amin(axes, keepdim=True), own.amax(axes, keepdim=True)).expand_as(own)


def _shuffled(own: Tensor, generator: torch.Generator) -> Tensor:
    flat = own.flatten(1)
    order = torch.stack([torch.randperm(flat.shape[1], generator=generator) for _ in flat])
    return flat.gather(1, order.to(flat.device)).view_as(own)


def _of_the_next(own: Tensor) -> Tensor:
    if len(own) < 2:
        raise ValueError(
            "replacement 'other_case': the batch has one image; at least two are needed"
        )
    return own.roll(-1, 0)
