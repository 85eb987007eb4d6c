"""Counts what a forward pass keeps for the backward pass."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def saved_activations(network: nn.Module) -> Iterator[Callable[[], int]]:
    """Count what forward passes inside the `with` block save, each storage once.

    The network's parameters, which are there anyway, are left out.

    Yields:
        A function that tells the bytes so far; to be asked while the outputs are held, as the
        saved tensors live as long as they do.
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
    """Name the memory of a tensor; on the meta device there is no address to go by."""
    return tensor.untyped_storage()._cdata
