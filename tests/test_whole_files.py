"""An image file that is cut short or damaged is named, whatever its format; a whole one passes."""

import gzip
import shutil
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from shared_data import HIPPOCAMPUS, NUCLEI, SARCOMA, needs
from skimage.io import imsave

from nnunet_attention.errors import CommandError
from nnunet_attention.whole_files import check_whole

LABELS = np.random.default_rng(0).integers(0, 3, (3, 40, 50)).astype(np.uint8)


def with_itk(path, compressed=False):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(LABELS), str(path), compressed)


def with_nibabel(kind):
    def write(path):
        nibabel.save(kind(LABELS.T.astype(np.int16), np.eye(4)), path)

    return write


def with_tifffile(**options):
    def write(path):
        tifffile.imwrite(path, LABELS, photometric="minisblack", **options)

    return write


def as_picture(path):
    imsave(path, LABELS[0], check_contrast=False)


def as_nrrd(encoding, packed):
    """As teem writes it, which ITK does not."""

    def write(path):
        header = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 50 40 3\nencoding: {encoding}\n\n"
        path.write_bytes(header.encode() + packed(LABELS))

    return write


def as_text(labels):
    return " ".join(map(str, labels.ravel())).encode()


def as_bzip2(labels):
    import bz2

    return bz2.compress(labels.tobytes())


WRITERS = {
    "nii.gz": (with_itk, ".nii.gz"),
    "nii": (with_itk, ".nii"),
    "NIfTI-2": (with_nibabel(nibabel.Nifti2Image), ".nii"),
    "NIfTI-1 of nibabel": (with_nibabel(nibabel.Nifti1Image), ".nii.gz"),
    "nrrd": (with_itk, ".nrrd"),
    "packed nrrd": (lambda path: with_itk(path, True), ".nrrd"),
    "nrrd of bzip2": (as_nrrd("bzip2", as_bzip2), ".nrrd"),
    "nrrd of text": (as_nrrd("ascii", as_text), ".nrrd"),
    "mha": (with_itk, ".mha"),
    "packed mha": (lambda path: with_itk(path, True), ".mha"),
    "gipl": (with_itk, ".gipl"),
    "png": (as_picture, ".png"),
    "bmp": (as_picture, ".bmp"),
    "tif": (with_tifffile(), ".tif"),
    "packed tif": (with_tifffile(compression="zlib"), ".tif"),
    "tiles": (with_tifffile(tile=(16, 16)), ".tiff"),
    "large tif": (with_tifffile(bigtiff=True, byteorder=">"), ".tif"),
}


@pytest.fixture(params=WRITERS)
def file(request, tmp_path):
    write, ending = WRITERS[request.param]
    write(tmp_path / f"a{ending}")
    return tmp_path / f"a{ending}"


def test_a_whole_file_passes(file):
    check_whole(file)


def test_a_file_cut_anywhere_is_named(file):
    content = file.read_bytes()
    half = len(content) // 2
    # tifffile may fill up with bytes that mean nothing.
    last = len(content) - (40 if ".tif" in file.name else 1)
    for length in (*range(0, min(600, half), 7), half, last):
        file.write_bytes(content[:length])
        with pytest.raises(CommandError, match=rf"{file.name} (is incomplete|cannot be read)"):
            check_whole(file)


def test_an_empty_file_and_garbage_are_named(file):
    file.write_bytes(b"")
    with pytest.raises(CommandError, match=rf"{file.name} is incomplete or damaged: it is empty"):
        check_whole(file)
    for garbage in (b"garbage", b"\n" * 400, bytes(range(256)) * 9):
        file.write_bytes(garbage)
        with pytest.raises(CommandError, match=rf"{file.name} (is incomplete|cannot be read)"):
            check_whole(file)


@pytest.mark.parametrize("name", ["nii.gz", "packed nrrd", "packed mha", "png"])
def test_a_changed_byte_contradicts_the_checksum(tmp_path, name):
    write, ending = WRITERS[name]
    path = tmp_path / f"a{ending}"
    write(path)
    content = bytearray(path.read_bytes())
    content[len(content) * 3 // 4] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(
        CommandError, match=f"a{ending} is incomplete .*(are damaged|end after|checksum)"
    ):
        check_whole(path)


def test_what_is_missing_is_told_in_bytes(tmp_path):
    with_itk(tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(content[:-1000])
    wanted = r"promises 6000 bytes for shape \(50, 40, 3\), but there are 5000; copy it again"
    with pytest.raises(CommandError, match=wanted):
        check_whole(tmp_path / "a.nii")
    # Packed as a whole, yet of voxels that were cut before.
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content[:-1000]))
    with pytest.raises(CommandError, match=wanted):
        check_whole(tmp_path / "a.nii.gz")


def test_streams_that_follow_each_other_and_padding_are_whole(tmp_path):
    with_itk(tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    in_two = gzip.compress(content[:1000]) + gzip.compress(content[1000:])
    for padding in (b"", b"\0" * 512):
        (tmp_path / "a.nii.gz").write_bytes(in_two + padding)
        check_whole(tmp_path / "a.nii.gz")
    # zlib, and with it ITK, reads also what was never packed.
    (tmp_path / "a.nii.gz").write_bytes(content)
    check_whole(tmp_path / "a.nii.gz")


def test_voxels_in_a_file_of_their_own_are_looked_at(tmp_path):
    with_itk(tmp_path / "a.mhd")
    check_whole(tmp_path / "a.mhd")
    voxels = tmp_path / "a.raw"
    voxels.write_bytes(voxels.read_bytes()[:-1])
    with pytest.raises(CommandError, match=r"a.mhd is incomplete .* 6000 .* there are 5999"):
        check_whole(tmp_path / "a.mhd")
    voxels.unlink()
    with pytest.raises(CommandError, match=r"a.mhd is incomplete or damaged: .*a.raw.* is missing"):
        check_whole(tmp_path / "a.mhd")


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(CommandError, match=r"a.nii.gz: there is no such file"):
        check_whole(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        pytest.param(HIPPOCAMPUS, "labelsTr/hippocampus_*.nii.gz", marks=needs(HIPPOCAMPUS)),
        pytest.param(SARCOMA, "imagesTr/*.nii.gz", marks=needs(SARCOMA)),
        pytest.param(NUCLEI, "labelsTr/*.png", marks=needs(NUCLEI)),
    ],
)
def test_real_files_pass_until_they_are_cut(tmp_path, folder, file):
    real = sorted(folder.glob(file))[0]
    copy = tmp_path / real.name
    shutil.copyfile(real, copy)
    check_whole(copy)
    with copy.open("r+b") as opened:
        opened.truncate(copy.stat().st_size * 3 // 4)
    with pytest.raises(CommandError, match=f"{real.name} is incomplete or damaged"):
        check_whole(copy)


def test_the_check_loads_neither_torch_nor_nnunetv2():
    script = (
        "import sys, nnunet_attention.whole_files;"
        "sys.exit(int('torch' in sys.modules) or int('nnunetv2' in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
