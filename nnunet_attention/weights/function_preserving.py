"""Gives an attention network the weights of a plain one, so that both compute the same."""

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from nnunet_attention.errors import last_line
from nnunet_attention.networks import AttentionDecoder
from nnunet_attention.networks.gate_start import start_gates


def start_from_plain(attention: nn.Module, plain_weights: Mapping[str, Tensor]) -> None:
    """Load a plain network's weights into its gated counterpart, which then computes the same.

    theta and phi of the gates stay as they are; psi and the weights applied to a gated skip get the
    start `identity`, whatever start the network was built with.

    Args:
        attention: `AttentionUNet` or `AttentionResidualEncoderUNet`; changed in place, in its
            dtype.
        plain_weights: the state dict of a plain network of the same shape.

    Raises:
        ValueError: if names or shapes do not fit, or if the gates have an output transform, whose
            normalisation cannot preserve the function.
    """
    decoder = cast(AttentionDecoder, attention.decoder)
    if any(gate.output_transform is not None for gate in decoder.iter_gates()):
        raise ValueError(
            "the gates have an output transform, whose normalisation cannot keep the plain "
            "network's function; build them with output_transform=False"
        )
    try:
        fit = attention.load_state_dict(plain_weights, strict=False)
    except RuntimeError as error:  # shapes
        raise ValueError(last_line(error)) from error
    missing = [name for name in fit.missing_keys if not name.startswith("decoder.gates.")]
    if missing or fit.unexpected_keys:
        raise ValueError(
            f"missing: {_examples(missing)}; unknown: {_examples(fit.unexpected_keys)}"
        )
    start_gates(decoder.iter_gates(), decoder.stages, "identity")


def _examples(names: list[str]) -> str:
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
