"""Compares the coefficients of gates on the target with those elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import SimpleITK

# Fixed before any supervised network was trained: supervised coefficients of unseen cases should
# differ by at least this much.
APART_BY = 0.5


@dataclass(frozen=True)
class Coefficients:
    """The mean coefficient of one gate in one case.

    Attributes:
        case: its name.
        gate: such as gate_0, the coarsest, or `mean` for the mean of the gates.
        inside: over the voxels of the reference's foreground.
        outside: over all others.
        distractors: over the organs that are not the target; None where there are none.
    """

    case: str
    gate: str
    inside: float
    outside: float
    distractors: float | None = None


def read_coefficients(
    output: Path,
    references: Path,
    file_ending: str,
    distractors_of: Callable[[str], np.ndarray] | None = None,
) -> list[Coefficients]:
    """Read the maps that `nnunet-attention maps` wrote, and compare them with references.

    Args:
        output: of the command.
        references: folder of label images; cases without foreground are left out.
        file_ending: of maps and references, such as .nii.gz.
        distractors_of: returns a case's distractors, bool, (z, y, x); None if there are none.
    """
    found = []
    for folder in sorted((output / "maps").iterdir()):
        foreground = read_image(references / f"{folder.name}{file_ending}") > 0
        if not foreground.any():
            continue
        others = None if distractors_of is None else distractors_of(folder.name)
        for path in sorted(folder.glob(f"*{file_ending}")):
            values = read_image(path)
            inside, outside = (float(values[mask].mean()) for mask in (foreground, ~foreground))
            gate = path.name.removesuffix(file_ending)
            on_others = None if others is None else float(values[others].mean())
            found.append(Coefficients(folder.name, gate, inside, outside, on_others))
    return found


def contrast_of_gates(coefficients: list[Coefficients]) -> dict[str, float]:
    """Return each gate's mean, over cases, of the coefficient inside minus that outside."""
    return {
        gate: mean(found.inside - found.outside for found in chosen)
        for gate, chosen in _by_gate(coefficients).items()
    }


def contrast_to_distractors(coefficients: list[Coefficients]) -> dict[str, float]:
    """Return each gate's mean, over cases, of the coefficient inside minus that of distractors.

    A gate that is open on whatever is bright has a contrast to the rest of the image, but not to
    distractors, which only their surroundings tell from the target. Empty without distractors.
    """
    found = {
        gate: [one.inside - one.distractors for one in chosen if one.distractors is not None]
        for gate, chosen in _by_gate(coefficients).items()
    }
    return {gate: mean(values) for gate, values in found.items() if values}


def _by_gate(coefficients: list[Coefficients]) -> dict[str, list[Coefficients]]:
    gates = sorted({found.gate for found in coefficients})
    return {gate: [found for found in coefficients if found.gate == gate] for gate in gates}


def read_image(path: Path) -> np.ndarray:
    """Read an image, (z, y, x)."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
