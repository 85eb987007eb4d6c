"""Instance normalisation whose output is no view, so that activations in place copy nothing."""

import torch
from torch import Tensor, nn

from nnunet_attention.torch_modes import is_traced


def without_views(network: nn.Module) -> nn.Module:
    """Make a network's instance normalisations hand on tensors that are no views.

    torch computes instance normalisation as batch normalisation of another shape and returns a
    view of that. nnU-Net's activations overwrite it in place, and for what is written into a view
    the backward pass copies the whole gradient three times. Values and gradients stay the same to
    the last bit.

    Args:
        network: changed in place; normalisations of a class derived from torch's are left alone.

    Returns:
        The network.
    """
    for module in network.modules():
        # The same state under another class: whoever holds the module keeps it.
        module.__class__ = _WITHOUT_VIEWS.get(type(module), type(module))
    return network


class InstanceNorm2d(nn.InstanceNorm2d):
    """Normalises as torch's class does, with an output that is no view."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 as in torch
        """Normalise each channel of each case; (B, C, *S) in and out."""
        return _as_no_view(super().forward(input))


class InstanceNorm3d(nn.InstanceNorm3d):
    """Normalises as torch's class does, with an output that is no view."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 as in torch
        """Normalise each channel of each case; (B, C, *S) in and out."""
        return _as_no_view(super().forward(input))


_WITHOUT_VIEWS: dict[type[nn.Module], type[nn.Module]] = {
    nn.InstanceNorm2d: InstanceNorm2d,
    nn.InstanceNorm3d: InstanceNorm3d,
}


def _as_no_view(tensor: Tensor) -> Tensor:
    if is_traced():
        # Compiled code has no views that are written into.
        return tensor
    # Shares the memory, as a view does, without autograd's book-keeping of one. That is safe as
    # nobody else keeps the tensor: batch normalisation saves its input, not its output.
    return torch.ops.aten._unsafe_view(tensor, tensor.shape)
