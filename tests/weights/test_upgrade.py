"""Plain checkpoints become attention checkpoints that compute the same, or are refused."""

import logging
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.network_architecture.nnUNetTrainerBN import (
    nnUNetTrainerBN,
)
from plain_checkpoints import VARIANTS, network_of, plain_checkpoint, plans_of, random_image

from nnunet_attention.errors import CommandError
from nnunet_attention.networks import AttentionUNet
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import (
    load_checkpoint,
    plans_with_full_resolution_gate,
    upgrade_checkpoint,
    upgrade_checkpoint_file,
)

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN_PATH = "dynamic_network_architectures.architectures.unet.PlainConvUNet"


def architecture_of(plans: dict) -> dict:
    return plans["configurations"]["3d_fullres"]["architecture"]


@pytest.fixture
def checkpoint(minimal_plans) -> dict:
    return plain_checkpoint(minimal_plans)


def logits_of(trainer: type[nnUNetTrainer], checkpoint: dict) -> torch.Tensor:
    """As nnU-Net predicts: the network that the trainer builds from the checkpoint's plans."""
    plans, weights = checkpoint["init_args"]["plans"], checkpoint["network_weights"]
    dtype = weights["decoder.seg_layers.0.bias"].dtype
    network = network_of(trainer, plans, enable_deep_supervision=False).to(dtype).eval()
    network.load_state_dict(weights)
    with torch.no_grad():
        return network(random_image(plans, dtype))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("dtype", "tolerance", "gate_full_resolution"),
    [(torch.float32, 1e-4, False), (torch.float32, 1e-4, True), (torch.float64, 1e-10, True)],
)
def test_the_trainer_of_the_upgraded_checkpoint_predicts_the_same_logits(
    minimal_plans, variant, dtype, tolerance, gate_full_resolution
):
    checkpoint = plain_checkpoint(plans_of(minimal_plans, variant), dtype)
    upgraded, difference = upgrade_checkpoint(checkpoint, gate_full_resolution=gate_full_resolution)
    assert {value.dtype for value in upgraded["network_weights"].values()} == {dtype}
    wanted = logits_of(nnUNetTrainer, checkpoint)
    assert wanted.std() > 0.01
    assert (logits_of(AttentionUNetTrainer, upgraded) - wanted).abs().max() <= tolerance
    assert difference <= tolerance


def test_half_precision_stays_half_precision(minimal_plans):
    checkpoint = plain_checkpoint(minimal_plans, torch.bfloat16)
    upgraded, difference = upgrade_checkpoint(checkpoint)
    assert {value.dtype for value in upgraded["network_weights"].values()} == {torch.bfloat16}
    assert difference <= 1e-4


def test_all_else_is_kept_and_the_trainer_is_ours(checkpoint):
    upgraded = upgrade_checkpoint(checkpoint).checkpoint
    assert upgraded["trainer_name"] == "AttentionUNetTrainer"
    assert upgraded.keys() == checkpoint.keys()
    for name in checkpoint.keys() - {"network_weights", "trainer_name", "optimizer_state"}:
        assert upgraded[name] == checkpoint[name]


def test_the_checkpoint_given_is_not_changed(checkpoint):
    before = deepcopy(checkpoint)
    upgrade_checkpoint(checkpoint, gate_full_resolution=True)
    weights = before.pop("network_weights")
    assert all(value.equal(checkpoint["network_weights"][name]) for name, value in weights.items())
    assert before == {name: checkpoint[name] for name in before}


def test_upgrading_is_reproducible_and_leaves_the_random_numbers_alone(checkpoint):
    state = torch.get_rng_state()
    first = upgrade_checkpoint(checkpoint).checkpoint["network_weights"]
    assert torch.get_rng_state().equal(state)
    torch.manual_seed(7)
    second = upgrade_checkpoint(checkpoint).checkpoint["network_weights"]
    assert all(first[name].equal(value) for name, value in second.items())
    torch.set_rng_state(state)


