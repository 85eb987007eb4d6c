"""What nnU-Net data sets may be: 2-D colour, anisotropic CT, regions, ignore label, channels."""

import json

import numpy as np
import pytest
import SimpleITK
import torch
from nnunet_commands import (
    NnunetFolders,
    assert_engines_agree,
    assert_same_geometry,
    raw_subset,
    voxels,
)
from PIL import Image
from shared_data import NUCLEI, SARCOMA, needs

from nnunet_attention.nnunet.dataset_names import number_of_dataset

pytestmark = pytest.mark.slow

TRAINER = "AttentionUNetTrainer_short"


def train_and_predict(folders: NnunetFolders, dataset: str, configuration: str, **plans_changes):
    """Plan to prediction of one training case; returns the image(s), the segmentation, weights."""
    number = int(number_of_dataset(dataset))
    raw = folders.raw / dataset
    ending = json.loads((raw / "dataset.json").read_text())["file_ending"]
    folders.run(
        "nnUNetv2_plan_and_preprocess",
        *("-d", number, "-c", configuration, "-np", 1, "-npfp", 1),
    )
    folders.edit_plans(dataset, configuration, batch_size=2, **plans_changes)
    common = ("-tr", TRAINER, "-device", "cpu")
    folders.run("nnUNetv2_train", number, configuration, 0, *common)
    images = folders.root / "images"
    images.mkdir()
    case = sorted((raw / "labelsTr").glob(f"*{ending}"))[0].name.removesuffix(ending)
    for path in (raw / "imagesTr").glob(f"{case}_*{ending}"):
        (images / path.name).symlink_to(path)
    folders.run(
        "nnUNetv2_predict",
        *("-i", images, "-o", folders.root / "out", "-d", number, "-c", configuration, "-f", 0),
        *(*common, "--disable_tta"),
    )
    model = folders.results / dataset / f"{TRAINER}__nnUNetPlans__{configuration}"
    folders.run(
        "nnunet-attention",
        *("predict", "-i", images, "-o", folders.root / "fast", "-m", model, "-f", 0),
        *("-device", "cpu", "--disable_tta"),
    )
    assert_engines_agree(folders.root / "out", folders.root / "fast", ending)
    weights = torch.load(
        model / "fold_0" / "checkpoint_final.pth", map_location="cpu", weights_only=False
    )["network_weights"]
    assert any("decoder.gates" in key for key in weights)
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text())
    assert summary["metric_per_case"]
    return sorted(images.iterdir()), folders.root / "out" / f"{case}{ending}", weights


@needs(NUCLEI)
def test_2d_colour_images_train_and_predict(tmp_path):
    folders = NnunetFolders(tmp_path)
    raw_subset(NUCLEI, folders.raw / NUCLEI.name, cases=6)
    images, segmentation, weights = train_and_predict(
        folders, NUCLEI.name, "2d", patch_size=[128, 128]
    )
    assert weights["encoder.stages.0.0.convs.0.conv.weight"].shape[1:] == (3, 3, 3)
    with Image.open(images[0]) as image, Image.open(segmentation) as predicted:
        assert predicted.size == image.size
        assert set(np.unique(np.asarray(predicted))) <= {0, 1, 2}


@needs(SARCOMA)
def test_anisotropic_ct_trains_and_predicts(tmp_path):
    folders = NnunetFolders(tmp_path)
    raw_subset(SARCOMA, folders.raw / SARCOMA.name, cases=5)
    crop_around_the_tumour(folders.raw / SARCOMA.name)
    images, segmentation, weights = train_and_predict(folders, SARCOMA.name, "3d_fullres")
    strides = {tuple(w.shape[2:]) for key, w in weights.items() if key.endswith("theta.weight")}
    assert any(stride[0] < stride[1] for stride in strides), strides
    assert_same_geometry(images[0], segmentation)


def crop_around_the_tumour(dataset, size=(72, 64, 24)):
    """Cuts every case to `size` voxels, x, y, z: whole ones take minutes on a CPU."""
    for label_path in (dataset / "labelsTr").iterdir():
        label = SimpleITK.ReadImage(str(label_path))
        centre = np.argwhere(SimpleITK.GetArrayFromImage(label)).mean(0)[::-1]
        start = [
            int(np.clip(c - wanted / 2, 0, there - wanted))
            for c, wanted, there in zip(centre, size, label.GetSize(), strict=True)
        ]
        image_path = dataset / "imagesTr" / label_path.name.replace(".", "_0000.", 1)
        for path in (label_path, image_path):
            whole = SimpleITK.ReadImage(str(path))
            SimpleITK.WriteImage(SimpleITK.RegionOfInterest(whole, size, start), str(path))


def test_regions_ignore_label_and_two_channels_train_and_predict(tmp_path):
    folders = NnunetFolders(tmp_path)
    write_regions_dataset(folders.raw / "Dataset901_Regions")
    images, segmentation, weights = train_and_predict(folders, "Dataset901_Regions", "3d_fullres")
    assert len(images) == 2
    assert weights["encoder.stages.0.0.convs.0.conv.weight"].shape[1] == 2
    # One head a region: neither the background nor the ignore label has any.
    heads = {w.shape[0] for key, w in weights.items() if "seg_layers" in key}
    assert heads == {2}
    assert_same_geometry(images[0], segmentation)
    assert set(np.unique(voxels(segmentation))) <= {0, 1, 2}


def write_regions_dataset(folder):
    """Five cases, (12, 28, 24) voxels of 3 x 2 x 1 mm, turned against the axes of the scanner."""
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    generator = np.random.default_rng(0)
    z, y, x = np.mgrid[:12, :28, :24]
    for case in range(5):
        centre = (6, 14 + case - 2, 12)
        distance = np.sqrt(
            ((z - centre[0]) / 4) ** 2 + ((y - centre[1]) / 9) ** 2 + ((x - centre[2]) / 8) ** 2
        )
        labels = np.where(distance < 0.5, 2, np.where(distance < 1, 1, 0)).astype(np.uint8)
        labels[-1] = 3
        for channel in range(2):
            noise = generator.normal(size=labels.shape)
            write_image(labels * (channel + 1) + noise, folder, f"imagesTr/c{case}_000{channel}")
        write_image(labels, folder, f"labelsTr/c{case}")
    dataset = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3},
        "regions_class_order": [1, 2],
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(dataset))


def write_image(array, folder, name):
    image = SimpleITK.GetImageFromArray(
        array.astype(array.dtype if array.dtype == np.uint8 else "f4")
    )
    image.SetSpacing((1.0, 2.0, 3.0))
    image.SetOrigin((-11.0, 7.0, 3.5))
    image.SetDirection((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    SimpleITK.WriteImage(image, str(folder / f"{name}.nii.gz"))
