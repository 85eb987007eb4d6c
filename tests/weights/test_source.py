"""What a training can start from is told by its content, and anything else refused in one line."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from nnssl_checkpoints import ARGUMENTS, CITATIONS, nnssl_checkpoint, save_nnssl, source_network
from plain_checkpoints import DATASET_JSON, plain_checkpoint, plans_of

from nnunet_attention.errors import CommandError
from nnunet_attention.weights import load_checkpoint, read_source, upgrade_checkpoint
from nnunet_attention.weights.adaptation import LEFT, adapt

RESIDUAL_PATH = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"


def saved(path: Path, content: dict) -> Path:
    torch.save(content, path)
    return path


def test_a_checkpoint_of_nnssl_is_known_by_its_plan(tmp_path):
    source = read_source(save_nnssl(tmp_path / "mae.pth"))
    assert source.kind == "nnssl"
    assert source.plain_architecture["network_class_name"] == RESIDUAL_PATH
    assert source.architecture["arch_kwargs"] == ARGUMENTS
    assert (source.image_channels, source.previous_channels) == (1, 0)
    assert source.settings.patch_size == (16, 16, 16)
    assert list(source.citations) == CITATIONS
    assert source.decoder_left


def test_parts_are_found_where_the_plan_has_them(tmp_path):
    checkpoint = nnssl_checkpoint()
    weights = checkpoint["network_weights"]
    encoder = {
        name.removeprefix("encoder."): value
        for name, value in weights.items()
        if name.startswith("encoder.")
    }
    checkpoint["network_weights"] = {f"backbone.{name}": value for name, value in encoder.items()}
    plan = checkpoint["nnssl_adaptation_plan"]
    plan.update(key_to_encoder="backbone.stages", key_to_stem="backbone.stem")
    source = read_source(saved(tmp_path / "a.pth", checkpoint))
    assert {name.removeprefix("encoder.") for name in source.weights} == set(encoder)
    plan.update(key_to_encoder="elsewhere.stages", key_to_stem="elsewhere.stem")
    with pytest.raises(CommandError, match=r"no weight names begin with elsewhere\.stages"):
        read_source(saved(tmp_path / "b.pth", checkpoint))


def test_another_encoder_in_the_same_file_does_not_take_the_places(tmp_path):
    checkpoint = nnssl_checkpoint()
    weights = checkpoint["network_weights"]
    student = {f"student.{n}": value + 1 for n, value in weights.items() if "encoder." in n}
    # The teacher comes last, under the names of nnU-Net.
    checkpoint["network_weights"] = {**student, **weights}
    plan = checkpoint["nnssl_adaptation_plan"]
    plan.update(key_to_encoder="student.encoder.stages", key_to_stem="student.encoder.stem")
    found = read_source(saved(tmp_path / "a.pth", checkpoint)).weights
    name = "encoder.stem.convs.0.conv.weight"
    assert torch.equal(found[name], weights[name] + 1)
    assert torch.equal(found[f"other.{name}"], weights[name])


def test_a_name_with_endless_digits_is_no_stage(tmp_path):
    checkpoint = nnssl_checkpoint()
    checkpoint["network_weights"][f"encoder.stages.{'9' * 5000}.x"] = torch.ones(1)
    source = read_source(saved(tmp_path / "a.pth", checkpoint))
    with torch.device("meta"):
        outcomes = adapt(source, source_network(), 1).outcomes
    assert outcomes[-1].outcome == LEFT


def test_a_checkpoint_of_nnunet_is_known_by_its_plans(tmp_path, minimal_plans):
    plans = plans_of(minimal_plans, "residual 3d anisotropic")
    checkpoint = plain_checkpoint(plans)
    checkpoint["network_weights"] = {
        f"module.{name}": value for name, value in checkpoint["network_weights"].items()
    }
    source = read_source(saved(tmp_path / "a.pth", checkpoint))
    assert (source.kind, source.configuration) == ("nnU-Net", "3d_fullres")
    assert (source.image_channels, source.previous_channels) == (2, 0)
    assert "encoder.stem.convs.0.conv.weight" in source.weights
    assert source.decoder_left == ""


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod.", "_orig_mod.module."])
def test_prefixes_of_distributed_and_compiled_networks_are_dropped(tmp_path, prefix):
    checkpoint = nnssl_checkpoint()
    weights = checkpoint["network_weights"]
    checkpoint["network_weights"] = {prefix + name: value for name, value in weights.items()}
    assert list(read_source(saved(tmp_path / "a.pth", checkpoint)).weights) == list(weights)


def test_the_plans_of_an_old_nnunet_are_understood(tmp_path, minimal_plans):
    """Those of TotalSegmentator's first models have no `architecture`."""
    checkpoint = plain_checkpoint(minimal_plans)
    configuration = deepcopy(minimal_plans["configurations"]["3d_fullres"])
    arguments = configuration.pop("architecture")["arch_kwargs"]
    configuration.update(
        UNet_class_name="PlainConvUNet",
        UNet_base_num_features=4,
        unet_max_num_features=320,
        n_conv_per_stage_encoder=arguments["n_conv_per_stage"],
        n_conv_per_stage_decoder=arguments["n_conv_per_stage_decoder"],
        num_pool_per_axis=[1, 2, 2],
        pool_op_kernel_sizes=arguments["strides"],
        conv_kernel_sizes=arguments["kernel_sizes"],
    )
    plans = {**minimal_plans, "configurations": {"3d_fullres": configuration}}
    checkpoint["init_args"]["plans"] = plans
    source = read_source(saved(tmp_path / "old.pth", checkpoint))
    assert source.plain_architecture["network_class_name"].endswith("PlainConvUNet")
    assert source.architecture["arch_kwargs"]["strides"] == arguments["strides"]


