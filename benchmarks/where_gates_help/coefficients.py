"""Compares the coefficients of gates inside a reference with those outside."""

from __future__ import annotations

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
    """

    case: str
    gate: str
    inside: float
    outside: float


def read_coefficients(output: Path, references: Path, file_ending: str) -> list[Coefficients]:
    """Read the maps that `nnunet-attention maps` wrote, and compare them with references.

    Args:
        output: of the command.
        references: folder of label images; cases without foreground are left out.
        file_ending: of maps and references, such as .nii.gz.
    """
    found = []
    for folder in sorted((output / "maps").iterdir()):
        foreground = read_image(references / f"{folder.name}{file_ending}") > 0
        if not foreground.any():
            continue
        for path in sorted(folder.glob(f"*{file_ending}")):
            values = read_image(path)
            inside, outside = (float(values[mask].mean()) for mask in (foreground, ~foreground))
            gate = path.name.removesuffix(file_ending)
            found.append(Coefficients(folder.name, gate, inside, outside))
    return found


def contrast_of_gates(coefficients: list[Coefficients]) -> dict[str, float]:
    """Return each gate's mean, over cases, of the coefficient inside minus that outside."""
    gates = sorted({found.gate for found in coefficients})
    return {
        gate: mean(found.inside - found.outside for found in coefficients if found.gate == gate)
        for gate in gates
    }


def read_image(path: Path) -> np.ndarray:
    """Read an image, (z, y, x)."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
