"""The gates' arithmetic in the order that is fastest on a CPU; elsewhere it is torch's own."""

from itertools import product

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.grad import conv2d_weight, conv3d_weight
from torch.nn.modules.module import _has_any_global_hook

from nnunet_attention.torch_modes import is_autocast_on_cpu, is_traced

_CONVOLUTION = {4: nn.functional.conv2d, 5: nn.functional.conv3d}
_WEIGHT_GRADIENT = {4: conv2d_weight, 5: conv3d_weight}


def convolve(convolution: nn.Conv2d | nn.Conv3d, features: Tensor) -> Tensor:
    """Compute `convolution(features)` to the last bit; on a CPU the backward pass is faster.

    Args:
        convolution: one whose kernel equals its stride, without padding, so that windows do not
            overlap.
        features: (B, C, *S).

    Returns:
        (B, C', *(S // stride)).
    """
    if not _is_eager_on_cpu(features) or _has_hooks(convolution):
        return convolution(features)
    return WithoutOverlap.apply(features, convolution.weight, convolution.bias, convolution.stride)


def concatenate_product(upsampled: Tensor, skip: Tensor, coefficients: Tensor) -> Tensor:
    """Compute `torch.cat((upsampled, coefficients * skip), 1)` to the last bit.

    On a CPU the product is written straight into the result, and the backward pass needs only one
    buffer.

    Shape:
        - upsampled: (B, U, *S)
        - skip: (B, C, *S)
        - coefficients: (B, 1, *S)
        - returns: (B, U + C, *S)
    """
    if not _is_eager_on_cpu(skip):
        return torch.cat((upsampled, coefficients * skip), 1)
    return _ConcatenatedProduct.apply(upsampled, skip, coefficients)


def _is_eager_on_cpu(features: Tensor) -> bool:
    return features.device.type == "cpu" and not (is_traced() or is_autocast_on_cpu())


def _has_hooks(module: nn.Module) -> bool:
    """Tell whether something waits for the module to be called, such as pruning or a profiler."""
    # As in `Module.__call__`, where there is no public way to ask.
    return bool(
        module._forward_pre_hooks
        or module._forward_hooks
        or module._backward_pre_hooks
        or module._backward_hooks
        or _has_any_global_hook()
    )


class WithoutOverlap(Function):
    """A convolution whose kernel equals its stride.

    The gradient of the features is one product, spread over the windows.

    oneDNN's gradient has the channels last, and copying it takes longer than computing it.
    """

    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple):
        ctx.save_for_backward(features, weight)
        ctx.stride = stride
        return _CONVOLUTION[features.ndim](features, weight, bias, stride)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        features, weight = ctx.saved_tensors
        flat = gradient.flatten(2)
        feature_gradient = weight_gradient = bias_gradient = None
        if ctx.needs_input_grad[0]:
            # Not matmul: if the weight needs a gradient, it merges all cases into one product,
            # and copies that.
            transposed = weight.flatten(1).t().expand(len(features), -1, -1)
            feature_gradient = spread_over_windows(
                torch.bmm(transposed, flat), features, gradient.shape[2:], ctx.stride
            )
        if ctx.needs_input_grad[1]:
            weight_gradient = _gradient_of_weight(features, weight, gradient, ctx.stride)
        if ctx.needs_input_grad[2]:
            bias_gradient = flat.sum((0, 2))
        return feature_gradient, weight_gradient, bias_gradient, None


def spread_over_windows(
    products: Tensor, features: Tensor, grid: torch.Size, stride: tuple[int, ...]
) -> Tensor:
    """Put the values computed for each place of each window where they belong.

    Places that no window reaches, at the end of an odd axis, are zero.

    Args:
        products: (B, C * prod(stride), prod(grid)).
        features: (B, C, *S); only the shape is used.
        grid: number of windows along each axis of S.
        stride: size of a window.
    """
    if grid == features.shape[2:]:
        return products.view_as(features)
    products = products.view(*features.shape[:2], *stride, *grid)
    covered = [count * step for count, step in zip(grid, stride, strict=True)]
    whole = covered == list(features.shape[2:])
    spread = (torch.empty if whole else torch.zeros)(
        features.shape, dtype=products.dtype, device=products.device
    )
    # One place at a time, for all windows: a permuted copy of everything is slower.
    for place in product(*map(range, stride)):
        target = (slice(None), slice(None), *map(slice, place, covered, stride))
        source: tuple[slice | int, ...] = (slice(None), slice(None), *place)
        spread[target] = products[source]
    return spread


def _gradient_of_weight(
    features: Tensor, weight: Tensor, gradient: Tensor, stride: tuple
) -> Tensor:
    if gradient.shape[2:] == features.shape[2:]:
        products = torch.bmm(gradient.flatten(2), features.flatten(2).transpose(1, 2))
        return products.sum(0).view_as(weight)
    return _WEIGHT_GRADIENT[features.ndim](features, weight.shape, gradient, stride=stride)


class _ConcatenatedProduct(Function):
    @staticmethod
    def forward(ctx, upsampled: Tensor, skip: Tensor, coefficients: Tensor):
        ctx.save_for_backward(skip, coefficients)
        ctx.channels = channels = upsampled.shape[1]
        joined = skip.new_empty(len(skip), channels + skip.shape[1], *skip.shape[2:])
        joined[:, :channels] = upsampled
        torch.mul(skip, coefficients, out=joined[:, channels:])
        return joined

    @staticmethod
    def backward(ctx, gradient: Tensor):
        skip, coefficients = ctx.saved_tensors
        upsampled_gradient, product_gradient = gradient.tensor_split([ctx.channels], 1)
        # The same memory holds first one product, then the other.
        buffer = product_gradient * skip
        coefficient_gradient = buffer.sum(1, keepdim=True)
        if torch.is_grad_enabled():
            # With double differentiation, the first product must stay as it was.
            return upsampled_gradient, product_gradient * coefficients, coefficient_gradient
        return (
            upsampled_gradient,
            torch.mul(product_gradient, coefficients, out=buffer),
            coefficient_gradient,
        )
