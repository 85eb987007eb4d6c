"""Tells along which axes nnU-Net mirrors a patch, in its order."""

from collections.abc import Sequence
from itertools import combinations


def mirrorings(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the axes of (B, C, *G) along which each of nnU-Net's passes is flipped, in its order.

    Args:
        axes: along which it mirrors, counted in G.
    """
    return [
        tuple(axis + 2 for axis in flip)
        for count in range(len(axes) + 1)
        for flip in combinations(axes, count)
    ]
