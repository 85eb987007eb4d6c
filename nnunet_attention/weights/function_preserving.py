"""Gives an attention network the weights of a plain one such that it computes the same."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nnunet_attention.networks import AttentionDecoder

# Every gate starts as a constant c = sigmoid(psi's bias), and the next convolution divides by it.
# With bias 0, c is 0.5: there the sigmoid is steepest, coefficients can rise as far as they can
# fall, and dividing by 0.5 is exact in floating point.
START_BIAS = 0.0
START_COEFFICIENT = 0.5


@torch.no_grad()
def start_from_plain(attention: nn.Module, plain_weights: Mapping[str, Tensor]) -> None:
    """Loads a plain network's weights into its gated counterpart, whose function they then keep.

    theta and phi of the gates stay as they are, psi's weight becomes 0 and its bias `START_BIAS`,
    and the input channels that meet a gated skip are divided by `START_COEFFICIENT`. In the first
    step of a training only psi moves; from then on theta and phi have a gradient too.

    Args:
        attention: `AttentionUNet` or `AttentionResidualEncoderUNet`; changed in place, in its
            dtype.
        plain_weights: the state dict of a plain network of the same shape.

    Raises:
        ValueError: if names or shapes do not fit, or if the gates have an output transform, whose
            normalisation cannot keep the function.
    """
    decoder: AttentionDecoder = attention.decoder
    if any(gate.output_transform is not None for gate in decoder.gates):
        raise ValueError(
            "the gates have an output transform, whose normalisation cannot keep the plain "
            "network's function; build them with output_transform=False"
        )
    try:
        fit = attention.load_state_dict(plain_weights, strict=False)
    except RuntimeError as error:  # shapes
        raise ValueError(_last_line(error)) from error
    missing = [name for name in fit.missing_keys if not name.startswith("decoder.gates.")]
    if missing or fit.unexpected_keys:
        raise ValueError(
            f"missing are {_examples(missing)}; unknown are {_examples(fit.unexpected_keys)}"
        )
    for gate, stage in zip(decoder.gates, decoder.stages, strict=False):
        gate.psi.weight.zero_()
        gate.psi.bias.fill_(START_BIAS)
        # The stage's input is (upsampled, skip). Its weight has several names in the state dict,
        # but is one tensor.
        stage.convs[0].conv.weight[:, -gate.skip_channels :].div_(START_COEFFICIENT)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()


def _examples(names: list[str]) -> str:
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
