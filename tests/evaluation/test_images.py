"""Segmentations of all of nnU-Net's formats are read with their spacing; pairs share a grid."""

import json

import numpy as np
import pytest
import SimpleITK
import tifffile
from skimage.io import imsave

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.images import Segmentation, check_same_grid, read_segmentation
from nnunet_attention.evaluation.overlap import OverlapCounts, overlap_counts

SPACING_MM = (3.0, 2.0, 1.0)


@pytest.fixture
def labels():
    return np.arange(60, dtype=np.uint8).reshape(3, 4, 5) % 3


def write(path, array, spacing_mm=SPACING_MM):
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_medical_formats_keep_array_and_spacing_in_one_order(tmp_path, labels, ending):
    read = read_segmentation(write(tmp_path / f"a{ending}", labels))
    np.testing.assert_array_equal(read.labels, labels)
    assert read.spacing_mm == SPACING_MM


def test_planes_are_read(tmp_path, labels):
    read = read_segmentation(write(tmp_path / "a.nrrd", labels[0], (2.0, 1.0)))
    np.testing.assert_array_equal(read.labels, labels[0])
    assert read.spacing_mm == (2.0, 1.0)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_pictures_have_pixels_of_1_mm(tmp_path, ending):
    # Of 4 rows, scikit-image would make the channels of a .tif.
    labels = np.arange(30, dtype=np.uint8).reshape(5, 6) % 3
    imsave(tmp_path / f"a{ending}", labels, check_contrast=False)
    read = read_segmentation(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(read.labels, labels)
    assert read.spacing_mm == (1.0, 1.0)


def test_stacks_of_tif_have_the_spacing_of_the_file_beside(tmp_path, labels):
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="minisblack")
    (tmp_path / "a.json").write_text(json.dumps({"spacing": SPACING_MM}))
    read = read_segmentation(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.labels, labels)
    assert read.spacing_mm == SPACING_MM
    (tmp_path / "a.json").write_text(json.dumps({"spacing": [3, 0, 1]}))
    with pytest.raises(CommandError, match=r"a.tif .*wanted positive"):
        read_segmentation(tmp_path / "a.tif")


# Those that ITK's formats and TIFF hold between them.
NUMBER_TYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", ">u2", ">i4", ">f4"),
)


def write_as(number_type, path, array):
    """Into a TIFF, which holds them all, or into a NIfTI where it holds the type."""
    if number_type in ("bool", "float16") or number_type.startswith(">"):
        tifffile.imwrite(
            path.with_suffix(".tif"), array.astype(number_type), photometric="minisblack"
        )
        path.with_suffix(".json").write_text(json.dumps({"spacing": SPACING_MM}))
        return path.with_suffix(".tif")
    return write(path.with_suffix(".nii"), array.astype(number_type))


@pytest.mark.parametrize("of_prediction", NUMBER_TYPES)
def test_every_number_type_gives_the_same_counts_beside_every_other(tmp_path, of_prediction):
    reference, prediction = np.zeros((2, 3, 4, 5), dtype=np.uint8)
    # 6 voxels in common, 2 only predicted, 4 missed.
    reference.flat[:10] = 1
    prediction.flat[4:12] = 1
    predicted = read_segmentation(write_as(of_prediction, tmp_path / "prediction", prediction))
    assert predicted.labels.dtype.kind in "iu"
    for of_reference in NUMBER_TYPES:
        path = tmp_path / of_reference.replace(">", "big_")
        annotated = read_segmentation(write_as(of_reference, path, reference))
        counts = overlap_counts(annotated.labels, predicted.labels, [1])
        assert counts[1] == OverlapCounts(6, 2, 4, 48)


@pytest.mark.parametrize("number_type", ["uint32", "uint64", "float32"])
def test_a_label_too_large_to_be_counted_is_named(tmp_path, labels, number_type):
    array = labels.astype(number_type)
    array[0, 0, 0] = 2**31
    with pytest.raises(CommandError, match=r"a.nrrd holds the label 2147483648; the largest"):
        read_segmentation(write(tmp_path / "a.nrrd", array))


@pytest.mark.parametrize(
    ("value", "message"),
    [(0.5, "fractions"), (np.nan, "fractions or NaN"), (-1, "labels start at")],
)
def test_what_is_no_label_is_refused(tmp_path, labels, value, message):
    array = labels.astype(np.float32)
    array[0, 0, 0] = value
    with pytest.raises(CommandError, match=message):
        # Of .nii.gz, SimpleITK reads NaN as 0.
        read_segmentation(write(tmp_path / "a.nrrd", array))


def test_what_cannot_be_read_is_named(tmp_path, labels):
    with pytest.raises(CommandError, match=r"absent.nii.gz: there is no such file"):
        read_segmentation(tmp_path / "absent.nii.gz")
    (tmp_path / "a.txt").write_text("labels")
    with pytest.raises(CommandError, match=r"a.txt: unknown file ending; known are .nii.gz"):
        read_segmentation(tmp_path / "a.txt")
    imsave(tmp_path / "colour.png", np.stack([labels[0]] * 3, axis=-1), check_contrast=False)
    with pytest.raises(CommandError, match=r"colour.png .*wanted one channel"):
        read_segmentation(tmp_path / "colour.png")
    for name in ("broken.nii.gz", "broken.png", "broken.tif"):
        (tmp_path / name).write_bytes(b"not an image")
        with pytest.raises(CommandError, match=f"{name} cannot be read as an image"):
            read_segmentation(tmp_path / name)


GRID = {
    "labels": np.zeros((3, 4, 5), dtype=np.uint8),
    "spacing_mm": SPACING_MM,
    "origin_mm": (10.0, 20.0, 30.0),
    "direction": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
}


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.zeros((3, 5, 4), dtype=np.uint8)},
        {"labels": np.zeros((4, 5), dtype=np.uint8)},
        {"spacing_mm": (3.0, 1.0, 2.0)},
        {"origin_mm": (10.0, 20.0, 31.0)},
        {"direction": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)},
    ],
)
def test_pairs_on_different_grids_are_refused_by_case(change):
    [name] = change
    wanted = "shape" if name == "labels" else name
    with pytest.raises(CommandError, match=f"case liver_1: the reference has {wanted} .*resample"):
        check_same_grid("liver_1", Segmentation(**GRID), Segmentation(**GRID | change))


def test_the_rounding_of_headers_is_no_difference():
    rounded = GRID | {"spacing_mm": (3.0000002, 2.0, 1.0), "origin_mm": (10.0001, 20.0, 30.0)}
    check_same_grid("liver_1", Segmentation(**GRID), Segmentation(**rounded))