def test_of_a_models_folds_all_comes_first(tmp_path, minimal_plans):
    checkpoint = plain_checkpoint(minimal_plans)
    for fold in ("fold_1", "fold_0", "fold_all"):
        (tmp_path / fold).mkdir()
        torch.save(checkpoint, tmp_path / fold / "checkpoint_final.pth")
    assert read_source(tmp_path).path.parent.name == "fold_all"
    (tmp_path / "fold_all" / "checkpoint_final.pth").unlink()
    assert read_source(tmp_path).path.parent.name == "fold_0"
    (tmp_path / "empty").mkdir()
    with pytest.raises(CommandError, match="has no trained fold"):
        read_source(tmp_path / "empty")


def test_of_a_gated_model_the_decoder_is_left(tmp_path, minimal_plans):
    upgraded = upgrade_checkpoint(plain_checkpoint(minimal_plans)).checkpoint
    source = read_source(saved(tmp_path / "gated.pth", upgraded))
    assert source.decoder_left == "it was trained behind gates"


def test_a_transformer_is_refused(tmp_path):
    path = save_nnssl(tmp_path / "a.pth", arch_class_name="PrimusM", arch_kwargs=None)
    with pytest.raises(CommandError, match=r"a\.pth holds a transformer, PrimusM"):
        read_source(path)


def test_weights_that_do_not_say_what_network_they_are_of_are_refused(tmp_path):
    content = {"network_weights": source_network().state_dict()}
    with pytest.raises(CommandError, match="does not say which network its weights belong to"):
        read_source(saved(tmp_path / "bare.pth", content))


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"arch_class_name": "os.system"}, "os.system"),
        ({"arch_kwargs": {**ARGUMENTS, "conv_op": "subprocess.Popen"}}, "subprocess.Popen"),
        ({"arch_kwargs": {**ARGUMENTS, "nonlin": "torch.nn.init.torch.jit.load"}}, "nonlin"),
        ({"arch_kwargs": {**ARGUMENTS, "n_stages": 10**9}}, "n_stages"),
        ({"arch_kwargs_requiring_import": ["no_such"]}, "no_such"),
    ],
)
def test_hostile_architectures_are_refused_like_hostile_plans(tmp_path, entry, told, monkeypatch):
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("called"))
    path = save_nnssl(tmp_path / "hostile.pth", **entry)
    with pytest.raises(CommandError, match=told):
        read_source(path)


