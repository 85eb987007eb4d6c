"""Reads segmentations with their spacing, and checks that two of them lie on the same grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnunet_attention.errors import CommandError, last_line
from nnunet_attention.evaluation.metrics.overlap import LARGEST_LABEL
from nnunet_attention.files import read_json
from nnunet_attention.whole_files import check_whole

_NIFTI_ENDINGS = (".nii.gz", ".nii")
_ITK_ENDINGS = (*_NIFTI_ENDINGS, ".nrrd", ".mha", ".gipl")
_TIFF_ENDINGS = (".tif", ".tiff")
_PICTURE_ENDINGS = (".png", ".bmp")
# Headers are rounded to 32 bits, quaternions more coarsely; any real shift of an image is larger.
_SPACING_TOLERANCE = 1e-3
_ORIGIN_TOLERANCE_VOX = 0.1
_DIRECTION_TOLERANCE = 1e-2


@dataclass(frozen=True)
class Segmentation:
    """Holds a label image.

    Attributes:
        labels: whole numbers, (z, y, x) or (y, x).
        spacing_mm: of the axes, in the array's order; 1 where the format has no spacing.
        origin_mm: of the first voxel, (x, y, z), or empty where the format has none.
        direction: cosines, row by row, or empty.
        spacing_is_known: whether the spacing was stored anywhere.
    """

    labels: np.ndarray
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...] = ()
    direction: tuple[float, ...] = ()
    spacing_is_known: bool = True


def read_segmentation(path: Path) -> Segmentation:
    """Read a label image in any format that nnU-Net reads.

    The spacing of a .tif is read from the .json beside it, which nnU-Net writes.

    Raises:
        CommandError: if the file is incomplete, cannot be read, or is not a label image.
    """
    name = path.name.lower()
    check_whole(path)
    try:
        if name.endswith(_ITK_ENDINGS):
            segmentation = _read_with_itk(path)
        elif name.endswith(_TIFF_ENDINGS + _PICTURE_ENDINGS):
            segmentation = _read_picture(path)
        else:
            endings = ", ".join(_ITK_ENDINGS + _TIFF_ENDINGS + _PICTURE_ENDINGS)
            raise CommandError(f"{path}: unknown file ending; known are {endings}")
    except CommandError:
        raise
    except Exception as error:  # readers of damaged files can fail in any way
        raise CommandError(f"{path} cannot be read as an image: {last_line(error)}") from error
    if segmentation.labels.ndim not in (2, 3):
        raise CommandError(
            f"{path}: a segmentation has 2 or 3 axes, but this has shape "
            f"{segmentation.labels.shape}"
        )
    return replace(segmentation, labels=whole_numbers(segmentation.labels, path))


def read_pair(
    case: str, reference_file: Path, prediction_file: Path
) -> tuple[Segmentation, Segmentation]:
    """Read a prediction and its reference, which must lie on the same grid.

    A NIfTI may hold two grids, qform and sform. ITK and nibabel choose between them by different
    rules, and nnU-Net's NibabelIO writes only nibabel's into a prediction. So two NIfTI files lie
    on the same grid if they do by either. Distances are measured with the spacing of the reference.

    Args:
        case: its name, for messages.
        reference_file: the annotation.
        prediction_file: a model's prediction.

    Raises:
        CommandError: if one cannot be read, or their grids differ.
    """
    reference, prediction = with_shared_spacing(
        read_segmentation(reference_file), read_segmentation(prediction_file)
    )
    try:
        check_same_grid(case, reference, prediction)
    except CommandError:
        first = _on_nibabels_grid(reference, reference_file)
        second = _on_nibabels_grid(prediction, prediction_file)
        if first is None or second is None or _difference(first, second) is not None:
            raise
    return reference, prediction


def with_shared_spacing(
    reference: Segmentation, prediction: Segmentation
) -> tuple[Segmentation, Segmentation]:
    """Give an image without known spacing that of the other image.

    nnU-Net writes a .tif's spacing beside its predictions, but not into gt_segmentations.
    """
    pair = (reference, prediction)
    known = [image for image in pair if image.spacing_is_known]
    if len(known) != 1 or reference.labels.ndim != prediction.labels.ndim:
        return pair
    spacing_mm = known[0].spacing_mm
    first, second = (replace(image, spacing_mm=spacing_mm, spacing_is_known=True) for image in pair)
    return first, second


def check_same_grid(case: str, reference: Segmentation, prediction: Segmentation) -> None:
    """Check that two images have the same shape, spacing, origin and direction.

    Raises:
        CommandError: if they differ by more than the rounding of headers.
    """
    difference = _difference(reference, prediction)
    if difference is not None:
        raise CommandError(f"case {case}: {difference}")


def sidecar(path: Path) -> Path | None:
    """Return the file that holds a .tif's spacing; None for other formats."""
    return path.with_suffix(".json") if path.name.lower().endswith(_TIFF_ENDINGS) else None


def _difference(reference: Segmentation, prediction: Segmentation) -> str | None:
    """Say how two grids differ by more than the rounding of headers; None if they do not."""
    pairs = {
        "shape": (reference.labels.shape, prediction.labels.shape),
        "spacing_mm": (reference.spacing_mm, prediction.spacing_mm),
        "origin_mm": (reference.origin_mm, prediction.origin_mm),
        "direction": (reference.direction, prediction.direction),
    }
    scale = max(reference.spacing_mm)
    tolerance = {
        "shape": 0.0,
        "spacing_mm": _SPACING_TOLERANCE * min(reference.spacing_mm),
        "origin_mm": _ORIGIN_TOLERANCE_VOX * scale,
        "direction": _DIRECTION_TOLERANCE,
    }
    for name, (expected, actual) in pairs.items():
        if len(expected) != len(actual) or not np.allclose(
            expected, actual, rtol=0, atol=tolerance[name]
        ):
            return (
                f"the reference has {name} {_short(expected)}, but the prediction has "
                f"{_short(actual)}; resample the prediction to the grid of the reference"
            )
    return None


