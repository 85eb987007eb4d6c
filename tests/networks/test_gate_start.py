"""How gates start: with the plain network's function, open, or as any convolution."""

import copy
import math

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from plain_checkpoints import VARIANTS, network_of, plans_of, random_image
from shared_data import PLANS, needs, reference_configurations
from torch.nn.functional import cross_entropy

from nnunet_attention.files import read_json
from nnunet_attention.networks import build_attention_network
from nnunet_attention.plans.conversion import converted_plans
from nnunet_attention.trainers import AttentionUNetTrainer

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(trainer, plans, seed=3, dtype=torch.float64, deep_supervision=True):
    torch.manual_seed(seed)
    return network_of(trainer, plans, enable_deep_supervision=deep_supervision).to(dtype)


def largest_difference(first, second) -> float:
    first, second = ([one] if torch.is_tensor(one) else one for one in (first, second))
    return max((a - b).abs().max().item() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize("gate_full_resolution", [False, True])
def test_before_the_first_step_stock_and_attention_network_compute_the_same(
    minimal_plans, variant, deep_supervision, gate_full_resolution
):
    plans = plans_of(minimal_plans, variant)
    plain = seeded(nnUNetTrainer, plans, deep_supervision=deep_supervision)
    gated_plans = converted_plans(
        plans, "GatedPlans", gate_full_resolution=gate_full_resolution, gate_start="identity"
    )
    image = random_image(plans, torch.float64)
    with torch.no_grad():
        expected = plain(image)
        for trainer in (AttentionUNetTrainer, nnUNetTrainer):
            gated = seeded(trainer, gated_plans, deep_supervision=deep_supervision)
            skips = len(plain.decoder.stages)
            assert len(gated.decoder.gates) == (skips if gate_full_resolution else skips - 1)
            assert largest_difference(gated(image), expected) == 0


def test_identity_is_the_default_with_plans_that_name_no_start(minimal_plans):
    plain = seeded(nnUNetTrainer, minimal_plans)
    gated = seeded(AttentionUNetTrainer, minimal_plans)
    assert gated.decoder.gate_start == "identity"
    image = random_image(minimal_plans, torch.float64)
    with torch.no_grad():
        assert largest_difference(gated(image), plain(image)) == 0


def _smaller(architecture: dict) -> dict:
    """An eighth of the channels."""
    architecture = copy.deepcopy(architecture)
    arguments = architecture["arch_kwargs"]
    arguments["features_per_stage"] = [max(4, n // 8) for n in arguments["features_per_stage"]]
    return architecture


def _distinct_small_architectures():
    """Of every configuration of the reference plans, with inputs and heads; each once."""
    distinct = {}
    for path, name in reference_configurations():
        plans, dataset = PlansManager(read_json(path)), read_json(path.parent / "dataset.json")
        configuration = plans.get_configuration(name)
        inputs = determine_num_input_channels(plans, configuration, dataset)
        heads = plans.get_label_manager(dataset).num_segmentation_heads
        architecture = _smaller(configuration.configuration["architecture"])
        distinct.setdefault(repr((architecture, inputs, heads)), (architecture, inputs, heads))
    return list(distinct.values())


@needs(PLANS)
@pytest.mark.slow
def test_on_every_reference_configuration_the_difference_is_zero():
    found = _distinct_small_architectures()
    assert len(found) == 47
    for architecture, inputs, heads in found:
        configuration = ConfigurationManager({"architecture": architecture})
        # The smallest patch that the strides divide, twice in the last axis: an instance norm
        # needs two voxels.
        size = np.prod(architecture["arch_kwargs"]["strides"], axis=0).tolist()
        size[-1] *= 2
        image = torch.randn(1, inputs, *size, dtype=torch.float64)
        torch.manual_seed(0)
        gated = build_attention_network(configuration, inputs, heads).double()
        torch.manual_seed(0)
        plain = get_network_from_plans(
            architecture["network_class_name"],
            architecture["arch_kwargs"],
            architecture["_kw_requires_import"],
            inputs,
            heads,
            deep_supervision=True,
        ).double()
        with torch.no_grad():
            assert largest_difference(gated(image), plain(image)) == 0, architecture


@pytest.mark.parametrize(("start", "expected"), [("identity", 0.5), ("open", 0.952574126822433)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_coefficient_starts_with_the_same_number(minimal_plans, variant, start, expected):
    plans = converted_plans(plans_of(minimal_plans, variant), "GatedPlans", gate_start=start)
    network = seeded(nnUNetTrainer, plans)
    with torch.no_grad():
        _, maps = network(random_image(plans, torch.float64), return_coefficients=True)
    assert sum(coefficients.numel() for coefficients in maps) > 20
    for coefficients in maps:
        assert (coefficients - expected).abs().max() < 1e-6


def test_he_leaves_what_every_convolution_gets(minimal_plans):
    plans = converted_plans(minimal_plans, "GatedPlans", gate_start="he")
    weights = seeded(nnUNetTrainer, plans).state_dict()
    psi = weights["decoder.gates.0.psi.weight"]
    # He's initialisation with slope 0.01 for 3 inputs: a standard deviation of about sqrt(2 / 3).
    assert psi.numel() == 3
    assert 0.05 < psi.abs().max() < 4
    assert (weights["decoder.gates.0.psi.bias"] == 0).all()
    plain = seeded(nnUNetTrainer, minimal_plans).state_dict()
    assert all(torch.equal(weights[name], value) for name, value in plain.items())


def _doubled(network) -> dict[str, int]:
    """Names of the convolutions that gated skips go into, with the upsampled channels of each."""
    return {
        f"decoder.stages.{number}.convs.0.{layer}.weight": gate.skip_channels
        for number, gate in enumerate(network.decoder.gates)
        for layer in ("conv", "all_modules.0")
    }


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("start", ["identity", "open", "he"])
def test_plain_weights_are_those_of_the_seed_but_for_the_doubled_ones(
    minimal_plans, variant, start
):
    plans = plans_of(minimal_plans, variant)
    plain = seeded(nnUNetTrainer, plans).state_dict()
    network = seeded(nnUNetTrainer, converted_plans(plans, "GatedPlans", gate_start=start))
    gated = network.state_dict()
    changed = {name for name, value in plain.items() if not torch.equal(gated[name], value)}
    doubled = _doubled(network)
    assert changed == (doubled.keys() if start == "identity" else set())
    for name in changed:
        # As many upsampled channels as the skip has stand before it.
        assert gated[name].shape[1] == 2 * doubled[name]
        upsampled, skip = gated[name].chunk(2, 1)
        plain_upsampled, plain_skip = plain[name].chunk(2, 1)
        assert torch.equal(upsampled, plain_upsampled)
        assert torch.equal(skip, 2 * plain_skip)


def test_with_an_output_transform_gates_start_as_a_half_and_nothing_is_doubled(minimal_plans):
    def network(start):
        plans = converted_plans(
            minimal_plans, "GatedPlans", output_transform=True, gate_start=start
        )
        return seeded(nnUNetTrainer, plans)

    identity, he = network("identity"), network("he").state_dict()
    for name, value in identity.state_dict().items():
        if name.startswith("decoder.gates.0.psi."):
            assert not value.any()
        else:
            assert torch.equal(value, he[name])
    with torch.no_grad():
        _, (coefficients,) = identity(
            random_image(minimal_plans, torch.float64), return_coefficients=True
        )
    assert (coefficients == 0.5).all()


def step(network, plans, learning_rate=1e-2) -> dict[str, torch.Tensor]:
    """One step of SGD towards random labels; returns the gradients that it followed."""
    network.zero_grad()
    generator = torch.Generator().manual_seed(2)
    loss = 0
    for logits in network(random_image(plans, torch.float64)):
        labels = torch.randint(0, 3, (1, *logits.shape[2:]), generator=generator)
        loss = loss + cross_entropy(logits, labels)
    loss.backward()
    torch.optim.SGD(network.parameters(), learning_rate).step()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("start", ["identity", "open"])
def test_psi_learns_in_the_first_step_theta_and_phi_in_the_second(minimal_plans, variant, start):
    plans = converted_plans(plans_of(minimal_plans, variant), "GatedPlans", gate_start=start)
    network = seeded(nnUNetTrainer, plans)
    first, second = step(network, plans), step(network, plans)
    for number in range(len(network.decoder.gates)):
        gate = f"decoder.gates.{number}."
        for name in ("psi.weight", "psi.bias"):
            assert first[gate + name].abs().max() > 0
        for name in ("theta.weight", "phi.weight", "phi.bias"):
            assert not first[gate + name].any()
            assert second[gate + name].abs().max() > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_in_the_first_step_only_the_doubled_weights_move_otherwise_than_stocks(
    minimal_plans, variant
):
    """What the network computes moves with a quarter of stock's step in the doubled weights.

    With w' = 2 w and x' = x / 2 the gradient of w' is half that of w, and w = w' / 2 moves by half
    of that.
    """
    plans = plans_of(minimal_plans, variant)
    plain = seeded(nnUNetTrainer, plans)
    gated = seeded(AttentionUNetTrainer, plans)
    before = copy.deepcopy(plain.state_dict())
    step(plain, plans)
    step(gated, plans)
    after_plain, after_gated = plain.state_dict(), gated.state_dict()
    doubled = _doubled(gated)
    compared = 0
    for name, value in after_plain.items():
        moved, moved_gated = value - before[name], after_gated[name] - before[name]
        if name in doubled:
            skip = slice(doubled[name], None)
            moved_gated[:, skip] = after_gated[name][:, skip] / 2 - before[name][:, skip]
            moved[:, skip] /= 4
        torch.testing.assert_close(moved_gated, moved, rtol=1e-9, atol=1e-14)
        compared += bool(moved.any())
    assert compared > 10


def test_a_start_that_does_not_exist_is_refused(minimal_plans):
    with pytest.raises(ValueError, match="gate_start is 'shut'; choose one of identity, open, he"):
        converted_plans(minimal_plans, "GatedPlans", gate_start="shut")


def test_the_expected_number_of_open_is_the_sigmoid_of_three():
    assert math.isclose(1 / (1 + math.exp(-3)), 0.952574126822433)
