"""Summarises the coefficients of one gate in one case."""

from collections.abc import Mapping

import numpy as np

# A voxel with a lower coefficient is practically shut out.
CLOSED_BELOW = 0.1


def gate_statistics(
    coefficients: np.ndarray,
    prediction: np.ndarray,
    labels: Mapping[str, int | list[int]],
    seen: np.ndarray,
) -> dict:
    """Summarise coefficients over the voxels that the network saw.

    Args:
        coefficients: (Z, Y, X), in [0, 1].
        prediction: the segmentation, (Z, Y, X).
        labels: by name, the label's value in `prediction`, or the values of a region.
        seen: mask (Z, Y, X) of the voxels that nnU-Net's cropping kept.

    Returns:
        `mean`, `minimum`, `maximum`; `mean_inside`: by label, None where nothing was predicted;
        `mean_outside`: where no label was predicted, None where one was predicted everywhere;
        `entropy_bits`: mean over voxels of -a log2(a) - (1 - a) log2(1 - a), 1 for undecided
        coefficients of 0.5, 0 for 0 and 1; `share_below_0.1`.
    """
    everywhere, outside = _Mean(), _Mean()
    inside = {name: _Mean() for name in labels}
    entropy_bits, closed = _Mean(), _Mean()
    low, high = np.inf, -np.inf
    # Slice by slice: whole volumes in 64 bits would need more memory than the prediction did.
    for plane, predicted, mask in zip(coefficients, prediction, seen, strict=True):
        values = plane[mask].astype(np.float64)
        if not values.size:
            continue
        predicted = predicted[mask]
        foreground = np.zeros(predicted.shape, dtype=bool)
        for name, label in labels.items():
            here = np.isin(predicted, label)
            foreground |= here
            inside[name].add(values[here])
        everywhere.add(values)
        outside.add(values[~foreground])
        # Where a coefficient is exactly 0 or 1, the limit of x log x, which is 0, is wanted.
        bounded = np.clip(values, 1e-12, 1 - 1e-12)
        entropy_bits.add(-bounded * np.log2(bounded) - (1 - bounded) * np.log2(1 - bounded))
        closed.add(values < CLOSED_BELOW)
        low, high = min(low, values.min()), max(high, values.max())
    return {
        "mean": everywhere.value,
        "minimum": float(low),
        "maximum": float(high),
        "mean_inside": {name: mean.value for name, mean in inside.items()},
        "mean_outside": outside.value,
        "entropy_bits": entropy_bits.value,
        f"share_below_{CLOSED_BELOW}": closed.value,
    }


class _Mean:
    """Computes a mean of values that arrive in parts."""

    def __init__(self):
        self._sum, self._count = 0.0, 0

    def add(self, values: np.ndarray) -> None:
        self._sum += float(values.sum())
        self._count += values.size

    @property
    def value(self) -> float | None:
        return self._sum / self._count if self._count else None
