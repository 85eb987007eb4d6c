"""Packs volumes as deflated 8-bit arrays: small enough for a page, close enough to the original."""

import base64
import zlib

import numpy as np

from nnunet_attention.errors import CommandError

# The 256 levels are divided among three ranges, evenly spaced in each: all values, five times the
# window, and the window. The first set alone keeps the error of a coefficient, including its
# rounding to three digits, below 1/255.
_LEVELS_OF_ALL, _LEVELS_AROUND, _LEVELS_IN_WINDOW = 151, 25, 80


def coarsening(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], most_voxels: int
) -> tuple[int, ...]:
    """Return how many voxels along z, y and x to merge, so that at most `most_voxels` are left.

    The finest axis is coarsened first, which makes voxels more nearly cubic.
    """
    factors = np.ones(len(shape), dtype=int)
    while np.prod(-(-np.array(shape) // factors)) > most_voxels:
        reached_mm = np.where(factors < shape, factors * np.array(spacing_mm), np.inf)
        factors[reached_mm.argmin()] += 1
    return tuple(factors.tolist())


def block_means(volume: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Average over blocks of (Z, Y, X) or (Z, Y, X, 3); an axis may end with a smaller block."""
    if max(factors) == 1:
        return np.asarray(volume, dtype=np.float32)
    # Slab by slab: the whole volume in full precision would need several times its memory.
    slabs = []
    for start in range(0, volume.shape[0], factors[0]):
        mean = volume[start : start + factors[0]].mean(axis=0, dtype=np.float32)
        for axis, factor in enumerate(factors[1:]):
            starts = np.arange(0, mean.shape[axis], factor)
            sizes = np.diff([*starts, mean.shape[axis]]).astype(np.float32)
            sums = np.add.reduceat(mean, starts, axis=axis)
            mean = sums / np.expand_dims(sizes, [a for a in range(mean.ndim) if a != axis])
        slabs.append(mean)
    return np.stack(slabs)


def block_centres(labels: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Take the label in the middle of each block."""
    middles = (
        np.minimum(np.arange(0, n, factor) + factor // 2, n - 1)
        for n, factor in zip(labels.shape, factors, strict=True)
    )
    return labels[np.ix_(*middles)]


def embed_values(
    volume: np.ndarray, limits: tuple[float, float], factors: tuple[int, ...] = (1, 1, 1)
) -> dict:
    """Embed grey values or coefficients, with the levels densest between the display limits."""
    volume = block_means(volume, factors)
    levels = np.unique(volume)
    if levels.size > 256:
        low, high = levels[0], levels[-1]
        window = np.clip(limits, low, high)
        around = np.clip((3 * window[0] - 2 * window[1], 3 * window[1] - 2 * window[0]), low, high)
        levels = np.concatenate(
            [
                np.linspace(low, high, _LEVELS_OF_ALL),
                np.linspace(around[0], around[1], _LEVELS_AROUND),
                np.linspace(window[0], window[1], _LEVELS_IN_WINDOW),
            ]
        )
        levels.sort()
    nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2, volume)
    return _packed(nearest, factors, [float(f"{level:.6g}") for level in levels])


def embed_labels(labels: np.ndarray, factors: tuple[int, ...] = (1, 1, 1)) -> dict:
    """Embed labels, of which there may be at most 256.

    Raises:
        CommandError: if there are more.
    """
    labels = block_centres(labels, factors)
    values, numbers = np.unique(labels, return_inverse=True)
    if values.size > 256:
        raise CommandError(
            f"a segmentation has {values.size} different labels; a page shows at most 256. Leave "
            "out the page of this case"
        )
    return _packed(numbers.reshape(labels.shape), factors, values.tolist())


def embed_colours(image: np.ndarray, factors: tuple[int, ...] = (1, 1, 1)) -> dict:
    """Embed colours of 0 to 255, (Z, Y, X, 3)."""
    image = block_means(image, factors)
    return _packed(np.clip(np.rint(image), 0, 255), factors, list(range(256)))


def _packed(numbers: np.ndarray, factors: tuple[int, ...], levels: list) -> dict:
    """Pack for the page: `levels[byte]` is the value of a block of `factors` voxels."""
    return {
        "shape": list(numbers.shape[:3]),
        "channels": int(np.prod(numbers.shape[3:])),
        "factors": list(factors),
        "levels": levels,
        "bytes": base64.b64encode(zlib.compress(numbers.astype(np.uint8).tobytes())).decode(),
    }