def test_theta_and_phi_are_initialised_as_nnunet_does(checkpoint):
    weights = upgrade_checkpoint(checkpoint).checkpoint["network_weights"]
    theta, phi = (weights[f"decoder.gates.0.{name}.weight"] for name in ("theta", "phi"))
    # He with slope 0.01: the variance is 2 / (1 + 1e-4) over the inputs of one output, 6 channels
    # in 8 places of the stride (2, 2, 2), and 8 channels. Small samples, hence the wide bounds.
    assert 0.7 < theta.std() / (2 / 48) ** 0.5 < 1.3
    assert 0.5 < phi.std() / (2 / 8) ** 0.5 < 1.5
    assert weights["decoder.gates.0.phi.bias"].abs().max() == 0


def test_the_optimizer_state_fits_the_attention_trainers_optimizer(checkpoint, minimal_plans):
    upgraded = upgrade_checkpoint(checkpoint).checkpoint
    network = network_of(AttentionUNetTrainer, minimal_plans)
    network.load_state_dict(upgraded["network_weights"])
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.5, weight_decay=3e-5, momentum=0.99, nesterov=True
    )
    wanted = optimizer.state_dict()["param_groups"][0]
    optimizer.load_state_dict(upgraded["optimizer_state"])
    loaded = optimizer.state_dict()["param_groups"][0]
    assert {**loaded, "lr": 0.5} == wanted
    network(random_image(minimal_plans))[0].sum().backward()
    optimizer.step()


def test_the_plain_optimizer_state_would_not_fit(checkpoint, minimal_plans):
    optimizer = torch.optim.SGD(network_of(AttentionUNetTrainer, minimal_plans).parameters())
    with pytest.raises(ValueError, match="size of optimizer's group"):
        optimizer.load_state_dict(checkpoint["optimizer_state"])


@pytest.mark.filterwarnings("ignore")
def test_pretrained_weights_are_taken_by_nnunets_own_function(checkpoint, minimal_plans, tmp_path):
    path = tmp_path / "upgraded.pth"
    upgraded = upgrade_checkpoint(checkpoint).checkpoint
    torch.save(upgraded, path)
    network = network_of(AttentionUNetTrainer, minimal_plans)
    load_pretrained_weights(network, str(path))
    for name, value in network.state_dict().items():
        # nnU-Net starts the segmentation layers afresh.
        assert ".seg_layers." in name or value.equal(upgraded["network_weights"][name]), name


def test_plain_weights_are_refused_by_nnunet_without_upgrade(checkpoint, minimal_plans, tmp_path):
    torch.save(checkpoint, tmp_path / "plain.pth")
    with pytest.raises(AssertionError, match=r"decoder\.gates"):
        load_pretrained_weights(
            network_of(AttentionUNetTrainer, minimal_plans), str(tmp_path / "plain.pth")
        )


def test_plans_stay_as_they_are_without_options(checkpoint):
    upgraded = upgrade_checkpoint(checkpoint).checkpoint
    assert architecture_of(upgraded["init_args"]["plans"])["network_class_name"] == PLAIN_PATH


def test_the_option_is_recorded_in_the_plans(checkpoint):
    upgraded = upgrade_checkpoint(checkpoint, gate_full_resolution=True).checkpoint
    architecture = architecture_of(upgraded["init_args"]["plans"])
    assert architecture["network_class_name"] == "nnunet_attention.networks.AttentionUNet"
    assert architecture["arch_kwargs"]["gate_full_resolution"] is True


def test_an_upgraded_network_with_the_option_needs_no_trainer_of_ours(checkpoint):
    upgraded = upgrade_checkpoint(checkpoint, gate_full_resolution=True).checkpoint
    wanted = logits_of(nnUNetTrainer, checkpoint)
    assert (logits_of(nnUNetTrainer, upgraded) - wanted).abs().max() <= 1e-4


