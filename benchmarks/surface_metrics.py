"""Times ASSD, HD95 and normalised surface Dice, ours and MONAI's, on a liver-like pair.

    python benchmarks/surface_metrics.py [ROUNDS] [OUT.json]

The masks have 200 x 512 x 512 voxels of 1.5 x 0.8 x 0.8 mm. Both libraries compute the metrics from
the same arrays, in turn (A B A B), and must agree to 1e-4. Prints medians and their ratios, and
writes them with all times. MONAI comes with `pip install --no-deps monai`.
"""

import json
import platform
import statistics
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy import ndimage

from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.evaluation.metrics.surface import (
    average_symmetric_surface_distance,
    hausdorff_distance,
    normalised_surface_dice,
    surface_distances,
)

SHAPE = (200, 512, 512)
SPACING_MM = (1.5, 0.8, 0.8)
TOLERANCE_MM = 2.0
AGREEMENT = 1e-4
MONAI_OPTIONS = {"include_background": True, "spacing": SPACING_MM}


def liver(seed: int) -> np.ndarray:
    """Make a bumpy ellipsoid of the size of a liver; each seed gives different bumps."""
    shape, other = np.random.default_rng(0), np.random.default_rng(seed)
    coarse = tuple(length // 8 for length in SHAPE)
    bumps = ndimage.gaussian_filter(shape.standard_normal(coarse), 3)
    bumps = bumps / bumps.std() + 0.5 * other.standard_normal(coarse)
    bumps = ndimage.zoom(bumps, 8, order=1)
    axes = np.ogrid[tuple(slice(0, length) for length in SHAPE)]
    centre, half_axes = (100, 256, 220), (65, 110, 150)
    radius = sum(
        ((axis - middle) / half) ** 2
        for axis, middle, half in zip(axes, centre, half_axes, strict=True)
    )
    return radius + 0.12 * bumps < 1


def all_ours(reference: np.ndarray, prediction: np.ndarray) -> tuple[float, ...]:
    """Compute all three from one pass over the distances."""
    distances = surface_distances(reference, prediction, SPACING_MM)
    return (
        average_symmetric_surface_distance(distances),
        hausdorff_distance(distances),
        normalised_surface_dice(distances, TOLERANCE_MM),
    )


def all_of_monai(reference: np.ndarray, prediction: np.ndarray) -> tuple[float, ...]:
    """Compute MONAI's three functions, each on its own, as it offers them."""
    both = tensors(prediction, reference)
    return (
        compute_average_surface_distance(*both, symmetric=True, **MONAI_OPTIONS).item(),
        compute_hausdorff_distance(*both, percentile=95, **MONAI_OPTIONS).item(),
        compute_surface_dice(*both, [TOLERANCE_MM], **MONAI_OPTIONS).item(),
    )


def hd95_of_ours(reference: np.ndarray, prediction: np.ndarray) -> tuple[float, ...]:
    """Compute one metric alone."""
    return (hausdorff_distance(surface_distances(reference, prediction, SPACING_MM)),)


def hd95_of_monai(reference: np.ndarray, prediction: np.ndarray) -> tuple[float, ...]:
    """Compute one metric alone."""
    both = tensors(prediction, reference)
    return (compute_hausdorff_distance(*both, percentile=95, **MONAI_OPTIONS).item(),)


def tensors(*masks: np.ndarray) -> list[torch.Tensor]:
    """Return masks as MONAI expects them: (B, C, z, y, x)."""
    return [torch.from_numpy(mask)[None, None] for mask in masks]


def main(rounds: str = "5", output: str = "surface_metrics.json") -> None:
    """Print and write the table."""
    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")
    reference, prediction = liver(1), liver(2)
    overlap = 2 * np.count_nonzero(reference & prediction) / (reference.sum() + prediction.sum())
    contests = {
        "all three": (all_ours, all_of_monai),
        "HD95 alone": (hd95_of_ours, hd95_of_monai),
    }
    result = {
        "shape": SHAPE,
        "spacing_mm": SPACING_MM,
        "dice": float(overlap),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("monai", "edt", "numpy", "scipy", "torch")},
        },
    }
    print(f"{rounds} rounds, medians; Dice of the pair {overlap:.3f}")
    for title, (ours, of_monai) in contests.items():
        seconds: dict[str, list[float]] = {"ours": [], "MONAI": []}
        for _ in range(int(rounds)):
            values = []
            for name, function in (("ours", ours), ("MONAI", of_monai)):
                began = time.perf_counter()
                values.append(function(reference, prediction))
                seconds[name].append(time.perf_counter() - began)
            if not np.allclose(*values, rtol=0, atol=AGREEMENT):
                sys.exit(f"{title}: the metrics differ: {values}")
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        ratio = medians["MONAI"] / medians["ours"]
        result[title] = {"values": values[0], "seconds": seconds, "ratio": ratio}
        print(
            f"{title:12}  ours {medians['ours']:6.2f} s  MONAI {medians['MONAI']:6.2f} s  "
            f"ratio {ratio:5.1f}"
        )
    Path(output).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.surface_metrics", lambda: main(*sys.argv[1:])))
