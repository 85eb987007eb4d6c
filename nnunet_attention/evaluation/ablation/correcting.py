"""Corrects all p-values of an ablation together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nnunet_attention.evaluation.ablation.curves import Curves
from nnunet_attention.evaluation.ablation.effects import Effect
from nnunet_attention.evaluation.statistics.comparisons import holm


def corrected(
    effects: Sequence[Effect], curves: Curves | None = None
) -> tuple[tuple[Effect, ...], Curves | None]:
    """Return effects and curves with p-values adjusted by Holm's method over all their tests."""
    adjusted = iter(holm(p_values(effects, curves)).tolist())
    # In the order of `p_values`.
    effects = [
        replace(effect, adjusted_p_value=next(adjusted)) if effect.comparison.n else effect
        for effect in effects
    ]
    effects = [
        effect
        if effect.beyond_random is None
        else replace(effect, beyond_random_p_value=next(adjusted))
        for effect in effects
    ]
    if curves is not None:
        curves = replace(
            curves,
            areas=tuple(replace(area, adjusted_p_value=next(adjusted)) for area in curves.areas),
            violations=tuple(
                replace(found, adjusted_p_value=next(adjusted)) for found in curves.violations
            ),
        )
    return tuple(effects), curves


def p_values(effects: Sequence[Effect], curves: Curves | None) -> list[float]:
    """Return the p-values of all tests: of effects, beyond random gates, areas and violations."""
    found = [effect.comparison.p_value for effect in effects if effect.comparison.n]
    found += [e.beyond_random.p_value for e in effects if e.beyond_random is not None]
    if curves is not None:
        found += [area.comparison.p_value for area in curves.areas]
        found += [violations.p_value for violations in curves.violations]
    return found
