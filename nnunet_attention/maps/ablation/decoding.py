"""Computes a patch's logits with each of several replacements, after one pass of the encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import Tensor, nn

from nnunet_attention.engines import BFloat16Network, EngineNetwork, Replaced, Replacements
from nnunet_attention.maps.ablation.replacing import Replacement, replace_attention
from nnunet_attention.networks.attention_decoder import encoder_and_decoder


def logits_of_variants(
    network: nn.Module, patch: Tensor, variants: Sequence[Replacements]
) -> Iterator[Tensor]:
    """Give the logits of a patch with each of several replacements.

    Args:
        network: a torch network, or one run by an engine that was asked to support replacement.
        patch: (1, C, *patch).
        variants: what is replaced in each variant.
    """
    if isinstance(network, EngineNetwork):
        yield from network.run_replaced(patch, variants)
        return
    decode = decoder_of(network, patch)
    for variant in variants:
        functions: Mapping[int, Replacement] = {
            number: _replacement(replaced) for number, replaced in variant.items()
        }
        with replace_attention(network, functions):
            yield decode()


def decoder_of(network: nn.Module, patch: Tensor) -> Callable[[], Tensor]:
    """Run the encoder, and return a function that runs the rest each time it is called.

    A network that is not made of an encoder and a decoder with all gates runs whole each time.
    """
    if isinstance(network, BFloat16Network):
        return _mixed_decoder_of(network, patch)
    parts = encoder_and_decoder(network)
    if parts is None:
        return lambda: network(patch)
    encoder, decoder = parts
    features = encoder(patch)
    return lambda: decoder(features)


def _mixed_decoder_of(network: BFloat16Network, patch: Tensor) -> Callable[[], Tensor]:
    with network.mixed():
        decode = decoder_of(network.network, patch)

    def mixed() -> Tensor:
        with network.mixed():
            return decode().float()

    return mixed


def _replacement(replaced: Replaced) -> Replacement:
    values = replaced.values
    return (lambda own: own * values) if replaced.multiplies else values
