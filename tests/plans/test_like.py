"""Plans like pretrained weights have their data, network and patch, and share data made alike."""

import json
import shutil
from copy import deepcopy

import pytest
import torch
from fingerprinted_dataset import DATASET_JSON, NAME, write_fingerprinted_dataset
from nnssl_checkpoints import ARGUMENTS, CITATIONS, nnssl_checkpoint, save_nnssl
from plain_checkpoints import plain_checkpoint, plans_of

from nnunet_attention.errors import CommandError
from nnunet_attention.plans import like, plan_dataset, plan_like
from nnunet_attention.plans.planners import AttentionUNetPlanner
from nnunet_attention.weights import read_source, upgrade_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")
GATED_RESIDUAL = "nnunet_attention.networks.AttentionResidualEncoderUNet"


@pytest.fixture(scope="module")
def planned_once():
    """nnU-Net's plans of the data set, which take seconds, by the planner's name."""
    return {}


@pytest.fixture
def folder(tmp_path, monkeypatch, planned_once):
    folder = write_fingerprinted_dataset(tmp_path, monkeypatch, (40, 64, 80), (3, 2, 1))

    def plan(name, planner_class, **options):
        if planner_class not in planned_once:
            planned_once[planner_class] = plan_dataset(name, planner_class, **options)
        # Planning leaves this copy.
        (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))
        return deepcopy(planned_once[planner_class])

    monkeypatch.setattr(like, "plan_dataset", plan)
    return folder


@pytest.fixture
def mae(tmp_path):
    return read_source(save_nnssl(tmp_path / "mae.pth"))


def planned(source, **options) -> tuple[dict, dict]:
    """The plans that are written, and their one configuration."""
    result = plan_like(NAME, source, **options)
    plans = json.loads(result.path.read_text())
    assert list(plans["configurations"]) == [result.configuration]
    return plans, plans["configurations"][result.configuration]


def test_plans_have_the_datas_and_networks_settings_of_a_pretraining(folder, mae):
    plans, configuration = planned(mae)
    assert plans["plans_name"] == "AttentionPretrainedPlans"
    assert configuration["spacing"] == [1, 1, 1]
    assert configuration["patch_size"] == [16, 16, 16]
    assert configuration["batch_size"] == 2
    assert configuration["normalization_schemes"] == ["ZScoreNormalization"]
    # 40 x 64 x 80 voxels of 3 x 2 x 1 mm.
    assert configuration["median_image_size_in_voxels"] == [120, 128, 80]
    architecture = configuration["architecture"]
    assert architecture["network_class_name"] == GATED_RESIDUAL
    assert architecture["arch_kwargs"].items() >= ARGUMENTS.items()
    assert configuration["data_identifier"] == "Spacing__1.00_1.00_1.00___Norm__Z"
    info = plans["pretrain_info"]
    assert info["checkpoint_path"] == str(mae.path)
    assert info["pt_recommended_downstream_patchsize"] == [16, 16, 16]
    assert info["citations"] == CITATIONS
    # Written once more it is the same.
    assert planned(mae)[0] == plans


@pytest.mark.parametrize(
    ("spacing", "wanted"), [("dataset", [3, 2, 1]), ((2.5, 1.25, 1.25), [2.5, 1.25, 1.25])]
)
def test_the_spacing_can_be_another(folder, mae, spacing, wanted):
    _, configuration = planned(mae, spacing=spacing)
    assert configuration["spacing"] == wanted


def test_without_a_spacing_it_is_the_data_sets_and_that_is_told(folder, tmp_path):
    checkpoint = nnssl_checkpoint()
    plan = checkpoint["nnssl_adaptation_plan"]["pretrain_plan"]
    plan["configurations"]["onemmiso"]["spacing"] = None
    torch.save(checkpoint, tmp_path / "own.pth")
    result = plan_like(NAME, read_source(tmp_path / "own.pth"))
    assert "left images at their own spacing" in result.notes[0]
    plans = json.loads(result.path.read_text())
    assert plans["configurations"]["3d_fullres"]["spacing"] == [3, 2, 1]


def test_a_smaller_patch_can_be_had_if_the_network_divides_it(folder, mae):
    assert planned(mae, patch_size=[8, 12, 16])[1]["patch_size"] == [8, 12, 16]
    with pytest.raises(CommandError, match=r"--patch 8 13 16: .* the nearest is 8 12 16"):
        planned(mae, patch_size=[8, 13, 16], plans_name="Other")
    with pytest.raises(CommandError, match="one voxel would be left"):
        planned(mae, patch_size=[4, 4, 4], plans_name="Other")
    with pytest.raises(CommandError, match=r"--patch 8 8: the network is 3-D"):
        planned(mae, patch_size=[8, 8], plans_name="Other")


