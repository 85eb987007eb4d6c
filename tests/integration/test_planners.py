"""Planning real data, and training what was planned, through the real commands."""

import json

import numpy as np
import pytest
import torch
from nnunet_commands import NnunetFolders, msd_subset, voxels
from shared_data import HIPPOCAMPUS, NUCLEI, SARCOMA, needs
from stock_plans import assert_as_stock_where_that_fits

from nnunet_attention.nnunet.dataset_names import number_of_dataset

pytestmark = pytest.mark.slow

HIPPOCAMPUS_NAME = "Dataset004_Hippocampus"
ON_CPU = ("-device", "cpu")


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    return NnunetFolders(tmp_path_factory.mktemp("planners"))


@pytest.fixture(scope="module")
def hippocampus(nnunet):
    """Six cases, converted."""
    task = msd_subset(HIPPOCAMPUS, nnunet.root / "Task04_Hippocampus", cases=6)
    nnunet.run("nnUNetv2_convert_MSD_dataset", "-i", task, "-np", 1)
    return HIPPOCAMPUS_NAME


def plan_as_stock_and_as_attention(nnunet, name) -> tuple[dict, dict, dict]:
    """Stock plans, ours, and dataset.json; the fingerprint is extracted by ours."""
    number = int(number_of_dataset(name))
    nnunet.run("nnunet-attention", "plan", "-d", number, "-np", 2)
    nnunet.run("nnUNetv2_plan_experiment", "-d", number)
    folder = nnunet.preprocessed / name
    return tuple(
        json.loads((folder / file).read_text())
        for file in ("nnUNetPlans.json", "AttentionUNetPlans.json", "dataset.json")
    )


@pytest.mark.parametrize(
    ("source", "fitting"),
    [
        pytest.param(SARCOMA, ["2d", "3d_fullres"], marks=needs(SARCOMA), id="sarcoma"),
        pytest.param(NUCLEI, ["2d"], marks=needs(NUCLEI), id="nuclei"),
    ],
)
def test_patches_fit_and_are_the_stock_ones_where_those_fit(source, fitting, nnunet):
    (nnunet.raw / source.name).symlink_to(source)
    stock, ours, dataset_json = plan_as_stock_and_as_attention(nnunet, source.name)
    assert assert_as_stock_where_that_fits(stock, ours, dataset_json, 8) == fitting


@needs(HIPPOCAMPUS)
def test_patches_of_hippocampi_are_the_stock_ones(nnunet, hippocampus):
    stock, ours, dataset_json = plan_as_stock_and_as_attention(nnunet, hippocampus)
    fitting = assert_as_stock_where_that_fits(stock, ours, dataset_json, 8)
    assert fitting == ["2d", "3d_fullres"]


@needs(HIPPOCAMPUS)
def test_planned_networks_are_trained_by_stock_and_our_trainers_and_predict(nnunet, hippocampus):
    nnunet.run("nnunet-attention", "plan", "-d", 4, "-np", 2)
    nnunet.run(
        *("nnUNetv2_preprocess", "-d", 4, "-plans_name", "AttentionUNetPlans"),
        *("-c", "3d_fullres", "-np", 1),
    )
    # The same data serve the stock plans.
    assert (nnunet.preprocessed / hippocampus / "nnUNetPlans_3d_fullres").is_dir()
    for trainer in ("nnUNetTrainer_short", "AttentionUNetTrainer_short", "WideUNetTrainer_short"):
        nnunet.run(
            *("nnUNetv2_train", 4, "3d_fullres", 0, "-p", "AttentionUNetPlans"),
            *("-tr", trainer, *ON_CPU),
            schedule="1,1,1",
        )
        model = nnunet.results / hippocampus / f"{trainer}__AttentionUNetPlans__3d_fullres"
        checkpoint = torch.load(
            model / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False
        )
        assert checkpoint["trainer_name"] == trainer
        gates = [key for key in checkpoint["network_weights"] if ".gates." in key]
        assert bool(gates) == (not trainer.startswith("Wide"))
    images = nnunet.root / "images"
    images.mkdir()
    image = sorted((nnunet.raw / hippocampus / "imagesTr").glob("*.nii.gz"))[0]
    (images / image.name).symlink_to(image)
    for trainer in ("nnUNetTrainer_short", "WideUNetTrainer_short"):
        output = nnunet.root / trainer
        nnunet.run(
            *("nnUNetv2_predict", "-i", images, "-o", output, "-d", 4, "-c", "3d_fullres"),
            *("-p", "AttentionUNetPlans", "-tr", trainer, "-f", 0, *ON_CPU, "--disable_tta"),
        )
        segmentation = voxels(output / image.name.replace("_0000", ""))
        assert segmentation.shape == voxels(image).shape
        assert set(np.unique(segmentation)) <= {0, 1, 2}


@needs(HIPPOCAMPUS)
def test_residual_preset_plans_the_gated_residual_encoder(nnunet, hippocampus):
    nnunet.run(
        *("nnunet-attention", "plan", "-d", 4, "-pl", "AttentionResEncUNetPlannerM", "-np", 2)
    )
    nnunet.run("nnUNetv2_plan_experiment", "-d", 4, "-pl", "nnUNetPlannerResEncM")
    folder = nnunet.preprocessed / hippocampus
    stock, ours, dataset_json = (
        json.loads((folder / name).read_text())
        for name in (
            "nnUNetResEncUNetMPlans.json",
            "AttentionResEncUNetMPlans.json",
            "dataset.json",
        )
    )
    assert_as_stock_where_that_fits(stock, ours, dataset_json, 8)
    assert ours["configurations"]["3d_fullres"]["architecture"]["network_class_name"] == (
        "nnunet_attention.networks.AttentionResidualEncoderUNet"
    )
