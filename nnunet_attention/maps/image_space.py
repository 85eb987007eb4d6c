"""Takes a map from the network's grid back to the image's, and writes it with its geometry."""

from pathlib import Path

import numpy as np
import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

# A PNG holds whole numbers only.
PNG_SCALE = 65535
_NATURAL_IMAGE_ENDINGS = (".png", ".bmp")
_TIFF_ENDINGS = (".tif", ".tiff")


def to_image_space(
    attention_map: np.ndarray,
    plans_manager: PlansManager,
    configuration_manager: ConfigurationManager,
    properties: dict,
) -> np.ndarray:
    """Undo nnU-Net's resampling, cropping and transposition, in this order.

    These are the steps that nnU-Net takes for logits, with its own resampling function.

    Args:
        attention_map: (Z', Y', X') on the network's grid, without padding.
        plans_manager: the model's plans.
        configuration_manager: the model's configuration.
        properties: what nnU-Net's preprocessor noted about the case.

    Returns:
        float32, (Z, Y, X) as the image was read; 0 where nnU-Net cropped the image away.
    """
    spacing_mm = [properties["spacing"][axis] for axis in plans_manager.transpose_forward]
    shape = properties["shape_after_cropping_and_before_resampling"]
    network_spacing_mm = configuration_manager.spacing
    if len(network_spacing_mm) < len(shape):
        # A 2-D configuration leaves the spacing between slices unchanged.
        network_spacing_mm = [spacing_mm[0], *network_spacing_mm]
    resampled = configuration_manager.resampling_fn_probabilities(
        attention_map[None], shape, network_spacing_mm, spacing_mm
    )
    if isinstance(resampled, torch.Tensor):
        resampled = resampled.numpy()
    whole = np.zeros(properties["shape_before_cropping"], dtype=np.float32)
    whole[field_of(properties)] = resampled[0]
    return whole.transpose(plans_manager.transpose_backward)


def seen_by_network(plans_manager: PlansManager, properties: dict) -> np.ndarray:
    """Return a mask, (Z, Y, X), of the voxels that nnU-Net's cropping kept."""
    mask = np.zeros(properties["shape_before_cropping"], dtype=bool)
    mask[field_of(properties)] = True
    return mask.transpose(plans_manager.transpose_backward)


def field_of(properties: dict) -> tuple[slice, ...]:
    """Return where the cropped image lies in the whole image, in transposed axes."""
    return tuple(slice(int(low), int(high)) for low, high in properties["bbox_used_for_cropping"])


def map_ending(file_ending: str, features: bool = False) -> str:
    """Return the ending under which maps of a data set are written.

    It is the data set's own, with two exceptions: a BMP has too few grey levels, and features,
    which may be negative, do not fit in a PNG.
    """
    if file_ending in _NATURAL_IMAGE_ENDINGS:
        return ".tif" if features else ".png"
    return file_ending


def write_map(attention_map: np.ndarray, path: Path, properties: dict) -> None:
    """Write a map straight to `path`, whose ending names the format; nothing is renamed.

    Medical formats and TIFF hold 32-bit floats, a PNG the coefficient times `PNG_SCALE`.

    Args:
        attention_map: float32, (Z, Y, X) as nnU-Net's reader gave the image.
        path: where the file goes.
        properties: what nnU-Net's reader noted; its geometry is written.
    """
    if path.suffix == ".png":
        _write_png(attention_map, path)
    elif path.suffix in _TIFF_ENDINGS:
        import tifffile

        # Without `photometric`, three or four slices would be taken for colours.
        tifffile.imwrite(path, attention_map, photometric="minisblack", compression="zlib")
    elif "nibabel_stuff" in properties:
        _write_with_nibabel(attention_map, path, properties["nibabel_stuff"])
    else:
        _write_with_simpleitk(attention_map, path, properties["sitk_stuff"])


def can_be_written(properties: dict, file_ending: str) -> bool:
    """Tell whether the geometry that a reader noted is one that `write_map` knows."""
    return (
        file_ending in (*_NATURAL_IMAGE_ENDINGS, *_TIFF_ENDINGS)
        or "nibabel_stuff" in properties
        or "sitk_stuff" in properties
    )


def _write_png(attention_map: np.ndarray, path: Path) -> None:
    from skimage import io

    whole_numbers = np.rint(np.clip(attention_map[0], 0, 1) * PNG_SCALE).astype(np.uint16)
    io.imsave(path, whole_numbers, check_contrast=False)


def _write_with_simpleitk(attention_map: np.ndarray, path: Path, geometry: dict) -> None:
    import SimpleITK

    if len(geometry["spacing"]) == 2:
        attention_map = attention_map[0]
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(attention_map))
    image.SetSpacing(geometry["spacing"])
    image.SetOrigin(geometry["origin"])
    image.SetDirection(geometry["direction"])
    if "original_orientation" in geometry:  # nnU-Net's reader that turns images to RAS
        image = SimpleITK.DICOMOrient(image, geometry["original_orientation"])
    SimpleITK.WriteImage(image, str(path), useCompression=True)


def _write_with_nibabel(attention_map: np.ndarray, path: Path, geometry: dict) -> None:
    import nibabel
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    original = geometry["original_affine"]
    image = nibabel.Nifti1Image(
        attention_map.transpose((2, 1, 0)), geometry.get("reoriented_affine", original)
    )
    if "reoriented_affine" in geometry:  # as above
        image = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), io_orientation(original)))
    nibabel.save(image, path)
