"""Checks the files of all cases before the first is predicted, so that an error names its case.

A file that nnU-Net's workers cannot read ends them, and the resulting message is about memory.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_attention.errors import CommandError, last_line
from nnunet_attention.whole_files import check_whole

# Decompression, which takes nearly all the time, lets other threads run.
_THREADS = 8


@dataclass(frozen=True)
class CaseFiles:
    """Names the files that are read for a case.

    Attributes:
        case: the case's name.
        images: one file per channel, or one file with several channels.
        labels: label images, of the previous stage or to be shown, on the grid of the images.
    """

    case: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Header:
    """Holds what is known of a file before its voxels are read.

    Attributes:
        channels: the number of channels that nnU-Net reads from the file.
        shape: the sizes of the axes, in the file's order.
        spacing_mm: the spacing of the axes; empty if the format has none.
    """

    channels: int
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...] = ()


def check_cases(cases: Sequence[CaseFiles], channels: int, reader: str) -> None:
    """Check that all files are whole, and that those of a case fit the model and each other.

    Args:
        cases: the cases to be predicted.
        channels: the number of channels that the model takes.
        reader: the name of nnU-Net's reader, as in plans.

    Raises:
        CommandError: for the first case that cannot be read or does not fit.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(lambda case: _check_case(case, channels, reader), cases):
            pass


def header_of(path: Path, reader: str) -> Header | None:
    """Read a file's header as one of nnU-Net's readers does; return None for an unknown reader.

    Raises:
        CommandError: if the file is not whole, or nnU-Net would fail to read it or misread it.
    """
    check_whole(path)
    if reader not in _READERS:
        return None
    try:
        return _READERS[reader](path)
    except CommandError:
        raise
    except Exception as error:  # readers of damaged files can fail in any way
        raise CommandError(f"{path} cannot be read with {reader}: {last_line(error)}") from error


def _check_case(files: CaseFiles, channels: int, reader: str) -> None:
    try:
        headers = {path: header_of(path, reader) for path in (*files.images, *files.labels)}
    except CommandError as error:
        raise CommandError(f"case {files.case}: {error}") from error
    known = {path: header for path, header in headers.items() if header is not None}
    if len(known) < len(headers):
        return
    held = sum(known[path].channels for path in files.images)
    if held != channels:
        names = ", ".join(path.name for path in files.images)
        raise CommandError(
            f"case {files.case}: {names} hold(s) {held} channel(s), but the model takes {channels}"
        )
    first, first_header = files.images[0], known[files.images[0]]
    for path, header in known.items():
        if path in files.labels and header.channels != 1:
            raise CommandError(
                f"case {files.case}: {path} has {header.channels} channels; label images have one"
            )
        if header.shape != first_header.shape:
            raise CommandError(
                f"case {files.case}: {path} has shape {header.shape}, but {first} has "
                f"{first_header.shape}; resample it to that grid"
            )
        if path in files.images and not _equal(header.spacing_mm, first_header.spacing_mm):
            raise CommandError(
                f"case {files.case}: {path} has spacing {header.spacing_mm}, but {first} has "
                f"{first_header.spacing_mm}; resample it to that grid"
            )


def _equal(spacing_mm: Sequence[float], other_mm: Sequence[float]) -> bool:
    # As nnU-Net compares them.
    return len(spacing_mm) == len(other_mm) and np.allclose(spacing_mm, other_mm)


def _with_itk(path: Path) -> Header:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    shape, spacing = reader.GetSize(), reader.GetSpacing()
    numbers = reader.GetNumberOfComponents()
    if numbers != 1:
        raise ValueError(
            f"it holds {numbers} values per voxel, which would be taken for slices; write one file "
            "for each channel"
        )
    if len(shape) not in (2, 3, 4):
        raise ValueError(f"it has {len(shape)} axes, expected 3")
    channels = shape[3] if len(shape) == 4 else 1
    return Header(channels, tuple(shape[:3]), tuple(spacing[:3]))


def _with_nibabel(path: Path) -> Header:
    import nibabel
    from nibabel.spatialimages import SpatialImage

    image = nibabel.load(path)
    if not isinstance(image, SpatialImage):
        raise ValueError("it holds no image")
    if len(image.shape) != 3:
        raise ValueError(f"it has {len(image.shape)} axes, expected 3: one file for each channel")
    return Header(1, tuple(image.shape), tuple(map(float, image.header.get_zooms())))


def _with_tifffile(path: Path) -> Header:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        shape = tiff.series[0].shape
    if len(shape) != 3:
        raise ValueError(f"it has {len(shape)} axes, expected 3: one file for each channel")
    return Header(1, tuple(shape))


def _with_scikit_image(path: Path) -> Header:
    from skimage.io import imread

    shape = imread(path).shape
    if len(shape) == 2:
        return Header(1, shape)
    if len(shape) != 3 or shape[2] not in (3, 4):
        raise ValueError(f"it has shape {shape}, expected a grey or colour picture")
    return Header(shape[2], shape[:2])


_READERS: Mapping[str, Callable[[Path], Header]] = {
    "SimpleITKIO": _with_itk,
    "SimpleITKIOWithReorient": _with_itk,
    "NibabelIO": _with_nibabel,
    "NibabelIOWithReorient": _with_nibabel,
    "Tiff3DIO": _with_tifffile,
    "NaturalImage2DIO": _with_scikit_image,
}
