"""Instance normalisation whose output is not a view, so that in-place activations copy nothing."""

import torch
from torch import Tensor, nn

from nnunet_attention.torch_modes import is_traced


def without_views(network: nn.Module) -> nn.Module:
    """Make a network's instance normalisations return tensors that are not views.

    torch computes instance normalisation as batch normalisation in another shape and returns a
    view of the result. nnU-Net's activations overwrite this view in place, and after a write into
    a view the backward pass copies the whole gradient three times. Values and gradients stay the
    same to the last bit.

    Args:
        network: changed in place; normalisations whose class is derived from torch's are left
            alone.

    Returns:
        The network.
    """
    for module in network.modules():
        # Only the class changes, so that existing references to the module stay valid.
        module.__class__ = _WITHOUT_VIEWS.get(type(module), type(module))
    return network


class InstanceNorm2d(nn.InstanceNorm2d):
    """Normalises as torch's class does, with an output that is not a view."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 as in torch
        """Normalise each channel of each case; (B, C, *S) in and out."""
        return _as_no_view(super().forward(input))


class InstanceNorm3d(nn.InstanceNorm3d):
    """Normalises as torch's class does, with an output that is not a view."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 as in torch
        """Normalise each channel of each case; (B, C, *S) in and out."""
        return _as_no_view(super().forward(input))


_WITHOUT_VIEWS: dict[type[nn.Module], type[nn.Module]] = {
    nn.InstanceNorm2d: InstanceNorm2d,
    nn.InstanceNorm3d: InstanceNorm3d,
}


def _as_no_view(tensor: Tensor) -> Tensor:
    if is_traced():
        # Compiled code does not write into views.
        return tensor
    # The result shares the memory, as a view does, without autograd's book-keeping for views. This
    # is safe as nothing else keeps the tensor: batch normalisation saves its input, not its output.
    return torch.ops.aten._unsafe_view(tensor, tensor.shape)
