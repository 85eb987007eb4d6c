"""The files of a case are whole and fit the model and each other, or the case is named."""

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from skimage.io import imsave

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.inputs import CaseFiles, Header, check_cases, header_of

SPACING_MM = (3.0, 2.0, 1.0)


def write(path, shape=(3, 4, 5), spacing_mm=SPACING_MM, is_vector=False):
    image = SimpleITK.GetImageFromArray(np.zeros(shape, np.float32), isVector=is_vector)
    if len(shape) == 3:
        image.SetSpacing(spacing_mm[::-1])
    SimpleITK.WriteImage(image, str(path))
    return path


def check(*images, labels=(), channels=1, reader="SimpleITKIO"):
    check_cases([CaseFiles("liver_1", images, labels)], channels, reader)


def test_headers_tell_what_nnunet_reads(tmp_path):
    image = write(tmp_path / "a.nii.gz")
    assert header_of(image, "SimpleITKIO") == Header(1, (5, 4, 3), (1.0, 2.0, 3.0))
    assert header_of(image, "NibabelIO") == Header(1, (5, 4, 3), (1.0, 2.0, 3.0))
    several = write(tmp_path / "b.nii.gz", (2, 3, 4, 5))
    assert header_of(several, "SimpleITKIO") == Header(2, (5, 4, 3), (1.0, 1.0, 1.0))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 4, 5), np.uint8), photometric="minisblack")
    assert header_of(tmp_path / "a.tif", "Tiff3DIO") == Header(1, (6, 4, 5))
    imsave(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8), check_contrast=False)
    assert header_of(tmp_path / "a.png", "NaturalImage2DIO") == Header(3, (4, 5))
    assert header_of(image, "OddIO") is None


def test_channels_may_lie_in_files_of_their_own_or_together(tmp_path):
    check(write(tmp_path / "a_0000.nii.gz"), write(tmp_path / "a_0001.nii.gz"), channels=2)
    check(write(tmp_path / "b_0000.nii.gz", (2, 3, 4, 5)), channels=2)
    imsave(tmp_path / "c_0000.png", np.zeros((4, 5, 3), np.uint8), check_contrast=False)
    check(tmp_path / "c_0000.png", channels=3, reader="NaturalImage2DIO")
    with pytest.raises(CommandError, match=r"case liver_1: b_0000.nii.gz hold\(s\) 2 channel\(s\)"):
        check(tmp_path / "b_0000.nii.gz")
    with pytest.raises(CommandError, match=r"c_0000.png hold\(s\) 3 .* the model takes 1"):
        check(tmp_path / "c_0000.png", reader="NaturalImage2DIO")


def test_vectors_and_wrong_axes_are_refused(tmp_path):
    vectors = write(tmp_path / "a.nii.gz", (3, 4, 5, 2), is_vector=True)
    with pytest.raises(CommandError, match=r"case liver_1: .*a.nii.gz .*2 values per voxel"):
        check(vectors)
    with pytest.raises(CommandError, match=r"b.nii.gz .*with NibabelIO: it has 4 axes"):
        check(write(tmp_path / "b.nii.gz", (2, 3, 4, 5)), reader="NibabelIO")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((4, 5), np.uint8))
    with pytest.raises(CommandError, match=r"c.tif cannot be read with Tiff3DIO: it has 2 axes"):
        check(tmp_path / "c.tif", reader="Tiff3DIO")


def test_shear_is_refused_by_the_reader_that_refuses_it(tmp_path):
    affine = np.array([[1, 0.05, 0, 0], [0, 1, 0.08, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(np.zeros((5, 4, 3), np.float32), affine)
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    check(tmp_path / "a.nii.gz", reader="NibabelIO")
    with pytest.raises(CommandError, match=r"case liver_1: .*orthonormal"):
        check(tmp_path / "a.nii.gz")


def test_files_of_a_case_lie_on_one_grid(tmp_path):
    first = write(tmp_path / "a_0000.nii.gz")
    other = write(tmp_path / "a_0001.nii.gz", (3, 5, 4))
    with pytest.raises(CommandError, match=r"a_0001.nii.gz has shape \(4, 5, 3\), but .*a_0000"):
        check(first, other, channels=2)
    with pytest.raises(CommandError, match=r"a_0001.nii.gz has shape"):
        check(first, labels=(other,))
    finer = write(tmp_path / "a_0002.nii.gz", spacing_mm=(3.0, 2.0, 0.5))
    with pytest.raises(CommandError, match=r"a_0002.nii.gz has spacing \(0.5, 2.0, 3.0\), but"):
        check(first, finer, channels=2)


def test_a_file_that_is_not_whole_is_named_with_its_case(tmp_path):
    path = write(tmp_path / "a.nii.gz")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(CommandError, match=r"case liver_1: .*a.nii.gz is incomplete or damaged"):
        check(path)
    with pytest.raises(CommandError, match=r"case liver_1: .*b.nii.gz: there is no such file"):
        check(write(tmp_path / "c.nii.gz"), labels=(tmp_path / "b.nii.gz",))
    # Whatever the reader.
    with pytest.raises(CommandError, match=r"case liver_1: .*a.nii.gz is incomplete or damaged"):
        check(path, reader="OddIO")
