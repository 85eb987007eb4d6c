"""Adaptation plans of nnssl are read, or refused in one line; citations are told."""

from copy import deepcopy

import numpy as np
import pytest
from nnssl_checkpoints import ARGUMENTS, CITATIONS, ONLY_NAMED, nnssl_checkpoint

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.pretraining import (
    citation_lines,
    plain_citations,
    pretrain_info,
    read_adaptation_plan,
    with_whole_networks,
)


@pytest.fixture
def plan() -> dict:
    return nnssl_checkpoint()["nnssl_adaptation_plan"]


def test_an_adaptation_plan_tells_network_and_preparation(plan):
    pretraining = read_adaptation_plan(plan, "file.pth")
    assert pretraining.architecture["network_class_name"].endswith("unet.ResidualEncoderUNet")
    assert pretraining.architecture["arch_kwargs"] == ARGUMENTS
    assert pretraining.channels == 1
    assert pretraining.used_patch_size == (8, 8, 8)
    settings = pretraining.settings
    assert settings.spacing_mm == (1.0, 1.0, 1.0)
    assert settings.patch_size == (16, 16, 16)
    assert settings.normalization_schemes == ("ZScoreNormalization",)
    assert settings.use_mask_for_norm == (False,)


@pytest.mark.parametrize(
    ("entries", "schemes", "masks"),
    [
        ({"normalization_schemes": "CTNormalization"}, ("CTNormalization",), (False,)),
        ({"use_mask_for_norm": True}, ("ZScoreNormalization",), (True,)),
        ({"use_mask_for_norm": np.array([True])}, ("ZScoreNormalization",), (True,)),
        ({"normalization_schemes": [], "use_mask_for_norm": None}, (), None),
    ],
)
def test_settings_of_all_channels_may_be_one_value_or_missing(plan, entries, schemes, masks):
    plan["pretrain_plan"]["configurations"]["onemmiso"].update(entries)
    settings = read_adaptation_plan(plan, "file.pth").settings
    assert (settings.normalization_schemes, settings.use_mask_for_norm) == (schemes, masks)


@pytest.mark.parametrize(
    ("order", "wanted"),
    [([2, 0, 1], (2, 0, 1)), (np.array([1, 0, 2]), (1, 0, 2)), (None, (0, 1, 2)),
     ([0, 1], (0, 1, 2)), ("210", (0, 1, 2)), ([0, "1", 2], (0, 1, 2))],
)  # fmt: skip
def test_the_order_of_axes_is_read(plan, order, wanted):
    plan["pretrain_plan"]["transpose_forward"] = order
    assert read_adaptation_plan(plan, "file.pth").settings.transpose_forward == wanted


def test_the_preset_stands_for_its_numbers(plan):
    plan["architecture_plans"] = {
        "arch_class_name": "ResEncL",
        "arch_kwargs": None,
        "arch_kwargs_requiring_import": None,
    }
    arguments = read_adaptation_plan(plan, "file.pth").architecture["arch_kwargs"]
    assert arguments["features_per_stage"] == [32, 64, 128, 256, 320, 320]
    assert arguments["n_blocks_per_stage"] == [1, 3, 4, 6, 6, 6]
    assert arguments["strides"] == [[1, 1, 1], *[[2, 2, 2]] * 5]
    assert arguments["kernel_sizes"] == [[3, 3, 3]] * 6


RESIDUAL_PATH = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"


def test_a_network_that_the_development_branch_only_names_is_described(plan):
    plan["architecture_plans"] = {"arch_class_name": "ResEncL", "arch_kwargs": None}
    wanted = read_adaptation_plan(plan, "file.pth").architecture
    plans = {"configurations": {"3d_fullres": {"spacing": [1, 1, 1], "architecture": ONLY_NAMED}}}
    before = deepcopy(plans)
    found = with_whole_networks(plans)["configurations"]["3d_fullres"]
    assert found == {"spacing": [1, 1, 1], "architecture": wanted}
    assert wanted["network_class_name"] == RESIDUAL_PATH
    assert plans == before


def test_a_network_whose_module_the_development_branch_leaves_out_gets_it():
    named = {"network_class_name": "ResidualEncoderUNet", "arch_kwargs": ARGUMENTS}
    plans = {"configurations": {"2d": {"architecture": {**named, "_kw_requires_import": None}}}}
    architecture = with_whole_networks(plans)["configurations"]["2d"]["architecture"]
    assert architecture == {
        "network_class_name": RESIDUAL_PATH,
        "arch_kwargs": ARGUMENTS,
        "_kw_requires_import": [],
    }


@pytest.mark.parametrize(
    "plans",
    [
        {},
        {"configurations": 3},
        {"configurations": {"2d": 3, "3d": {"architecture": 3}, "b": {"inherits_from": "2d"}}},
        {"configurations": {"2d": {"architecture": {"network_class_name": ["ResEncL"]}}}},
        {"configurations": {"2d": {"architecture": {"network_class_name": RESIDUAL_PATH}}}},
    ],
)
def test_other_networks_and_damaged_plans_stay_as_they_are(plans):
    assert with_whole_networks(plans) == plans


