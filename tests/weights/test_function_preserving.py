"""A network that starts from plain weights computes the same, and its gates learn."""

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plain_checkpoints import VARIANTS, network_of, plain_checkpoint, plans_of, random_image
from torch.nn.functional import cross_entropy

from nnunet_attention.networks import AttentionUNet
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import start_from_plain

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def seed():
    """How far a few steps move a gate depends on the weights that it starts with."""
    torch.manual_seed(0)


@pytest.fixture
def plain_weights(minimal_plans):
    return plain_checkpoint(minimal_plans)["network_weights"]


@pytest.fixture
def started(minimal_plans, plain_weights) -> AttentionUNet:
    network = network_of(AttentionUNetTrainer, minimal_plans, enable_deep_supervision=True)
    start_from_plain(network, plain_weights)
    return network


def backward(network, plans) -> None:
    """One step's gradients of a loss on all resolutions, towards random labels."""
    network.zero_grad()
    generator = torch.Generator().manual_seed(2)
    for logits in network(random_image(plans)):
        labels = torch.randint(0, 3, (1, *logits.shape[2:]), generator=generator)
        cross_entropy(logits, labels).backward(retain_graph=True)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize("gate_full_resolution", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_logits_are_those_of_the_plain_network(
    minimal_plans, variant, deep_supervision, gate_full_resolution, dtype, tolerance
):
    plans = plans_of(minimal_plans, variant)
    weights = plain_checkpoint(plans, dtype)["network_weights"]
    plain = network_of(nnUNetTrainer, plans, enable_deep_supervision=deep_supervision).to(dtype)
    plain.load_state_dict(weights)
    arguments = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arguments["gate_full_resolution"] = gate_full_resolution
    attention = network_of(AttentionUNetTrainer, plans, enable_deep_supervision=deep_supervision)
    attention.to(dtype)

    start_from_plain(attention, weights)

    image = random_image(plans, dtype)
    with torch.no_grad():
        wanted, found = plain.eval()(image), attention.eval()(image)
    stages = len(attention.decoder.stages)
    assert len(attention.decoder.gates) == (stages if gate_full_resolution else stages - 1)
    if not deep_supervision:
        wanted, found = [wanted], [found]
    assert len(found) == len(wanted) == (stages if deep_supervision else 1)
    for before, after in zip(wanted, found, strict=True):
        assert before.std() > 0.01
        assert (before - after).abs().max() <= tolerance


def test_every_coefficient_is_one_half(minimal_plans, started):
    with torch.no_grad():
        _, coefficients = started(random_image(minimal_plans), return_coefficients=True)
    assert [tuple(values.shape) for values in coefficients] == [(1, 1, 4, 4, 8)]
    torch.testing.assert_close(coefficients[0], torch.full((1, 1, 4, 4, 8), 0.5))


def test_the_skip_half_of_the_weight_is_doubled_once_under_all_its_names(started, plain_weights):
    # The gated skip has 6 channels, behind 6 upsampled ones.
    wanted = plain_weights["decoder.stages.0.convs.0.conv.weight"].clone()
    assert wanted.shape == (6, 12, 3, 3, 3)
    wanted[:, 6:] *= 2
    weights = started.state_dict()
    for name in ("conv", "all_modules.0"):
        assert torch.equal(weights[f"decoder.stages.0.convs.0.{name}.weight"], wanted)


def test_no_other_weight_changes(started, plain_weights):
    weights = started.state_dict()
    changed = {name for name, value in plain_weights.items() if not weights[name].equal(value)}
    assert changed == {
        "decoder.stages.0.convs.0.conv.weight",
        "decoder.stages.0.convs.0.all_modules.0.weight",
    }
    assert all(name.startswith("decoder.gates.") for name in weights.keys() - plain_weights.keys())


def test_the_given_weights_are_not_changed(minimal_plans, plain_weights):
    before = {name: value.clone() for name, value in plain_weights.items()}
    network = network_of(AttentionUNetTrainer, minimal_plans)
    start_from_plain(network, plain_weights)
    backward(network, minimal_plans)
    torch.optim.SGD(network.parameters(), lr=1.0).step()
    assert all(plain_weights[name].equal(value) for name, value in before.items())


def test_psi_has_a_gradient_in_the_first_step_and_the_others_in_the_second(minimal_plans, started):
    optimizer = torch.optim.SGD(started.parameters(), lr=0.01)
    (gate,) = started.decoder.gates

    backward(started, minimal_plans)
    assert gate.psi.weight.grad.abs().max() > 0
    assert gate.psi.bias.grad.abs().max() > 0
    assert gate.theta.weight.grad.abs().max() == 0
    optimizer.step()

    backward(started, minimal_plans)
    for name, parameter in gate.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_gates_move_within_a_few_steps(minimal_plans, started):
    before = {name: value.clone() for name, value in started.decoder.gates.state_dict().items()}
    optimizer = torch.optim.SGD(started.parameters(), lr=0.01, momentum=0.99, nesterov=True)
    for _ in range(3):
        backward(started, minimal_plans)
        optimizer.step()
    for name, value in started.decoder.gates.state_dict().items():
        assert not value.equal(before[name]), name
    with torch.no_grad():
        _, (coefficients,) = started(random_image(minimal_plans), return_coefficients=True)
    assert (coefficients - 0.5).abs().max() > 1e-4
    assert coefficients.std() > 0


def test_an_output_transform_is_refused(minimal_plans, plain_weights):
    arguments = minimal_plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arguments["output_transform"] = True
    with pytest.raises(ValueError, match="output_transform=False"):
        start_from_plain(network_of(AttentionUNetTrainer, minimal_plans), plain_weights)


def test_missing_and_unknown_names_are_refused(minimal_plans, plain_weights):
    network = network_of(AttentionUNetTrainer, minimal_plans)
    weights = dict(plain_weights)
    weights["other.bias"] = weights.pop("decoder.seg_layers.0.bias")
    with pytest.raises(
        ValueError, match=r"missing: decoder.seg_layers.0.bias; unknown: other.bias"
    ):
        start_from_plain(network, weights)


def test_another_shape_is_refused(minimal_plans, plain_weights):
    network = network_of(AttentionUNetTrainer, minimal_plans)
    weights = {**plain_weights, "decoder.seg_layers.0.bias": torch.zeros(7)}
    with pytest.raises(ValueError, match=r"decoder.seg_layers.0.bias.*torch.Size\(\[7\]\)"):
        start_from_plain(network, weights)
