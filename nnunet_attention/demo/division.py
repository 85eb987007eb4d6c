"""Draws the cases of a demo and divides them into folds with disjoint test cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnunet_attention.demo.settings import ALL, DEFAULT_CASES
from nnunet_attention.errors import CommandError

_FOLDS = 5
_MOST_HELD_OUT = 10


def divide(
    available: Sequence[str], cases: int | None, folds: tuple[str, ...], seed: int
) -> list[dict[str, list[str]]]:
    """Draw the cases to use and divide them in the format of nnU-Net's splits_final.json.

    A fold holds a fifth of the cases out for testing, at least 1 and at most 10; no case is held
    out twice.

    Args:
        available: Names of the labelled cases.
        cases: How many cases to use; None: 20, or all where there are fewer.
        folds: The folds that will be trained, see `DemoSettings`.
        seed: Seed of the draw.

    Returns:
        The `train` and `val` cases of each fold: five folds, or a single one for `all`.

    Raises:
        CommandError: If there are too few cases.
    """
    if cases is None:
        cases = min(DEFAULT_CASES, len(available))
    if cases > len(available):
        raise CommandError(
            f"--cases {cases}: the data set has only {len(available)} labelled cases"
        )
    fewest = 2 if folds == (ALL,) else _FOLDS
    if cases < fewest:
        raise CommandError(
            f"{cases} case{'' if cases == 1 else 's'}: --folds {' '.join(folds)} tests some and "
            f"trains on the others; use at least {fewest} cases"
            + ("" if folds == (ALL,) else f" or --folds {ALL}")
        )
    drawn = np.random.default_rng(seed).permutation(sorted(available))[:cases].tolist()
    first = min(_MOST_HELD_OUT, max(1, round(cases / _FOLDS)))
    held_out = [drawn[:first]]
    if folds != (ALL,):
        others = np.array_split(np.array(drawn[first:]), _FOLDS - 1)
        held_out += [part[:_MOST_HELD_OUT].tolist() for part in others]
    return [{"train": sorted(set(drawn) - set(part)), "val": sorted(part)} for part in held_out]


def names_of_folds(folds: tuple[str, ...]) -> tuple[str, ...]:
    """Return nnU-Net's names of the folds; the single fold of `all` is its fold 0."""
    return ("0",) if folds == (ALL,) else folds