def test_images_that_kept_their_spacing_have_none(plan):
    plan["pretrain_plan"]["configurations"]["onemmiso"]["spacing"] = None
    assert read_adaptation_plan(plan, "file.pth").settings.spacing_mm is None


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("architecture_plans", "arch_class_name"), "PrimusM", "holds a transformer, PrimusM"),
        (("architecture_plans", "arch_class_name"), "UNet9", "UNet9"),
        (("architecture_plans", "arch_kwargs"), None, "does not say how it is built"),
        (("architecture_plans", "arch_kwargs"), [3], "for arch_kwargs"),
        (("architecture_plans",), 5, "for architecture_plans"),
        (("pretrain_plan", "configurations"), {}, "for pretrain_plan.configurations"),
        (("pretrain_plan", "configurations", "onemmiso", "patch_size"), "big", "for patch_size"),
        (("pretrain_plan", "configurations", "onemmiso", "spacing"), [1, 0, 1], "for spacing"),
        (("pretrain_plan", "configurations", "onemmiso", "spacing"), [1, 1], "for spacing"),
        (("pretrain_plan", "configurations", "onemmiso", "spacing"), [1, 9**999, 1], "spacing"),
        (("recommended_downstream_patchsize",), [float("inf")] * 3, "recommended_downstream"),
        (("recommended_downstream_patchsize",), [9**999] * 3, "recommended_downstream"),
        (("pretrain_num_input_channels",), 0, "for pretrain_num_input_channels"),
        (("key_to_encoder",), None, "for key_to_encoder"),
    ],
)
def test_what_is_malformed_is_named(plan, place, value, told):
    *path, name = place
    entry = plan
    for key in path:
        entry = entry[key]
    entry[name] = value
    if value == "UNet9":
        # Another name with arguments is left to the check of names.
        assert read_adaptation_plan(plan, "f").architecture["network_class_name"] == told
        return
    with pytest.raises(CommandError, match=told) as error:
        read_adaptation_plan(plan, "file.pth")
    assert "file.pth" in str(error.value)


@pytest.mark.parametrize("name", ["architecture_plans", "pretrain_plan", "key_to_stem"])
def test_what_is_missing_is_named(plan, name):
    del plan[name]
    with pytest.raises(CommandError, match=f"the adaptation plan lacks {name}"):
        read_adaptation_plan(plan, "file.pth")


def test_a_plan_that_holds_itself_is_refused(plan):
    plan["architecture_plans"]["arch_kwargs"]["strides"] = endless = []
    endless.append(endless)
    with pytest.raises(CommandError, match=r"file\.pth: the adaptation plan contains itself"):
        read_adaptation_plan(plan, "file.pth")


def test_the_entry_of_plans_is_that_of_nnunets_development_branch_and_the_digest(plan, tmp_path):
    (tmp_path / "b.pth").write_bytes(b"abc")
    info = pretrain_info(
        *(tmp_path / "b.pth", "b", 1, (16, 16, 16), CITATIONS),
        pretraining=read_adaptation_plan(plan, "f"),
    )
    # The example of FIPS 180-2.
    assert info.pop("checkpoint_sha256") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert info == {
        "checkpoint_path": str(tmp_path / "b.pth"),
        "checkpoint_name": "b",
        "key_to_encoder": "encoder.stages",
        "key_to_stem": "encoder.stem",
        "keys_to_in_proj": ["encoder.stem.convs.0.conv", "encoder.stem.convs.0.all_modules.0"],
        "key_to_lpe": None,
        "pt_num_in_channels": 1,
        "pt_used_patchsize": [8, 8, 8],
        "pt_recommended_downstream_patchsize": [16, 16, 16],
        "citations": CITATIONS,
    }


def test_citations_are_lines_for_people():
    assert citation_lines(CITATIONS) == [
        "Please cite the sources of the pretrained weights:",
        "Architecture: ResEncL",
        "  Isensee et al. (2024). nnU-Net revisited.",
        "Pretraining: MAE",
        "  @article{wald2024mae}",
    ]


@pytest.mark.parametrize("papers", ["A paper", 5, {"doi": "10"}])
def test_papers_that_are_no_list_are_one(papers):
    citations = [{"type": "Method", "name": "MAE", "apa_citations": papers}]
    assert citation_lines(citations)[1:] == ["Method: MAE", f"  {papers}"]


@pytest.mark.parametrize("damaged", [None, "text", [1, "text", {1: object()}], {"a": 1}])
def test_damaged_citations_are_none(damaged):
    assert citation_lines(deepcopy(damaged)) == []
    assert plain_citations(damaged) == []
