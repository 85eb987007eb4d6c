"""Records the coefficients of a network's attention gates while it runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch._dynamo import OptimizedModule

from nnunet_attention.errors import CommandError
from nnunet_attention.gates import AttentionGate


class NoAttentionGatesError(CommandError, ValueError):
    """The network has no attention gate, so there is nothing to record."""


class AttentionRecord(Mapping[str, Tensor]):
    """Holds the gates' maps from the forward passes inside `record_attention`.

    As a mapping it holds the last pass: `record["gate_0"]` is (B, 1, *S) on the grid of that gate's
    skip connection. `gate_0` is `decoder.gates.0`, the coarsest.

    Attributes:
        passes: one dictionary for each forward pass, oldest first.
    """

    def __init__(self) -> None:
        self.passes: list[dict[str, Tensor]] = []

    def __getitem__(self, name: str) -> Tensor:
        if not self.passes:
            raise KeyError(f"{name}: the network has not run yet")
        return self.passes[-1][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.passes[-1] if self.passes else ())

    def __len__(self) -> int:
        return len(self.passes[-1]) if self.passes else 0

    def _add(self, name: str, value: Tensor) -> None:
        # Every gate runs once in a pass, so a name that is already there begins the next pass.
        if not self.passes or name in self.passes[-1]:
            self.passes.append({})
        self.passes[-1][name] = value


@contextmanager
def record_attention(network: nn.Module, features: bool = False) -> Iterator[AttentionRecord]:
    """Record the attention coefficients of every forward pass inside the `with` block.

    The network's results do not change. The recorded tensors are detached and stay on their device.

    Args:
        network: any module that holds attention gates, also within DistributedDataParallel.
        features: record also each gate's input, `skip_0`, and its product, `gated_0`, both averaged
            over channels, (B, 1, *S): what the paper's figure 4 shows.

    Raises:
        NoAttentionGatesError: if the network holds none.
        ValueError: if the network is compiled, as torch.compile does not run forward hooks.

    Examples:
        >>> with record_attention(network) as maps:
        ...     logits = network(image)
        >>> maps["gate_0"].shape
        torch.Size([1, 1, 4, 8, 8])
    """
    if any(isinstance(module, OptimizedModule) for module in network.modules()):
        raise ValueError(
            "the network is compiled, and torch.compile runs no hooks; record network._orig_mod"
        )
    gates = attention_gates(network)
    record = AttentionRecord()
    listeners = [
        gate.register_forward_hook(partial(_listen, record, number, features))
        for number, gate in enumerate(gates)
    ]
    try:
        yield record
    finally:
        for listener in listeners:
            listener.remove()


def mean_coefficients(network: nn.Module, images: Tensor) -> list[float]:
    """Return each gate's mean coefficient on some images, coarsest gate first.

    Args:
        network: as in `record_attention`; it runs once, in its current mode.
        images: (B, C, *S).
    """
    with torch.no_grad(), record_attention(network) as record:
        network(images)
    return [float(coefficients.float().mean()) for coefficients in record.values()]


def attention_gates(network: nn.Module) -> list[AttentionGate]:
    """Return the gates of a network in the order in which they run, coarsest first.

    Raises:
        NoAttentionGatesError: if there is none.
    """
    gates = [module for module in network.modules() if isinstance(module, AttentionGate)]
    if not gates:
        raise NoAttentionGatesError(
            f"the network {type(network).__name__} has no attention gates, so there are no maps; "
            "train with -tr AttentionUNetTrainer, or give the trained network gates with "
            "`nnunet-attention upgrade` and continue training it"
        )
    return gates


def map_names(number_of_gates: int, features: bool = False) -> list[str]:
    """Return the names under which `record_attention` keeps its maps, coefficients first."""
    kinds = ("gate", "skip", "gated") if features else ("gate",)
    return [f"{kind}_{number}" for kind in kinds for number in range(number_of_gates)]


def _listen(record: AttentionRecord, number: int, features: bool, gate, inputs, output) -> None:
    # In a decoder, the gated skip follows the upsampled feature.
    gated, coefficients = output[0][:, -gate.skip_channels :], output[1]
    record._add(f"gate_{number}", coefficients.detach())
    if features:
        record._add(f"skip_{number}", inputs[0].detach().mean(1, keepdim=True))
        record._add(f"gated_{number}", gated.detach().mean(1, keepdim=True))
