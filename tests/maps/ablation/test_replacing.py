"""Coefficients are replaced in any forward pass, and only inside the block."""

import pytest
import torch
from distractor_network import DistractorNetwork
from torch import nn

from nnunet_attention import AttentionUNet, record_attention
from nnunet_attention.maps import NoAttentionGatesError
from nnunet_attention.maps.ablation import REPLACEMENTS, UnknownGateError, replace_attention

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = {"2d": (8, 16), "3d": (8, 8, 16), "anisotropic": (4, 8, 16)}
STRIDES = {
    "2d": [(1, 1), (2, 2), (2, 2)],
    "3d": [(1, 1, 1), (2, 2, 2), (2, 2, 2)],
    "anisotropic": [(1, 1, 1), (1, 2, 2), (2, 2, 2)],
}


def network(kind: str, gate_start: str = "he", **options) -> AttentionUNet:
    torch.manual_seed(0)
    dimensions = len(SHAPES[kind])
    return AttentionUNet(
        input_channels=1,
        n_stages=3,
        features_per_stage=[2, 4, 6],
        conv_op=nn.Conv2d if dimensions == 2 else nn.Conv3d,
        kernel_sizes=3,
        strides=STRIDES[kind],
        n_conv_per_stage=1,
        num_classes=2,
        n_conv_per_stage_decoder=1,
        conv_bias=True,
        norm_op=nn.InstanceNorm2d if dimensions == 2 else nn.InstanceNorm3d,
        norm_op_kwargs={"affine": True},
        nonlin=nn.LeakyReLU,
        gate_full_resolution=True,
        gate_start=gate_start,
        **options,
    ).eval()


def images(kind: str, count: int = 3) -> torch.Tensor:
    return torch.randn(count, 1, *SHAPES[kind], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(("bias", "changing"), [(0.0, {"open", "zero"}), (30.0, {"zero"})])
def test_where_all_coefficients_are_equal_only_other_numbers_change_anything(kind, bias, changing):
    """psi's weight 0: with the bias 30 a coefficient is exactly 1, and opening changes nothing."""
    tested = network(kind, "identity")
    for gate in tested.decoder.gates:
        nn.init.constant_(gate.psi.bias, bias)
    x = images(kind)
    wanted = tested(x)
    for name in REPLACEMENTS:
        with replace_attention(tested, {0: name, 1: name}):
            assert tested(x).equal(wanted) == (name not in changing), name


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("options", [{}, {"output_transform": True}], ids=["plain", "transformed"])
def test_what_is_given_takes_the_place_of_the_coefficients(kind, options):
    tested, x = network(kind, **options), images(kind)
    with record_attention(tested) as ordinary:
        logits = tested(x)
    coefficients = [alpha.clone() for alpha in ordinary.values()]
    with replace_attention(tested, dict(enumerate(coefficients))):
        assert tested(x).equal(logits)
    given = torch.rand(coefficients[1].shape[1:], generator=torch.Generator().manual_seed(2))
    replacements = {1: given, 0: lambda own: own * 0.5}
    with replace_attention(tested, replacements), record_attention(tested) as replaced:
        assert not tested(x).equal(logits)
    assert replaced["gate_1"].equal(given.expand_as(coefficients[1]))
    assert replaced["gate_0"].equal(coefficients[0] * 0.5)
    assert tested(x).equal(logits)


@pytest.mark.parametrize("kind", SHAPES)
def test_names_mean_what_they_say(kind):
    tested, x = network(kind), images(kind)
    with record_attention(tested) as ordinary:
        tested(x)
    own = ordinary["gate_0"]
    found = {}
    for name in REPLACEMENTS:
        with replace_attention(tested, {0: name}), record_attention(tested) as replaced:
            tested(x)
        found[name] = replaced["gate_0"]
        assert found[name].shape == own.shape
    assert (found["open"] == 1).all()
    assert (found["zero"] == 0).all()
    for image in range(3):
        mean = torch.full_like(own[image], own[image].double().mean())
        torch.testing.assert_close(found["mean"][image], mean)
        uniform = torch.full_like(own[image], own.double().mean())
        torch.testing.assert_close(found["uniform"][image], uniform)
        assert found["other_case"][image].equal(own[(image + 1) % 3])
        values, shuffled = own[image].flatten(), found["shuffled"][image].flatten()
        assert not shuffled.equal(values)
        assert shuffled.sort().values.equal(values.sort().values)


def test_the_distractor_comes_back_where_the_gate_is_opened():
    tested = DistractorNetwork()
    # Organ, distractor, neither.
    x = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]).view(1, 2, 1, 1, 3)
    assert tested(x).argmax(1).flatten().tolist() == [1, 0, 0]
    wanted = {"open": [1, 1, 0], "zero": [0, 0, 0], "mean": [1, 1, 0]}
    for name, labels in wanted.items():
        with replace_attention(tested, {0: name}):
            assert tested(x).argmax(1).flatten().tolist() == labels


def test_a_replacement_within_another_ends_first():
    tested, x = network("2d"), images("2d")
    with replace_attention(tested, {0: 0.25}):
        doubled = replace_attention(tested, {0: lambda own: own * 2})
        with doubled, record_attention(tested) as inner:
            tested(x)
        with record_attention(tested) as outer:
            tested(x)
    assert (inner["gate_0"] == 0.5).all()
    assert (outer["gate_0"] == 0.25).all()
    assert "attend" not in vars(tested.decoder.gates[0])


def test_an_error_inside_the_block_ends_the_replacement():
    tested, x = network("2d"), images("2d")
    wanted = tested(x)
    with pytest.raises(ZeroDivisionError), replace_attention(tested, {0: "zero"}):
        raise ZeroDivisionError
    assert tested(x).equal(wanted)


def test_what_is_not_there_is_refused():
    tested = network("2d")
    unknown = [
        (UnknownGateError, "gate 2: the network has the gates 0 to 1", tested, {2: "open"}),
        (ValueError, "'closed': choose from open, mean, shuffled", tested, {0: "closed"}),
        (NoAttentionGatesError, "no attention gates", nn.Conv2d(1, 1, 1), {0: "open"}),
    ]
    for error, message, network_of, replacements in unknown:
        with pytest.raises(error, match=message), replace_attention(network_of, replacements):
            pass
    alone = pytest.raises(ValueError, match="the batch has one image")
    with replace_attention(tested, {0: "other_case"}), alone:
        tested(images("2d", 1))