def test_the_option_goes_to_the_configuration_that_inherits(minimal_plans):
    minimal_plans["configurations"]["small_batch"] = {
        "inherits_from": "3d_fullres",
        "batch_size": 1,
    }
    before = deepcopy(minimal_plans)
    plans = plans_with_full_resolution_gate(minimal_plans, "small_batch")
    assert minimal_plans == before
    assert architecture_of(plans) == architecture_of(before)
    architecture = plans["configurations"]["small_batch"]["architecture"]
    assert architecture["network_class_name"] == "nnunet_attention.networks.AttentionUNet"
    assert architecture["arch_kwargs"]["strides"] == [[1, 1, 1], [1, 2, 2], [2, 2, 2]]


def test_plans_from_before_nnunet_2_4_are_understood(minimal_plans):
    old = deepcopy(minimal_plans)
    configuration = old["configurations"]["3d_fullres"]
    arguments = configuration.pop("architecture")["arch_kwargs"]
    configuration.update(
        UNet_class_name="PlainConvUNet",
        UNet_base_num_features=4,
        unet_max_num_features=8,
        num_pool_per_axis=[1, 2, 2],
        pool_op_kernel_sizes=arguments["strides"],
        conv_kernel_sizes=arguments["kernel_sizes"],
        n_conv_per_stage_encoder=arguments["n_conv_per_stage"],
        n_conv_per_stage_decoder=arguments["n_conv_per_stage_decoder"],
    )
    architecture_of(minimal_plans)["arch_kwargs"]["features_per_stage"] = [4, 8, 8]
    checkpoint = plain_checkpoint(minimal_plans)
    checkpoint["init_args"]["plans"] = old
    wanted = upgrade_checkpoint(plain_checkpoint(minimal_plans)).checkpoint["network_weights"]
    for option in (False, True):
        weights = upgrade_checkpoint(checkpoint, gate_full_resolution=option).checkpoint[
            "network_weights"
        ]
        assert weights["decoder.gates.0.psi.weight"].equal(wanted["decoder.gates.0.psi.weight"])
    assert "UNet_class_name" in configuration


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_the_prefixes_of_distributed_and_compiled_networks_are_dropped(checkpoint, prefix):
    wanted = upgrade_checkpoint(checkpoint).checkpoint["network_weights"]
    checkpoint["network_weights"] = {
        f"{prefix}{name}": value for name, value in checkpoint["network_weights"].items()
    }
    found = upgrade_checkpoint(checkpoint).checkpoint["network_weights"]
    assert found.keys() == wanted.keys()


def test_a_cascade_counts_the_channels_of_the_previous_stage(minimal_plans):
    minimal_plans["configurations"]["3d_fullres"]["previous_stage"] = "3d_lowres"
    checkpoint = plain_checkpoint(minimal_plans)
    # The helper builds for the two images; the two labels of the previous stage come on top.
    first = checkpoint["network_weights"]["encoder.stages.0.0.convs.0.conv.weight"]
    widened = torch.cat((first, first), 1)
    for name, value in checkpoint["network_weights"].items():
        if value.shape == first.shape and ".stages.0.0.convs.0." in name and "encoder" in name:
            checkpoint["network_weights"][name] = widened
    assert upgrade_checkpoint(checkpoint).difference <= 1e-4


@pytest.mark.parametrize("option", [False, True])
def test_an_attention_checkpoint_is_refused(checkpoint, option):
    upgraded = upgrade_checkpoint(checkpoint, gate_full_resolution=option).checkpoint
    with pytest.raises(CommandError, match="already an attention checkpoint"):
        upgrade_checkpoint(upgraded)


def test_another_network_is_refused(checkpoint, minimal_plans):
    name = "dynamic_network_architectures.architectures.primus.Primus"
    architecture_of(minimal_plans)["network_class_name"] = name
    with pytest.raises(CommandError, match=r"the plans name the network .*Primus; attention gates"):
        upgrade_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("place", "name"),
    [("network_class_name", "os.system"), ("network_class_name", "evil.PlainConvUNet")],
)
def test_a_network_from_elsewhere_is_not_imported(checkpoint, minimal_plans, place, name):
    architecture_of(minimal_plans)[place] = name
    with pytest.raises(CommandError, match=f"{name}, which will not be imported"):
        upgrade_checkpoint(checkpoint)


