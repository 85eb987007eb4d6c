"""Turns arrays so that they begin at the patient's right, front and feet, for display."""

import numpy as np

# The directions in which x, y and z grow in such an array, as in DICOM: left, back, head.
_WANTED = "LPS"
_OPPOSITE = {"L": "R", "P": "A", "S": "I"}


def axis_codes(properties: dict) -> str | None:
    """Return where x, y and z of a case's arrays point, such as "RAS"; None if that is unknown.

    Args:
        properties: what nnU-Net's reader noted.
    """
    if "nibabel_stuff" in properties:
        import nibabel

        geometry = properties["nibabel_stuff"]
        affine = geometry.get("reoriented_affine", geometry["original_affine"])
        return "".join(nibabel.aff2axcodes(affine))
    direction = properties.get("sitk_stuff", {}).get("direction", ())
    if len(direction) != 9:
        return None
    import SimpleITK

    return SimpleITK.DICOMOrientImageFilter_GetOrientationFromDirectionCosines(direction)


def in_lps(volume: np.ndarray, codes: str | None) -> np.ndarray:
    """View a volume, (Z, Y, X) and possibly colours, with its axes in DICOM's order.

    Args:
        volume: the array as it was read.
        codes: the result of `axis_codes`; None leaves the volume as it is.
    """
    if codes is None:
        return volume
    order = _order(codes)
    turned = volume.transpose((*order, *range(3, volume.ndim)))
    for axis, letter in enumerate(_WANTED[::-1]):
        if codes[2 - order[axis]] == _OPPOSITE[letter]:
            turned = np.flip(turned, axis)
    return turned


def spacing_in_lps(
    spacing_mm: tuple[float, float, float], codes: str | None
) -> tuple[float, float, float]:
    """Return the spacing of z, y and x after `in_lps`."""
    if codes is None:
        return spacing_mm
    z, y, x = _order(codes)
    return spacing_mm[z], spacing_mm[y], spacing_mm[x]


def _order(codes: str) -> list[int]:
    """Return the axes of the array that z, y and x come from."""
    return [
        2 - next(x for x, code in enumerate(codes) if code in (letter, _OPPOSITE[letter]))
        for letter in _WANTED[::-1]
    ]