def test_data_of_the_development_branch_made_alike_are_shared(folder, mae):
    plans, configuration = planned(mae)
    other = deepcopy(plans)
    changed = {**configuration, "data_identifier": "Elsewhere", "batch_size": 4}
    other["configurations"]["3d_fullres"] = changed
    (folder / "AttentionPretrainedPlans.json").unlink()
    (folder / "ptPlans__mae____Spacing.json").write_text(json.dumps(other))
    assert planned(mae)[1]["data_identifier"] == "Elsewhere"
    # With another spacing they are others.
    _, coarse = planned(mae, spacing=(2.0, 2.0, 2.0), plans_name="Coarse")
    assert coarse["data_identifier"] == "Spacing__2.00_2.00_2.00___Norm__Z"


def test_the_name_of_other_data_is_not_taken(folder, mae):
    plans, configuration = planned(mae)
    changed = deepcopy(plans)
    changed["configurations"]["3d_fullres"]["use_mask_for_norm"] = [True]
    (folder / "AttentionPretrainedPlans.json").write_text(json.dumps(changed))
    _, other = planned(mae, plans_name="Other")
    assert other["data_identifier"] == "Other_3d_fullres"
    assert configuration["data_identifier"] != other["data_identifier"]


def test_a_spacing_that_the_name_would_round_has_a_name_of_its_own(folder, mae):
    _, configuration = planned(mae, spacing=(0.9765625, 1, 1))
    assert configuration["data_identifier"] == "AttentionPretrainedPlans_3d_fullres"


@pytest.fixture
def colleague(tmp_path, minimal_plans) -> dict:
    """A checkpoint of a colleague's model for CT, with two channels."""
    plans = plans_of(minimal_plans, "residual 3d anisotropic")
    plans["configurations"]["3d_fullres"].update(
        normalization_schemes=["CTNormalization", "ZScoreNormalization"],
        use_mask_for_norm=[False, True],
        patch_size=[8, 16, 32],
        batch_size=5,
    )
    plans["foreground_intensity_properties_per_channel"] = {
        "0": {"mean": 100.0, "std": 50.0},
        "1": {"mean": 7.0, "std": 1.0},
    }
    return plain_checkpoint(plans)


def test_a_model_is_a_source_too_with_its_intensities(folder, tmp_path, colleague):
    torch.save(colleague, tmp_path / "final.pth")
    plans, configuration = planned(read_source(tmp_path / "final.pth"))
    assert configuration["spacing"] == [3, 2, 1]
    assert configuration["patch_size"] == [8, 16, 32]
    assert configuration["batch_size"] == 5
    assert configuration["normalization_schemes"] == ["CTNormalization"]
    assert configuration["use_mask_for_norm"] == [False]
    # What CT is normalised with are the intensities that the weights have seen.
    wanted = {"0": {"mean": 100.0, "std": 50.0}}
    assert plans["foreground_intensity_properties_per_channel"] == wanted
    assert configuration["data_identifier"] == "AttentionPretrainedPlans_3d_fullres"


def test_intensities_that_no_one_knows_are_told(folder, tmp_path):
    checkpoint = nnssl_checkpoint()
    plan = checkpoint["nnssl_adaptation_plan"]["pretrain_plan"]
    plan["configurations"]["onemmiso"]["normalization_schemes"] = ["CTNormalization"]
    torch.save(checkpoint, tmp_path / "ct.pth")
    result = plan_like(NAME, read_source(tmp_path / "ct.pth"))
    (note,) = result.notes
    assert "without the intensities that CTNormalization used" in note
    # Those of the fingerprint.
    intensities = json.loads(result.path.read_text())["foreground_intensity_properties_per_channel"]
    assert set(intensities["0"].values()) == {1.0}


def test_settings_of_a_network_that_are_not_taken_over_are_told(folder, tmp_path, colleague):
    gated = upgrade_checkpoint(colleague).checkpoint
    configuration = gated["init_args"]["plans"]["configurations"]["3d_fullres"]
    configuration["architecture"]["network_class_name"] = GATED_RESIDUAL
    configuration["architecture"]["arch_kwargs"].update(
        deep_supervision=False, output_transform=True
    )
    torch.save(gated, tmp_path / "gated.pth")
    result = plan_like(NAME, read_source(tmp_path / "gated.pth"))
    arguments = json.loads(result.path.read_text())["configurations"]["3d_fullres"]["architecture"][
        "arch_kwargs"
    ]
    assert "deep_supervision" not in arguments
    assert arguments["output_transform"] is False
    supervision, transform, channels = result.notes
    assert "trained without deep supervision" in supervision
    assert "have an output transform" in transform
    assert channels == (
        "the image channels are CT here and T1, T2 in the source; they are matched by their order"
    )