def _read_with_itk(path: Path) -> Segmentation:
    import SimpleITK

    is_nifti = path.name.lower().endswith(_NIFTI_ENDINGS)
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError:
        # ITK refuses sheared axes. nnU-Net then reads with nibabel, and so do we.
        segmentation = _read_with_nibabel(path) if is_nifti else None
        if segmentation is None:
            raise
        return segmentation
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"it has {image.GetNumberOfComponentsPerPixel()} channels, expected one")
    labels = SimpleITK.GetArrayFromImage(image)
    if is_nifti and labels.dtype.kind == "f":
        _check_finite(path)
    return Segmentation(
        labels,
        tuple(abs(step) for step in image.GetSpacing()[::-1]),
        image.GetOrigin(),
        image.GetDirection(),
    )


def _read_with_nibabel(path: Path) -> Segmentation | None:
    """Read as nnU-Net's NibabelIO does, with ITK's axis directions; None if it cannot read it."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import SpatialImage

    try:
        image = nibabel.load(path)
    except ImageFileError:
        return None
    if not isinstance(image, SpatialImage) or len(image.shape) != 3:
        return None
    _, origin_mm, direction = _grid_of_affine(image.affine)
    spacing_mm = tuple(float(step) for step in image.header.get_zooms()[::-1])
    return Segmentation(np.asanyarray(image.dataobj).T, spacing_mm, origin_mm, direction)


def _on_nibabels_grid(image: Segmentation, path: Path) -> Segmentation | None:
    """Give an image the grid that nibabel reads from its file; None if it is no NIfTI."""
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import SpatialImage

    if not path.name.lower().endswith(_NIFTI_ENDINGS):
        return None
    try:
        file = nibabel.load(path)
    except ImageFileError:
        return None
    if not isinstance(file, SpatialImage) or file.affine is None:
        return None
    return Segmentation(image.labels, *_grid_of_affine(file.affine))


def _grid_of_affine(
    affine: np.ndarray,
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Return spacing in the array's order, origin, and direction in ITK's axes, of an affine."""
    import nibabel

    steps = nibabel.affines.voxel_sizes(affine)
    # nibabel's axes point to the right and the front, ITK's to the left and the back.
    turned = np.diag((-1.0, -1.0, 1.0, 1.0)) @ affine
    return (
        tuple(steps[::-1].tolist()),
        tuple(turned[:3, 3].tolist()),
        tuple((turned[:3, :3] / steps).ravel().tolist()),
    )


def _check_finite(path: Path) -> None:
    """Check a NIfTI of floats for NaN and infinity, which ITK would read as 0."""
    import nibabel
    from nibabel.spatialimages import SpatialImage

    image = nibabel.load(path)
    if isinstance(image, SpatialImage) and not np.isfinite(np.asanyarray(image.dataobj)).all():
        raise CommandError(f"{path} holds NaN or infinity; labels must be whole numbers")


def _read_picture(path: Path) -> Segmentation:
    of_spacing = sidecar(path)
    if of_spacing is None:
        from skimage.io import imread

        labels = imread(path)
    else:
        # scikit-image mistakes a stack of three slices for a colour image.
        from tifffile import imread

        labels = imread(path)
    if of_spacing is None and labels.ndim != 2:
        raise ValueError(f"it has shape {labels.shape}, expected one channel of labels")
    if of_spacing is None or not of_spacing.is_file():
        return Segmentation(labels, (1.0,) * labels.ndim, spacing_is_known=False)
    spacing = read_json(of_spacing).get("spacing")
    if not isinstance(spacing, list) or len(spacing) < labels.ndim:
        raise ValueError(f"{of_spacing} has no spacing for shape {labels.shape}")
    spacing = tuple(float(step) for step in spacing[-labels.ndim :])
    if not all(step > 0 for step in spacing):
        raise ValueError(f"{of_spacing} has spacing {spacing}, expected positive numbers")
    return Segmentation(labels, spacing)


def whole_numbers(labels: np.ndarray, path: Path) -> np.ndarray:
    """Return the labels as integers of at most 32 bits, whatever the file's data type.

    Raises:
        CommandError: if the values include fractions, NaN, or labels below 0 or too large.
    """
    if labels.dtype.kind == "f":
        whole = np.isfinite(labels).all() and np.array_equal(np.rint(labels), labels)
        if not whole:
            raise CommandError(f"{path} holds fractions or NaN; labels must be whole numbers")
    elif labels.dtype.kind not in "bui":
        raise CommandError(f"{path} holds {labels.dtype}; labels must be whole numbers")
    if labels.size and labels.min() < 0:
        raise CommandError(f"{path} holds the label {labels.min():.0f}; labels start at 0")
    # Compared as a Python integer, because a 32-bit float cannot represent the limit.
    if labels.size and int(labels.max()) > LARGEST_LABEL:
        raise CommandError(
            f"{path} holds the label {labels.max():.0f}; the largest possible is {LARGEST_LABEL}"
        )
    # Few types, any two of which combine to integers; numpy combines int64 and uint64 to floats.
    kept = {"bool": np.uint8, "uint8": np.uint8, "uint16": np.uint16}
    return labels.astype(kept.get(labels.dtype.name, np.int32), copy=False)


def _short(numbers: tuple[float, ...]) -> str:
    return f"({', '.join(f'{number:g}' for number in numbers)})"
