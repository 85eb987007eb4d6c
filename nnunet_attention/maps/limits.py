"""Chooses the values at the two ends of a scale of greys or colours."""

import numpy as np

from nnunet_attention.drawing import CT_WINDOW_HU

# Air has -1000 HU; no other modality's images begin so far below zero.
_CT_BEGINS_BELOW = -500
# More voxels would not change a percentile visibly, and would take seconds to sort.
_ENOUGH_VOXELS = 4_000_000
# So that a constant volume has a scale too: about the resolution of half precision near 1.
_LEAST_RANGE = 1e-3


def grey_limits(image: np.ndarray) -> tuple[float, float]:
    """Choose black and white: soft tissue in CT, else the 0.5th and 99.5th percentile."""
    if looks_like_ct(image):
        return CT_WINDOW_HU
    return _widened(*_percentiles(image, 0.5, 99.5))


def looks_like_ct(image: np.ndarray) -> bool:
    """Tell whether the values must be Hounsfield units."""
    return bool(image.min() < _CT_BEGINS_BELOW)


def map_limits(coefficients: np.ndarray) -> tuple[float, float]:
    """Return the 1st and 99th percentile; of a constant map, two values a little apart."""
    low, high = _widened(*_percentiles(coefficients, 1, 99))
    inwards = max(-low, 0.0) - max(high - 1, 0.0)
    return low + inwards, high + inwards


def _percentiles(volume: np.ndarray, low: float, high: float) -> tuple[float, float]:
    # Thick volumes have few slices, and 2-D images one: none is skipped.
    step = int(np.ceil((volume.size / _ENOUGH_VOXELS) ** 0.5)) or 1
    # Half precision would be sorted slowly and interpolated coarsely.
    sample = np.asarray(volume[..., ::step, ::step], dtype=np.float32)
    low, high = np.percentile(sample, (low, high))
    return float(low), float(high)


def _widened(low: float, high: float) -> tuple[float, float]:
    lacking = _LEAST_RANGE - (high - low)
    return (low - lacking / 2, high + lacking / 2) if lacking > 0 else (low, high)