def test_a_gated_model_keeps_its_gates(folder, tmp_path, colleague):
    gated = upgrade_checkpoint(colleague, gate_full_resolution=True).checkpoint
    torch.save(gated, tmp_path / "gated.pth")
    architecture = planned(read_source(tmp_path / "gated.pth"))[1]["architecture"]
    assert architecture["network_class_name"] == GATED_RESIDUAL
    assert architecture["arch_kwargs"]["gate_full_resolution"] is True


def test_a_model_of_two_dimensions_plans_2d(folder, tmp_path, colleague, minimal_plans):
    plans = plans_of(minimal_plans, "plain 2d")
    plans["configurations"]["3d_fullres"].update(
        normalization_schemes=["ZScoreNormalization"], spacing=[2.0, 1.0], patch_size=[16, 16]
    )
    torch.save(plain_checkpoint(plans), tmp_path / "flat.pth")
    plans, configuration = planned(read_source(tmp_path / "flat.pth"))
    assert list(plans["configurations"]) == ["2d"]
    assert configuration["spacing"] == [2, 1]


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 1.0, 0.0), (1.0, 1.0, float("nan"))])
def test_a_spacing_that_is_none_is_refused(folder, mae, spacing):
    with pytest.raises(CommandError, match="give 3 numbers above 0 in mm"):
        planned(mae, spacing=spacing)
    assert not list(folder.glob("*Plans.json"))


def test_a_spacing_of_other_axes_than_the_patch_is_refused(folder, tmp_path, colleague):
    colleague["init_args"]["plans"]["configurations"]["3d_fullres"]["spacing"] = [2.0, 1.0]
    torch.save(colleague, tmp_path / "final.pth")
    with pytest.raises(CommandError, match="a spacing of 2 numbers and a patch of 3"):
        planned(read_source(tmp_path / "final.pth"))
    assert not list(folder.glob("*Plans.json"))


def test_plans_with_another_content_are_not_overwritten(folder, mae):
    planned(mae)
    with pytest.raises(CommandError, match="already exists with different content"):
        planned(mae, patch_size=[8, 8, 8])
    with pytest.raises(CommandError, match="two underscores in a row"):
        planned(mae, plans_name="ptPlans__mae")


def test_plans_follow_weights_that_were_moved(folder, mae, tmp_path):
    before, _ = planned(mae)
    copied = tmp_path / "copy.pth"
    shutil.copy(mae.path, copied)
    after, _ = planned(read_source(copied))
    assert after["pretrain_info"].pop("checkpoint_path") == str(copied)
    assert after["pretrain_info"].pop("checkpoint_name") == "copy"
    del before["pretrain_info"]["checkpoint_path"], before["pretrain_info"]["checkpoint_name"]
    assert after == before
    # Others of the same kind are no moved ones, even where the first are gone.
    checkpoint = nnssl_checkpoint()
    next(iter(checkpoint["network_weights"].values())).add_(1)
    torch.save(checkpoint, tmp_path / "other.pth")
    copied.unlink()
    with pytest.raises(CommandError, match=r"different content \(pretrain_info\)"):
        planned(read_source(tmp_path / "other.pth"))


def test_a_model_that_does_not_say_how_it_normalises_is_refused(folder, tmp_path, minimal_plans):
    torch.save(plain_checkpoint(minimal_plans), tmp_path / "final.pth")
    with pytest.raises(CommandError, match="does not say how images were normalised"):
        planned(read_source(tmp_path / "final.pth"))


def test_a_flat_data_set_has_no_use_for_a_deep_network(tmp_path, monkeypatch, mae):
    write_fingerprinted_dataset(tmp_path, monkeypatch, (1, 64, 80), (999, 1, 1))
    with pytest.raises(CommandError, match=f"{NAME} is 2-D, but the network of .* is 3-D"):
        planned(mae)


