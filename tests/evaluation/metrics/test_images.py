"""Segmentations of all of nnU-Net's formats are read with their spacing; pairs share a grid."""

import json

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from skimage.io import imsave

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.metrics import images
from nnunet_attention.evaluation.metrics.images import (
    Segmentation,
    check_same_grid,
    read_pair,
    read_segmentation,
    with_shared_spacing,
)
from nnunet_attention.evaluation.metrics.overlap import OverlapCounts, overlap_counts

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
    with pytest.raises(CommandError, match=r"a.tif .*expected positive"):
        read_segmentation(tmp_path / "a.tif")


def write_nifti(path, labels, affine):
    """With this affine and no other."""
    image = nibabel.Nifti1Image(labels.T, affine)
    image.set_qform(None, 0)
    image.set_sform(affine, 1)
    nibabel.save(image, path)
    return path


SHEARED = np.array([[1, 0.05, 0, 7], [0, 2, 0.08, -8], [0, 0, 3, 9], [0, 0, 0, 1]])


def test_sheared_images_are_read_as_nnunet_reads_them(tmp_path, labels):
    from nnunetv2.imageio.nibabel_reader_writer import NibabelIO

    path = write_nifti(tmp_path / "a.nii.gz", labels, SHEARED)
    with pytest.raises(RuntimeError, match="orthonormal"):
        SimpleITK.ReadImage(str(path))
    read = read_segmentation(path)
    [expected], properties = NibabelIO().read_seg(str(path))
    np.testing.assert_array_equal(read.labels, expected)
    assert read.spacing_mm == pytest.approx(properties["spacing"])
    assert read.origin_mm == (-7, 8, 9)
    check_same_grid("liver_1", read, read)
    moved = SHEARED.copy()
    moved[0, 3] += 3
    with pytest.raises(CommandError, match="origin_mm"):
        check_same_grid(
            "liver_1", read, read_segmentation(write_nifti(tmp_path / "b.nii.gz", labels, moved))
        )


def test_without_shear_both_ways_of_reading_agree(tmp_path, labels):
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * (1, 2, 3), (7, -8, 9)
    path = write_nifti(tmp_path / "a.nii.gz", labels, affine)
    one, other = images._read_with_itk(path), images._read_with_nibabel(path)
    np.testing.assert_array_equal(one.labels, other.labels)
    for name in ("spacing_mm", "origin_mm", "direction"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-6)


def write_with_two_grids(path, labels, qform, sform):
    """As a scanner and a registration leave them, both valid."""
    image = nibabel.Nifti1Image(labels.T, sform)
    image.set_qform(qform, 1)
    image.set_sform(sform, 2)
    nibabel.save(image, path)
    return path


def shifted(by_mm):
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[0, 3] = by_mm
    return affine


def test_predictions_of_nnunets_reader_share_the_grid_of_a_reference_with_two(tmp_path, labels):
    from nnunetv2.imageio.nibabel_reader_writer import NibabelIO

    gt = write_with_two_grids(tmp_path / "a.nii.gz", labels, shifted(-15), shifted(-10))
    [read], properties = NibabelIO().read_seg(str(gt))
    pred = tmp_path / "b.nii.gz"
    NibabelIO().write_seg(read, str(pred), properties)
    # ITK reads one grid of the reference and, of the prediction, the other.
    with pytest.raises(CommandError, match="origin_mm"):
        check_same_grid("a", read_segmentation(gt), read_segmentation(pred))
    reference, prediction = read_pair("a", gt, pred)
    np.testing.assert_array_equal(reference.labels, prediction.labels)
    assert reference.spacing_mm == pytest.approx(SPACING_MM)


def test_grids_that_differ_by_either_reading_are_refused(tmp_path, labels):
    gt = write_with_two_grids(tmp_path / "a.nii.gz", labels, shifted(-15), shifted(-10))
    elsewhere = write_nifti(tmp_path / "b.nii.gz", labels, shifted(5))
    with pytest.raises(CommandError, match=r"^case a: the reference has origin_mm \(15, "):
        read_pair("a", gt, elsewhere)
    nrrd = write(tmp_path / "b.nrrd", labels)
    with pytest.raises(CommandError, match="origin_mm"):
        read_pair("a", gt, nrrd)
    smaller = write_nifti(tmp_path / "c.nii.gz", labels[:2], shifted(-10))
    with pytest.raises(CommandError, match=r"shape \(3, 4, 5\), but .* \(2, 4, 5\)"):
        read_pair("a", gt, smaller)


def test_one_spacing_of_a_pair_is_that_of_both(labels):
    known = Segmentation(labels, SPACING_MM)
    unknown = Segmentation(labels, (1.0, 1.0, 1.0), spacing_is_known=False)
    for pair in ((known, unknown), (unknown, known), (known, known)):
        assert [one.spacing_mm for one in with_shared_spacing(*pair)] == [SPACING_MM] * 2
    assert with_shared_spacing(unknown, unknown) == (unknown, unknown)
    # Where both know theirs, a difference stays one.
    finer = Segmentation(labels, (3.0, 2.0, 0.5))
    assert with_shared_spacing(known, finer) == (known, finer)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_itk_reads_as_0_is_found(tmp_path, labels, value):
    array = labels.astype(np.float32)
    array[0, 0, 0] = value
    path = write(tmp_path / "a.nii.gz", array)
    assert SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))[0, 0, 0] == 0
    with pytest.raises(CommandError, match=r"a.nii.gz holds NaN or infinity"):
        read_segmentation(path)


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
        read_segmentation(write(tmp_path / "a.nrrd", array))


def test_what_cannot_be_read_is_named(tmp_path, labels):
    with pytest.raises(CommandError, match=r"absent.nii.gz: there is no such file"):
        read_segmentation(tmp_path / "absent.nii.gz")
    (tmp_path / "a.txt").write_text("labels")
    with pytest.raises(CommandError, match=r"a.txt: unknown file ending; known are .nii.gz"):
        read_segmentation(tmp_path / "a.txt")
    imsave(tmp_path / "colour.png", np.stack([labels[0]] * 3, axis=-1), check_contrast=False)
    with pytest.raises(CommandError, match=r"colour.png .*expected one channel"):
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


def test_whatever_a_reader_of_pictures_raises_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 4, 5), np.uint8), photometric="minisblack")

    def divide(path):
        return 1 // 0

    monkeypatch.setattr("tifffile.imread", divide)
    with pytest.raises(CommandError, match=r"a\.tif cannot be read as an image: .*by zero"):
        read_segmentation(path)
