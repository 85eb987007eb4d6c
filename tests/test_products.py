"""The backward pass in matrix products against torch's own, and what it must not be used for."""

import pytest
import torch
from torch import nn

from nnunet_attention import products
from nnunet_attention.products import concatenate_product, convolve, spread_over_windows

CASES = {
    "3d": (nn.Conv3d, (4, 6, 2), (2, 2, 2), False),
    "3d anisotropic": (nn.Conv3d, (2, 4, 6), (1, 2, 3), False),
    "3d odd": (nn.Conv3d, (3, 5, 2), (2, 2, 2), False),
    "3d pointwise with bias": (nn.Conv3d, (2, 3, 4), (1, 1, 1), True),
    "3d strided with bias": (nn.Conv3d, (2, 4, 6), (1, 2, 2), True),
    "2d": (nn.Conv2d, (6, 4), (2, 2), False),
    "2d odd, anisotropic": (nn.Conv2d, (5, 7), (1, 2), False),
    "2d pointwise with bias": (nn.Conv2d, (4, 5), (1, 1), True),
}


def layer_and_features(conv_op, size, stride, bias, dtype=torch.float64):
    torch.manual_seed(0)
    layer = conv_op(3, 2, stride, stride, bias=bias).to(dtype)
    return layer, torch.randn(2, 3, *size, dtype=dtype, requires_grad=True)


def gradients(ours, theirs, inputs):
    """Pairs of the inputs' gradients, of one random weighting of both results."""
    weights = torch.randn_like(theirs)
    found = (torch.autograd.grad((one * weights).sum(), inputs) for one in (ours, theirs))
    return list(zip(*found, strict=True))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_are_torchs_to_the_last_bit_and_gradients_within_rounding(case, dtype):
    layer, features = layer_and_features(*case, dtype)
    inputs = [features, *layer.parameters()]
    ours, theirs = convolve(layer, features), layer(features)
    assert torch.equal(ours, theirs)
    for one, other in gradients(ours, theirs, inputs):
        torch.testing.assert_close(one, other)
        assert one.stride() == other.stride()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_first_and_second_derivatives_equal_central_differences(case):
    layer, features = layer_and_features(*case)

    def function(features, *parameters):
        named = dict(zip(dict(layer.named_parameters()), parameters, strict=True))
        return products.WithoutOverlap.apply(
            features, named["weight"], named.get("bias"), layer.stride
        )

    inputs = (features, *layer.parameters())
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_what_no_window_reaches_gets_no_gradient():
    layer, features = layer_and_features(nn.Conv3d, (3, 4, 7), (2, 2, 2), False)
    convolve(layer, features).sum().backward()
    assert (features.grad[:, :, 2:] == 0).all()
    assert (features.grad[..., 6:] == 0).all()
    assert (features.grad[:, :, :2, :, :6] != 0).all()


def test_gradients_that_nobody_asks_for_are_not_computed(monkeypatch):
    layer, features = layer_and_features(nn.Conv3d, (3, 4, 6), (1, 2, 2), False)
    called = []
    monkeypatch.setattr(products, "spread_over_windows", lambda *_: called.append("features"))
    monkeypatch.setattr(products, "_gradient_of_weight", lambda *_: called.append("weight"))
    convolve(layer, features.detach()).sum().backward()
    assert called == ["weight"]


def test_products_are_spread_place_by_place():
    # One channel, windows of 1 x 2 x 3 on a grid of 1 x 2 x 1; the last slice along z is beyond.
    like = torch.zeros(1, 1, 1, 5, 3)
    numbers = torch.arange(12.0).view(1, 6, 2)
    spread = spread_over_windows(numbers, like, torch.Size((1, 2, 1)), (1, 2, 3))
    assert spread[0, 0, 0].tolist() == [[0, 2, 4], [6, 8, 10], [1, 3, 5], [7, 9, 11], [0, 0, 0]]


@pytest.mark.parametrize(("name", "answer"), [("is_traced", True), ("is_autocast_on_cpu", True)])
def test_torchs_own_is_used_where_traced_or_in_mixed_precision(monkeypatch, name, answer):
    layer, features = layer_and_features(nn.Conv3d, (3, 4, 6), (1, 2, 2), False)
    assert convolve(layer, features).grad_fn.name() == "WithoutOverlapBackward"
    monkeypatch.setattr(products, name, lambda: answer)
    assert convolve(layer, features).grad_fn.name() == "ConvolutionBackward0"


def test_mixed_precision_and_compilation_are_noticed():
    layer, features = layer_and_features(nn.Conv3d, (3, 4, 6), (1, 2, 2), False, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert convolve(layer, features).dtype == torch.bfloat16
    torch._dynamo.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compile(lambda one: convolve(layer, one), backend=backend, fullgraph=True)(features)
    called = {str(node.target) for node in graphs[0].graph.nodes}
    assert any("conv3d" in one for one in called)
    assert not any("autograd" in one.lower() or "Overlap" in one for one in called)


def test_an_old_torch_is_asked_in_its_own_way(monkeypatch):
    from nnunet_attention import torch_modes

    def old():
        return False

    monkeypatch.setattr(torch, "is_autocast_enabled", old)
    monkeypatch.setattr(torch, "is_autocast_cpu_enabled", lambda: True)
    assert torch_modes.is_autocast_on_cpu() is True


@pytest.mark.parametrize("size", [(3, 4), (2, 3, 4)], ids=["2d", "3d"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_product_in_its_place_is_product_and_concatenation(size, dtype):
    torch.manual_seed(0)
    inputs = [
        torch.randn(2, channels, *size, dtype=dtype, requires_grad=True) for channels in (5, 3, 1)
    ]
    upsampled, skip, coefficients = inputs
    ours = concatenate_product(*inputs)
    theirs = torch.cat((upsampled, coefficients * skip), 1)
    assert torch.equal(ours, theirs)
    for one, other in gradients(ours, theirs, inputs):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        assert torch.equal(concatenate_product(*inputs), theirs)


def test_a_product_in_its_place_can_be_differentiated_twice():
    torch.manual_seed(0)
    inputs = [
        torch.randn(2, channels, 2, 3, dtype=torch.float64, requires_grad=True)
        for channels in (2, 3, 1)
    ]
    assert torch.autograd.gradcheck(concatenate_product, inputs)
    assert torch.autograd.gradgradcheck(concatenate_product, inputs)


@pytest.mark.parametrize("kind", ["forward", "forward_pre", "full_backward"])
def test_a_hook_on_a_convolution_of_a_gate_is_called(kind):
    convolution = nn.Conv3d(2, 3, (1, 2, 2), (1, 2, 2))
    features = torch.randn(1, 2, 2, 4, 6, requires_grad=True)
    usual = convolve(convolution, features)
    called = []
    getattr(convolution, f"register_{kind}_hook")(lambda *_: called.append(kind))
    output = convolve(convolution, features)
    output.sum().backward()
    assert called == [kind]
    assert torch.equal(output, usual)