def test_images_keep_the_order_of_their_axes_where_those_of_the_pretraining_did(
    tmp_path, monkeypatch, mae
):
    # Thick slices along the last axis, which nnU-Net puts first.
    folder = write_fingerprinted_dataset(tmp_path, monkeypatch, (64, 80, 20), (0.9, 0.9, 4))
    stock, _ = plan_dataset(NAME, AttentionUNetPlanner)
    assert stock["transpose_forward"] == [2, 0, 1]
    plans, configuration = planned(mae, spacing="dataset")
    assert plans["transpose_forward"] == plans["transpose_backward"] == [0, 1, 2]
    assert configuration["spacing"] == pytest.approx([0.9, 0.9, 4])
    assert configuration["median_image_size_in_voxels"] == pytest.approx([64, 80, 20])
    # The development branch's data of this spacing would have their axes in nnU-Net's order.
    _, configuration = planned(mae, plans_name="Iso")
    assert configuration["data_identifier"] == "Iso_3d_fullres"
    (note,) = plan_like(NAME, mae, plans_name="Iso").notes
    assert note == (
        "nnU-Net would normalise these images with CTNormalization, and those of the source were "
        "normalised with ZScoreNormalization: they may be of another modality"
    )
    assert folder.is_dir()


def test_another_order_of_axes_than_the_sources_is_told(folder, tmp_path):
    checkpoint = nnssl_checkpoint()
    plan = checkpoint["nnssl_adaptation_plan"]["pretrain_plan"]
    plan["transpose_forward"] = [1, 0, 2]
    torch.save(checkpoint, tmp_path / "turned.pth")
    note, _ = plan_like(NAME, read_source(tmp_path / "turned.pth")).notes
    assert "put in the order 0 1 2 here, and in 1 0 2 in the source" in note


def test_preprocessed_data_that_no_plans_name_any_more_are_not_taken_over(
    folder, tmp_path, colleague
):
    # Made by plans that were removed, with another spacing and other intensities.
    stale = folder / "AttentionPretrainedPlans_3d_fullres"
    stale.mkdir()
    torch.save(colleague, tmp_path / "final.pth")
    _, configuration = planned(read_source(tmp_path / "final.pth"))
    assert configuration["data_identifier"] == f"{stale.name}_2"


def test_an_encoder_that_does_not_fit_its_own_description_is_refused(folder, tmp_path):
    checkpoint = nnssl_checkpoint()
    weights = checkpoint["network_weights"]
    for name in [name for name in weights if "encoder.stages.2" in name]:
        weights[name] = weights[name][..., :1]
    torch.save(checkpoint, tmp_path / "damaged.pth")
    with pytest.raises(CommandError, match=r"do not fit the network .* encoder\.stages\.2\."):
        planned(read_source(tmp_path / "damaged.pth"))
    assert not (folder / "AttentionPretrainedPlans.json").exists()


def test_a_checkpoint_that_does_not_say_how_images_were_normalised_gets_z_scores(folder, tmp_path):
    checkpoint = nnssl_checkpoint()
    plan = checkpoint["nnssl_adaptation_plan"]["pretrain_plan"]
    del plan["configurations"]["onemmiso"]["normalization_schemes"]
    torch.save(checkpoint, tmp_path / "silent.pth")
    result = plan_like(NAME, read_source(tmp_path / "silent.pth"))
    assert "does not say how images were normalised" in result.notes[0]
    plans = json.loads(result.path.read_text())
    configuration = plans["configurations"]["3d_fullres"]
    assert configuration["normalization_schemes"] == ["ZScoreNormalization"]


@pytest.mark.parametrize(
    "entry",
    [{"trainer_name": "nnUNetTrainerNoMirroring"}, {"inference_allowed_mirroring_axes": None}],
)
def test_weights_that_were_trained_without_mirroring_are_told(folder, tmp_path, colleague, entry):
    torch.save({**colleague, **entry}, tmp_path / "total.pth")
    notes = plan_like(NAME, read_source(tmp_path / "total.pth")).notes
    assert "train with AttentionUNetFinetuneTrainer_noMirroring" in notes[-1]


def test_numbers_of_other_libraries_in_a_models_plans_are_written(folder, tmp_path, colleague):
    checkpoint = deepcopy(colleague)
    configuration = checkpoint["init_args"]["plans"]["configurations"]["3d_fullres"]
    options = configuration["architecture"]["arch_kwargs"]
    options["norm_op_kwargs"] = {"eps": torch.tensor(1e-5, dtype=torch.float64), "affine": True}
    torch.save(checkpoint, tmp_path / "tensor.pth")
    _, configuration = planned(read_source(tmp_path / "tensor.pth"))
    assert configuration["architecture"]["arch_kwargs"]["norm_op_kwargs"]["eps"] == 1e-5
