"""Converted plans are the plans they come from but for the network."""

import copy
import json

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.plans import convert_plans, converted_plans


@pytest.fixture
def plans(minimal_plans) -> dict:
    minimal_plans["configurations"]["3d_cascade_fullres"] = {
        "inherits_from": "3d_fullres",
        "previous_stage": "3d_lowres",
    }
    return minimal_plans


@pytest.fixture
def folder(tmp_path, plans):
    (tmp_path / "nnUNetPlans.json").write_text(json.dumps(plans))
    return tmp_path


def test_only_the_name_and_the_network_change(plans):
    before = copy.deepcopy(plans)
    found = converted_plans(plans, "Other", gate_full_resolution=True)
    assert plans == before
    expected = copy.deepcopy(before)
    expected["plans_name"] = "Other"
    architecture = expected["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = "nnunet_attention.networks.AttentionUNet"
    architecture["arch_kwargs"].update(gate_full_resolution=True, output_transform=False)
    assert found == expected


def test_a_residual_encoder_becomes_the_gated_residual_encoder(plans):
    architecture = plans["configurations"]["3d_fullres"]["architecture"]
    architecture["network_class_name"] = (
        "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    )
    arguments = architecture["arch_kwargs"]
    arguments["n_blocks_per_stage"] = arguments.pop("n_conv_per_stage")
    found = converted_plans(plans, "Other")["configurations"]["3d_fullres"]["architecture"]
    assert found["network_class_name"] == "nnunet_attention.networks.AttentionResidualEncoderUNet"


def test_the_file_is_written_once_and_a_different_one_is_kept(folder):
    convert_plans(folder, "nnUNetPlans", "Other")
    written = (folder / "Other.json").read_text()
    assert json.loads(written)["plans_name"] == "Other"
    convert_plans(folder, "nnUNetPlans", "Other")
    with pytest.raises(CommandError, match=r"configuration 3d_fullres.*-overwrite_plans_name"):
        convert_plans(folder, "nnUNetPlans", "Other", output_transform=True)
    assert (folder / "Other.json").read_text() == written
    assert sorted(path.name for path in folder.iterdir()) == ["Other.json", "nnUNetPlans.json"]


def test_the_source_cannot_be_overwritten(folder):
    before = (folder / "nnUNetPlans.json").read_text()
    with pytest.raises(CommandError, match="already exists with different content"):
        convert_plans(folder, "nnUNetPlans", "nnUNetPlans")
    assert (folder / "nnUNetPlans.json").read_text() == before


def test_absent_plans_are_named_with_those_that_are_there(folder):
    with pytest.raises(CommandError, match=r"--from ResEncPlans.*there are: nnUNetPlans"):
        convert_plans(folder, "ResEncPlans", "Other")


def test_another_network_is_refused_and_nothing_written(folder, plans):
    plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = "torch.nn.Linear"
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    with pytest.raises(CommandError, match=r"nnUNetPlans\.json.*torch\.nn\.Linear"):
        convert_plans(folder, "nnUNetPlans", "Other")
    assert not (folder / "Other.json").exists()


def test_a_network_without_a_skip_to_gate_is_refused(folder, plans):
    arguments = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arguments["n_stages"] = 2
    for name in ("features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage"):
        arguments[name] = arguments[name][:2]
    arguments["n_conv_per_stage_decoder"] = arguments["n_conv_per_stage_decoder"][:1]
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    with pytest.raises(CommandError, match="no skip connection to gate"):
        convert_plans(folder, "nnUNetPlans", "Other")
    assert not (folder / "Other.json").exists()
    convert_plans(folder, "nnUNetPlans", "Other", gate_full_resolution=True)
