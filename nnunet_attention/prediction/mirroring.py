"""Lists the axes along which nnU-Net mirrors a patch, in nnU-Net's order."""

from collections.abc import Sequence
from itertools import combinations


def mirrorings(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the axes of (B, C, *G) that are flipped in each of nnU-Net's passes, in order.

    Args:
        axes: the axes of mirroring, counted in G.
    """
    return [
        tuple(axis + 2 for axis in flip)
        for count in range(len(axes) + 1)
        for flip in combinations(axes, count)
    ]
