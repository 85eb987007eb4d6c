"""Says what an ablation replaces, and what it measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nnunet_attention.evaluation.metrics.evaluate import DEFAULT_TOLERANCE_MM
from nnunet_attention.maps.ablation.replacing import REPLACEMENTS


@dataclass(frozen=True)
class AblationSettings:
    """Says what is replaced, and what is measured.

    Attributes:
        gates: sets of gates that are replaced together; None: each by itself, and all together.
        replacements: of `REPLACEMENTS`.
        metrics: names; verdicts speak of the first.
        groups: of each case, such as the patient; None: each case is its own.
        tolerance_mm: of normalised surface Dice.
        seed: of shuffling and of random weights.
    """

    gates: tuple[tuple[int, ...], ...] | None = None
    replacements: tuple[str, ...] = tuple(REPLACEMENTS)
    metrics: tuple[str, ...] = ("dice",)
    groups: Mapping[str, str] | None = field(default=None, hash=False)
    tolerance_mm: float = DEFAULT_TOLERANCE_MM
    seed: int = 0
