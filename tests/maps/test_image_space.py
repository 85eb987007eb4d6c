"""From files on disk through nnU-Net's preprocessing to maps on disk, against a known function."""

import json

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from nnunet_commands import assert_same_geometry, voxels
from pointwise_network import (
    expected,
    initialize,
    pointwise_plans,
    random_image,
    write_oblique,
)
from skimage import io
from skimage.transform import resize

from nnunet_attention.maps import AttentionPredictor, MapOptions

pytestmark = pytest.mark.usefixtures("one_thread")
SPACING_MM = (3.0, 2.0, 1.0)
READERS = ("SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient")
# What nnU-Net puts before the network: the axis order, and its inverse.
TRANSPOSED = {"transpose_forward": [2, 0, 1], "transpose_backward": [1, 2, 0]}
NAMES = ("gate_0", "gate_1", "mean")


def predict(folder, plans, **json_changes):
    """Predicts the folder's images, and returns the folder of the maps of `case`."""
    predictor = AttentionPredictor(
        device=torch.device("cpu"), allow_tqdm=False, options=MapOptions(picture=False)
    )
    initialize(predictor, plans, **json_changes)
    predictor.predict_from_files_sequential(str(folder / "images"), str(folder / "out"))
    return folder / "out" / "maps" / "case"


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path / "images"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("transposed", [False, True], ids=["as read", "transposed"])
def test_an_oblique_image_with_a_border_gets_its_maps_voxel_by_voxel(
    minimal_plans, images, reader, transposed
):
    spacing_mm = [SPACING_MM[a] for a in TRANSPOSED["transpose_forward"]]
    changes = {"spacing": spacing_mm, **TRANSPOSED} if transposed else {}
    if "Reorient" in reader:
        # To RAS the axes of this image are turned over, not exchanged.
        changes.setdefault("spacing", list(SPACING_MM))
    plans = pointwise_plans(minimal_plans, image_reader_writer=reader, **changes)
    image = random_image((9, 13, 23), border=2)
    write_oblique(image, images / "case_0000.nii.gz", SPACING_MM)

    folder = predict(images.parent, plans)

    inside = np.zeros(image.shape, dtype=bool)
    inside[2:-2, 2:-2, 2:-2] = True
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"{name}.nii.gz" for name in NAMES[:2]),
        "maps.json",
        "mean.nii.gz",
    ]
    for name in NAMES:
        path = folder / f"{name}.nii.gz"
        assert_same_geometry(images / "case_0000.nii.gz", path)
        found = voxels(path)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found[inside], expected(image)[name][inside], atol=2e-6)
        assert (found[~inside] == 0).all()
    segmentation = images.parent / "out" / "case.nii.gz"
    assert_same_geometry(images / "case_0000.nii.gz", segmentation)
    # In the corners nnU-Net's 16-bit weights are too small for the network's difference of logits.
    assert ((voxels(segmentation) == 1) == (image > 2)).mean() > 0.998


def test_a_resampled_image_gets_its_maps_resampled_back_linearly(minimal_plans, images):
    plans = pointwise_plans(minimal_plans, spacing=[1.5, 2.0, 2.0])
    image = random_image((9, 13, 24))
    write_oblique(image, images / "case_0000.nii.gz", SPACING_MM)

    folder = predict(images.parent, plans)

    on_grid = resize(image, (18, 13, 12), order=1, mode="edge", anti_aliasing=False)
    for name in NAMES:
        wanted = resize(
            expected(on_grid)[name], image.shape, order=1, mode="edge", anti_aliasing=False
        )
        np.testing.assert_allclose(voxels(folder / f"{name}.nii.gz"), wanted, atol=1e-5)


