"""Counts what a forward pass keeps for the backward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def saved_activations(network: nn.Module) -> Iterator[Callable[[], int]]:
    """Count the bytes that forward passes inside the `with` block save, each storage once.

    The network's parameters are left out: they take their memory in any case.

    Yields:
        A function that returns the number of bytes so far. Call it while the outputs are still
        held, because the saved tensors live only as long as the outputs.
    """
    parameters = {_storage_id(parameter) for parameter in network.parameters()}
    # Holding the storages keeps their addresses from being used again.
    saved: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        if _storage_id(tensor) not in parameters:
            saved[_storage_id(tensor)] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield lambda: sum(storage.nbytes() for storage in saved.values())


def _storage_id(tensor: Tensor) -> int:
    """Return an identifier of a tensor's storage, as meta tensors have no memory address."""
    return tensor.untyped_storage()._cdata
