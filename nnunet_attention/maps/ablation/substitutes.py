"""Makes the values that replace a gate's coefficients over the whole image.

Every replacement is one map of the image, or one number for it, so that overlapping patches and
mirrored passes get the same values. It is made from the maps of the ordinary prediction, as
`nnunet-attention maps` stitches them, in blocks as large as a voxel of the gate's grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np

from nnunet_attention.errors import CommandError
from nnunet_attention.maps.ablation.block_maps import resized
from nnunet_attention.maps.ablation.cases import Ordinary
from nnunet_attention.maps.ablation.predictor import Substitute, Variant
from nnunet_attention.maps.ablation.replacing import REPLACEMENTS

# The numbers that `uniform` uses, by fold and gate.
Levels = Sequence[Sequence[float]]


def check_replacements(names: Sequence[str]) -> None:
    """Check that all replacements are known.

    Raises:
        CommandError: naming the first that is unknown.
    """
    for name in names:
        if name not in REPLACEMENTS:
            raise CommandError(
                f"unknown replacement {name!r}; choose from: {', '.join(REPLACEMENTS)}"
            )


def uniform_levels(means: Sequence[Sequence[Sequence[float]]]) -> Levels:
    """Return the mean of the images' means, by fold and gate; all images have equal weight.

    Args:
        means: (images, folds, gates).
    """
    values = np.asarray(means, dtype=float)
    return np.clip(values.mean(axis=0), values.min(axis=0), values.max(axis=0)).tolist()


def next_of_another_group(
    case: str, cases: Sequence[str], groups: Mapping[str, str] | None = None
) -> str:
    """Return the next case, in the order of names, that belongs to another group.

    The last case is followed by the first. Without groups, each case is its own group.

    Raises:
        CommandError: if there is none.
    """
    ordered = sorted(cases)
    place = ordered.index(case)
    for other in (*ordered[place + 1 :], *ordered[:place]):
        if groups is None or groups[other] != groups[case]:
            return other
    raise CommandError(
        "other_case needs a second case of another patient; give more cases, or leave it out of "
        "--replace"
    )


def substitute_for(
    name: str,
    fold: int,
    gate: int,
    own: Ordinary,
    other: Ordinary | None,
    levels: Levels,
    seed: Sequence[int],
) -> Substitute:
    """Return what a replacement puts in the place of a gate's coefficients in one image.

    Args:
        name: a name from `REPLACEMENTS`.
        fold: the fold of the network.
        gate: the number of the gate.
        own: the image's ordinary prediction.
        other: another patient's ordinary prediction, for `other_case`.
        levels: the numbers for `uniform`.
        seed: the seed of the shuffling.
    """
    own_map = own.maps[fold][gate]
    if name == "other_case":
        assert other is not None, "chosen before"
        return Substitute(resized(other.maps[fold][gate].blocks, own_map.blocks.shape))
    if name == "shuffled":
        blocks = np.random.default_rng([*seed, fold, gate]).permutation(own_map.blocks.ravel())
        return Substitute(blocks.reshape(own_map.blocks.shape))
    constants = {"open": 1.0, "zero": 0.0, "mean": own_map.mean, "uniform": levels[fold][gate]}
    return Substitute(constants[name])


def variant_of(
    name: str,
    gates: Sequence[int],
    own: Ordinary,
    other: Ordinary | None,
    levels: Levels,
    seed: Sequence[int],
) -> list[Variant]:
    """Return what is replaced in each fold's network; see `substitute_for`."""
    return [
        {gate: substitute_for(name, fold, gate, own, other, levels, seed) for gate in gates}
        for fold in range(len(own.maps))
    ]


def seed_of(case: str, seed: int) -> list[int]:
    """Return the seed of a case's random numbers, which depend on no other case."""
    return [seed, crc32(case.encode())]