def test_a_2d_configuration_leaves_the_slices_as_they_are(minimal_plans, images):
    plans = pointwise_plans(minimal_plans, patch_size=[8, 16], spacing=[2.0, 1.0])
    image = random_image((3, 13, 23))
    write_oblique(image, images / "case_0000.nii.gz", SPACING_MM)
    folder = predict(images.parent, plans)
    found = voxels(folder / "gate_0.nii.gz")
    np.testing.assert_allclose(found, expected(image)["gate_0"], atol=2e-6)
    sidecar = json.loads((folder / "maps.json").read_text())
    assert sidecar["maps"]["gate_0"]["downsampling"] == [1, 1]


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_maps_have_the_file_ending_of_the_data_set(minimal_plans, images, ending):
    image = random_image((4, 9, 17))
    write_oblique(image, images / f"case_0000{ending}", SPACING_MM)
    folder = predict(images.parent, pointwise_plans(minimal_plans), file_ending=ending)
    found = folder / f"gate_1{ending}"
    assert_same_geometry(images / f"case_0000{ending}", found)
    np.testing.assert_allclose(voxels(found), expected(image)["gate_1"], atol=2e-6)


def test_a_png_data_set_gets_16_bit_pngs(minimal_plans, images):
    plans = pointwise_plans(
        minimal_plans,
        patch_size=[8, 16],
        spacing=[1.0, 1.0],
        image_reader_writer="NaturalImage2DIO",
    )
    image = np.random.default_rng(0).integers(0, 5, (1, 13, 23)).astype(np.uint8)
    io.imsave(images / "case_0000.png", image[0], check_contrast=False)
    folder = predict(images.parent, plans, file_ending=".png")
    found = io.imread(folder / "gate_0.png")
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found / 65535, expected(image)["gate_0"][0], atol=1e-5)
    sidecar = json.loads((folder / "maps.json").read_text())
    assert sidecar["maps"]["gate_0"]["stored_as"] == "coefficient times 65535"


def test_a_3d_tiff_data_set_gets_tiffs(minimal_plans, images):
    import tifffile

    plans = pointwise_plans(minimal_plans, image_reader_writer="Tiff3DIO")
    # nnU-Net writes four slices as colours.
    image = random_image((5, 9, 17))
    tifffile.imwrite(images / "case_0000.tif", image, photometric="minisblack")
    (images / "case.json").write_text(json.dumps({"spacing": SPACING_MM}))
    folder = predict(images.parent, plans, file_ending=".tif")
    found = tifffile.imread(folder / "gate_0.tif")
    np.testing.assert_allclose(found, expected(image)["gate_0"], atol=2e-6)
    assert (images.parent / "out" / "case.tif").is_file()


def test_a_2d_nifti_stays_2d(minimal_plans, images):
    plans = pointwise_plans(minimal_plans, patch_size=[8, 16], spacing=[2.0, 1.0])
    image = random_image((1, 13, 23))
    itk_image = SimpleITK.GetImageFromArray(image[0])
    itk_image.SetSpacing((1.0, 2.0))
    SimpleITK.WriteImage(itk_image, str(images / "case_0000.nii.gz"))
    folder = predict(images.parent, plans)
    found = SimpleITK.ReadImage(str(folder / "gate_0.nii.gz"))
    assert found.GetSpacing() == (1.0, 2.0)
    np.testing.assert_allclose(
        SimpleITK.GetArrayFromImage(found), expected(image)["gate_0"][0], atol=2e-6
    )


def test_nibabel_sees_the_affine_of_the_image(minimal_plans, images):
    write_oblique(random_image((4, 9, 17)), images / "case_0000.nii.gz", SPACING_MM)
    folder = predict(images.parent, pointwise_plans(minimal_plans))
    wanted = nibabel.load(images / "case_0000.nii.gz").affine
    np.testing.assert_allclose(nibabel.load(folder / "mean.nii.gz").affine, wanted, atol=1e-5)


def test_an_image_in_memory_gives_the_same_maps(minimal_plans, images):
    image = random_image((9, 13, 24))
    write_oblique(image, images / "case_0000.nii.gz", SPACING_MM)
    plans = pointwise_plans(minimal_plans, spacing=[1.5, 2.0, 2.0])
    folder = predict(images.parent, plans)
    predictor = AttentionPredictor(device=torch.device("cpu"), allow_tqdm=False)
    segmentation, maps = initialize(predictor, plans).predict_image(
        image[None], {"spacing": SPACING_MM}
    )
    assert list(maps) == list(NAMES)
    for name, one_map in maps.items():
        np.testing.assert_allclose(one_map, voxels(folder / f"{name}.nii.gz"), atol=1e-6)
    np.testing.assert_array_equal(segmentation, voxels(images.parent / "out" / "case.nii.gz"))