@pytest.mark.parametrize("path", ["os.system", "torch.nn.modules.module.os.system", "torch.save"])
def test_hostile_plans_are_refused_and_not_executed(checkpoint, minimal_plans, tmp_path, path):
    marker = tmp_path / "executed"
    arguments = architecture_of(minimal_plans)["arch_kwargs"]
    arguments.update(nonlin=path, nonlin_kwargs={"command": f"echo > {marker}"})
    with pytest.raises(CommandError, match=f"the plans name {path} for nonlin"):
        upgrade_checkpoint(checkpoint)
    with pytest.raises(CommandError, match=f"the plans name {path} for nonlin"):
        plans_with_full_resolution_gate(minimal_plans, "3d_fullres")
    assert not marker.exists()


def test_the_hostile_plans_of_these_tests_would_be_executed(minimal_plans, tmp_path):
    marker = tmp_path / "executed"
    arguments = architecture_of(minimal_plans)["arch_kwargs"]
    arguments.update(nonlin="os.system", nonlin_kwargs={"command": f"echo > {marker}"})
    with pytest.raises(TypeError):
        network_of(nnUNetTrainer, minimal_plans)
    assert marker.exists()


def test_another_label_manager_is_refused(checkpoint, minimal_plans):
    minimal_plans["label_manager"] = "join"
    with pytest.raises(CommandError, match="'join' for label_manager"):
        upgrade_checkpoint(checkpoint)


def test_malformed_plans_are_refused(checkpoint):
    init_arguments = checkpoint["init_args"]
    for arguments, message in (
        ({"plans": {}}, "configuration '3d_fullres' cannot be read"),
        ({"configuration": "3d_lowres"}, "configuration '3d_lowres' cannot be read"),
        ({"dataset_json": {}}, r"dataset\.json: labels is missing"),
    ):
        with pytest.raises(CommandError, match=message):
            upgrade_checkpoint({**checkpoint, "init_args": {**init_arguments, **arguments}})


def test_a_network_without_a_skip_to_gate_is_refused(minimal_plans):
    arguments = architecture_of(minimal_plans)["arch_kwargs"]
    for name, value in arguments.items():
        if isinstance(value, list):
            arguments[name] = value[:-1]
    arguments["n_stages"] = 2
    checkpoint = plain_checkpoint(minimal_plans)
    with pytest.raises(CommandError, match="2 stages has no skip connection to gate"):
        upgrade_checkpoint(checkpoint)
    assert upgrade_checkpoint(checkpoint, gate_full_resolution=True).difference <= 1e-4


def test_weights_that_do_not_fit_the_plans_are_refused(checkpoint):
    weights = checkpoint["network_weights"]
    name = "decoder.seg_layers.1.bias"
    lacking = {key: value for key, value in weights.items() if key != name}
    for wrong, message in (
        (lacking, f"Missing key.*{name}"),
        ({**weights, "other": weights[name]}, "Unexpected key.*other"),
        ({**weights, name: torch.zeros(5)}, f"size mismatch for {name}"),
    ):
        with pytest.raises(CommandError, match=message) as caught:
            upgrade_checkpoint({**checkpoint, "network_weights": wrong})
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600


def test_a_trainer_that_builds_other_layers_is_refused(minimal_plans):
    checkpoint = plain_checkpoint(minimal_plans, trainer=nnUNetTrainerBN)
    with pytest.raises(CommandError, match="trainer nnUNetTrainerBN builds a network other"):
        upgrade_checkpoint(checkpoint)


class _OtherActivation(nnUNetTrainer):
    """Has the plain network's names and shapes, but not its function."""

    @staticmethod
    def build_network_architecture(*arguments, **options):
        network = nnUNetTrainer.build_network_architecture(*arguments, **options)
        for module in network.modules():
            if isinstance(module, torch.nn.LeakyReLU):
                module.negative_slope = 0.5
        return network