STRIDES = {
    "none": (None, "None for strides, and 3 for n_stages"),
    "empty": ([], r"\[\] for strides"),
    "a number": (2, "2 for strides"),
    "a dictionary": ({"a": 1}, r"{'a': 1} for strides"),
    "too few": ([[1, 1, 1], [2, 2, 2]], "and 3 for n_stages"),
    "a zero": ([[1, 1, 1], [0, 2, 2], [2, 2, 2]], r"\[0, 2, 2\] among strides"),
    "strings": ([[1, 1, 1], ["2", "2", "x"], [2, 2, 2]], "'x'.* among strides"),
    "fractions": ([[1.0, 1.0, 1.0]] * 3, "among strides"),
    "a hole": ([[1, 1, 1], [None], [2, 2, 2]], r"\[None\] among strides"),
    "two axes": ([[1, 1], [2, 2], [2, 2]], "expected 3 positive"),
}


@pytest.mark.parametrize(("strides", "told"), STRIDES.values(), ids=STRIDES)
def test_strides_of_nnssl_that_no_network_has_are_one_clear_error(tmp_path, strides, told):
    arguments = {**ARGUMENTS, "strides": strides}
    path = save_nnssl(tmp_path / "damaged.pth", arch_kwargs=arguments)
    with pytest.raises(CommandError, match=rf"damaged\.pth: .*{told}"):
        read_source(path)


def test_arguments_that_lack_strides_are_one_clear_error(tmp_path, minimal_plans):
    arguments = {name: value for name, value in ARGUMENTS.items() if name != "strides"}
    with pytest.raises(CommandError, match="None for strides"):
        read_source(save_nnssl(tmp_path / "damaged.pth", arch_kwargs=arguments))
    checkpoint = plain_checkpoint(minimal_plans)
    plans = deepcopy(minimal_plans)
    del plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["strides"]
    checkpoint["init_args"]["plans"] = plans
    with pytest.raises(CommandError, match=r"final\.pth: .*None for strides"):
        read_source(saved(tmp_path / "final.pth", checkpoint))


def test_nnssls_checkpoint_is_not_taken_for_one_of_nnunet(tmp_path):
    with pytest.raises(CommandError, match=r"nnssl checkpoint.*upgrade -d"):
        load_checkpoint(save_nnssl(tmp_path / "mae.pth"))


def test_the_works_to_cite_are_those_of_what_a_checkpoint_was_made_from(tmp_path, minimal_plans):
    plans = {**minimal_plans, "pretrain_info": {"citations": CITATIONS}}
    checkpoint = plain_checkpoint(plans)
    assert list(read_source(saved(tmp_path / "a.pth", checkpoint)).citations) == CITATIONS
    # Weights for plans that name another pretraining, from something else.
    checkpoint["pretrained_from"] = {"citations": [{"name": "VoCo"}]}
    source = read_source(saved(tmp_path / "b.pth", checkpoint))
    assert source.citations == ({"name": "VoCo"},)
    checkpoint["pretrained_from"] = {"citations": []}
    assert read_source(saved(tmp_path / "c.pth", checkpoint)).citations == ()


def test_labels_that_nnunet_cannot_read_are_told_in_one_line(tmp_path, minimal_plans):
    checkpoint = plain_checkpoint(minimal_plans)
    # Regions without their order.
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    checkpoint["init_args"]["dataset_json"] = {**DATASET_JSON, "labels": labels}
    with pytest.raises(CommandError, match=r"a\.pth: no network can be built"):
        read_source(saved(tmp_path / "a.pth", checkpoint))


@pytest.mark.parametrize("intensities", [[1, 2], {"first": {"mean": 1.0}}, "none"])
def test_intensities_that_are_not_by_channel_are_told(tmp_path, minimal_plans, intensities):
    checkpoint = plain_checkpoint(minimal_plans)
    plans = checkpoint["init_args"]["plans"]
    plans["foreground_intensity_properties_per_channel"] = intensities
    with pytest.raises(CommandError, match=r"a\.pth: the plans have .* for foreground_intensity"):
        read_source(saved(tmp_path / "a.pth", checkpoint))


def test_settings_that_cannot_be_read_are_told_with_the_file(tmp_path, minimal_plans):
    checkpoint = plain_checkpoint(minimal_plans)
    del checkpoint["init_args"]["plans"]["configurations"]["3d_fullres"]["batch_size"]
    with pytest.raises(CommandError, match=r"a\.pth: no network can be built"):
        read_source(saved(tmp_path / "a.pth", checkpoint))
