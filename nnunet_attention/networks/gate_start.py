"""Sets the initial values of attention gates, so that at first they let everything through.

"Gating parameters are initialised so that attention gates pass through feature vectors at all
spatial locations" (Oktay et al. 2018, section 2.2, https://arxiv.org/abs/1804.03999). The
initialisation that nnU-Net gives every convolution does not achieve this: depending on the seed,
it leaves each level's coefficients anywhere between 0.2 and 0.8.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from nnunet_attention.gates import AttentionGate

# Every gate starts as a constant c = sigmoid(psi's bias), and the next convolution divides by it.
# With bias 0, c is 0.5: there the sigmoid is steepest, coefficients can rise as far as they can
# fall, and dividing by 0.5 is exact in floating point.
IDENTITY_BIAS = 0.0
IDENTITY_COEFFICIENT = 0.5
# sigmoid(3) = 0.9526, as in the authors' classification network.
OPEN_BIAS = 3.0

GATE_STARTS = ("identity", "open", "he")
DEFAULT_GATE_START = "identity"

# In a decoder stage, of the convolution that the skip goes into: its input is (upsampled, skip).
# It is one tensor, which a state dict has under both names.
_WEIGHTS = ("convs.0.conv.weight", "convs.0.all_modules.0.weight")


def check_gate_start(start: str) -> None:
    """Check that a start is one of `GATE_STARTS`.

    Raises:
        ValueError: if it is not.
    """
    if start not in GATE_STARTS:
        raise ValueError(f"gate_start is {start!r}; choose one of {', '.join(GATE_STARTS)}")


@torch.no_grad()
def start_gates(gates: Iterable[AttentionGate], stages: Iterable[nn.Module], start: str) -> None:
    """Set the initial values of gates and of the convolutions that their skips go into.

    - `identity`: psi's weight and bias are 0, so that every coefficient is 0.5, and the weights
      that the next convolution applies to the gated skip are divided by 0.5. The network computes
      what it would without gates. A gate with an output transform, whose normalisation cannot
      preserve the function, gets psi's values only.
    - `open`: psi's weight is 0 and its bias 3, so that every coefficient is 0.9526.
    - `he`: nothing is changed; the layers' own initialisation is kept.

    With the first two, psi alone of a gate's layers changes in the first training step; from the
    second step on theta and phi have a gradient too. No random numbers are drawn.

    Args:
        gates: changed in place.
        stages: the decoder stages that the gates stand before, in the same order; more may follow.
            They must just have been initialised, or loaded from a plain network.
        start: one of `GATE_STARTS`.

    Raises:
        ValueError: if `start` is unknown.
    """
    check_gate_start(start)
    if start == "he":
        return
    for gate, stage in zip(gates, stages, strict=False):
        gate.psi.weight.zero_()
        assert gate.psi.bias is not None, "gates are built with it"
        gate.psi.bias.fill_(OPEN_BIAS if start == "open" else IDENTITY_BIAS)
        if _compensates(gate, start):
            weight = stage.get_parameter(_WEIGHTS[0])
            weight[:, -gate.skip_channels :].div_(IDENTITY_COEFFICIENT)


@torch.no_grad()
def undo_start(
    gates: Iterable[AttentionGate], state: Mapping[str, torch.Tensor], start: str
) -> None:
    """Undo what `start_gates` did to the plain network's weights.

    Args:
        gates: those of the network, as `start_gates` had them.
        state: the state dict of the network; changed in place. A tensor that it has under two
            names must be there twice, as a copy for each.
        start: how the gates started.
    """
    for number, gate in enumerate(gates):
        if _compensates(gate, start):
            for name in _WEIGHTS:
                weight = state[f"decoder.stages.{number}.{name}"]
                weight[:, -gate.skip_channels :].mul_(IDENTITY_COEFFICIENT)


def _compensates(gate: AttentionGate, start: str) -> bool:
    """Tell whether the convolution behind the gate makes up for the constant coefficient."""
    return start == "identity" and gate.output_transform is None