def test_a_trainer_whose_network_computes_something_else_is_refused(checkpoint, monkeypatch):
    monkeypatch.setattr(
        "nnunet_attention.weights.upgrade.find_trainer",
        lambda name: _OtherActivation,
    )
    with pytest.raises(CommandError, match="computes something else"):
        upgrade_checkpoint(checkpoint)


def test_weights_that_are_not_finite_are_refused(checkpoint):
    checkpoint["network_weights"]["decoder.seg_layers.1.bias"][0] = float("nan")
    with pytest.raises(CommandError, match="not finite"):
        upgrade_checkpoint(checkpoint)


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.float8_e4m3fn])
def test_weights_that_no_layer_computes_with_are_refused(checkpoint, dtype):
    weights = checkpoint["network_weights"]
    weights["decoder.seg_layers.1.bias"] = weights["decoder.seg_layers.1.bias"].to(dtype)
    told = f"decoder.seg_layers.1.bias is a tensor of type {dtype}"
    with pytest.raises(CommandError, match=told):
        upgrade_checkpoint(checkpoint)


def test_a_trainer_that_is_not_installed_is_taken_for_a_stock_one(checkpoint, caplog):
    checkpoint["trainer_name"] = "nnUNetTrainerFromElsewhere"
    with caplog.at_level(logging.WARNING):
        upgraded = upgrade_checkpoint(checkpoint).checkpoint
    assert upgraded["trainer_name"] == "AttentionUNetTrainer"
    assert "nnUNetTrainerFromElsewhere cannot be loaded here" in caplog.text


@pytest.mark.parametrize(
    "name", ["nnUNetTrainer", "nnUNetTrainer_250epochs", "nnUNetTrainerNoDeepSupervision"]
)
def test_stock_trainers_upgrade_silently(checkpoint, caplog, capsys, name):
    checkpoint["trainer_name"] = name
    upgrade_checkpoint(checkpoint)
    assert caplog.text == ""
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def source(tmp_path, checkpoint) -> Path:
    torch.save(checkpoint, tmp_path / "plain.pth")
    return tmp_path / "plain.pth"


def test_a_file_becomes_a_file_that_nnunet_and_we_can_load(source, tmp_path):
    target = tmp_path / "attention.pth"
    upgraded = upgrade_checkpoint_file(source, target)
    assert {path.name for path in tmp_path.iterdir()} == {"plain.pth", "attention.pth"}
    for loaded in (load_checkpoint(target), torch.load(target, weights_only=False)):
        network = network_of(AttentionUNetTrainer, loaded["init_args"]["plans"])
        assert isinstance(network, AttentionUNet)
        network.load_state_dict(loaded["network_weights"])
        assert loaded.keys() == upgraded.checkpoint.keys()


def test_a_tensor_with_several_names_is_stored_once(source, tmp_path):
    upgrade_checkpoint_file(source, tmp_path / "attention.pth")
    weights = load_checkpoint(tmp_path / "attention.pth")["network_weights"]
    names = ("conv.weight", "all_modules.0.weight")
    first, second = (weights[f"decoder.stages.0.convs.0.{name}"] for name in names)
    assert first.data_ptr() == second.data_ptr()


def test_an_existing_target_is_left_alone(source, tmp_path):
    target = tmp_path / "attention.pth"
    target.write_text("mine")
    with pytest.raises(CommandError, match=r"attention.pth exists already"):
        upgrade_checkpoint_file(source, target)
    assert target.read_text() == "mine"


def test_a_target_in_a_missing_folder_is_refused(source, tmp_path):
    with pytest.raises(CommandError, match=r"create the folder .*absent first"):
        upgrade_checkpoint_file(source, tmp_path / "absent" / "attention.pth")


def test_a_refused_file_is_named_and_leaves_nothing_behind(source, checkpoint, tmp_path):
    torch.save(upgrade_checkpoint(checkpoint).checkpoint, source)
    with pytest.raises(CommandError, match=r"cannot upgrade .*plain.pth: .* already"):
        upgrade_checkpoint_file(source, tmp_path / "attention.pth")
    assert list(tmp_path.iterdir()) == [source]
