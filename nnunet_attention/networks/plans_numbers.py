"""Checks the numbers in plans, as damaged ones could exhaust the memory."""

import math
from collections.abc import Iterator, Mapping

from nnunet_attention.errors import CommandError

# Larger numbers, as in a damaged file, would exhaust the memory or take hours to fail. The first
# limit is for stages, blocks and convolutions, the second for channels and everything else.
_MOST_LAYERS, _MOST_CHANNELS = 128, 2**16


def check_axes(plans: Mapping, configuration: Mapping) -> None:
    """Check that transposes are orders of the axes, and that patch, strides and kernels fit.

    Args:
        plans: content of plans.json.
        configuration: one of its configurations, complete.

    Raises:
        CommandError: naming the malformed entry.
    """
    for name in ("transpose_forward", "transpose_backward"):
        axes = plans.get(name, [0, 1, 2])
        if not _are_whole(axes, 0) or sorted(axes) != [0, 1, 2]:
            raise CommandError(
                f"the plans have {axes!r} for {name}; expected a permutation of the axes 0, 1 and 2"
            )
    patch_size = configuration.get("patch_size", [1, 1, 1])
    if not _are_whole(patch_size, 1) or len(patch_size) not in (2, 3):
        raise CommandError(
            f"the plans have {patch_size!r} for patch_size; expected 2 or 3 whole numbers above 0"
        )
    spacing_mm = configuration.get("spacing", [1.0] * len(patch_size))
    if not (
        isinstance(spacing_mm, (list, tuple))
        and all(isinstance(step, (int, float)) and 0 < step < math.inf for step in spacing_mm)
    ):
        raise CommandError(
            f"the plans have {spacing_mm!r} for spacing; expected a positive number for each axis"
        )
    arguments = configuration["architecture"]["arch_kwargs"]
    for name in ("strides", "kernel_sizes"):
        rows = arguments.get(name, [])
        for row in rows if isinstance(rows, (list, tuple)) else [rows]:
            sizes = row if isinstance(row, (list, tuple)) else [row] * len(patch_size)
            if not _are_whole(sizes, 1) or len(sizes) != len(patch_size):
                raise CommandError(
                    f"the plans have {row!r} among {name}; expected {len(patch_size)} positive "
                    "whole numbers, one for each axis of the patch"
                )


def check_strides(architecture: Mapping, axes: int) -> None:
    """Check that the `architecture` of plans has strides for each of its stages and axes.

    `check_axes` lets plans without strides pass, which no network can be built from.

    Args:
        architecture: of a configuration.
        axes: the number of the patch's axes.

    Raises:
        CommandError: with the strides, if there are none, or not as many as stages.
    """
    arguments = architecture["arch_kwargs"]
    strides, stages = arguments.get("strides"), arguments.get("n_stages")
    if not isinstance(strides, (list, tuple)) or not strides or len(strides) != stages:
        raise CommandError(
            f"the network has {str(strides)[:80]} for strides, and {str(stages)[:80]} for "
            f"n_stages; expected a list with {axes} numbers for each stage"
        )
    check_axes({}, {"patch_size": [1] * axes, "architecture": architecture})


def check_sizes(arguments: Mapping) -> None:
    """Check that no number among a network's arguments is larger than any real network's.

    Raises:
        CommandError: naming the first number that is too large.
    """
    for name, value in arguments.items():
        for number in _numbers(value):
            if number > (_MOST_LAYERS if name.startswith("n_") else _MOST_CHANNELS):
                raise CommandError(
                    f"the plans have {number} for {name}; no network is that large, so the plans "
                    "are damaged"
                )


def _are_whole(values: object, least: int) -> bool:
    return isinstance(values, (list, tuple)) and all(
        isinstance(value, int) and not isinstance(value, bool) and value >= least
        for value in values
    )


def _numbers(value: object) -> Iterator[float]:
    """Iterate over all numbers in nested lists."""
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from _numbers(entry)
    elif isinstance(value, (int, float)):
        yield value
