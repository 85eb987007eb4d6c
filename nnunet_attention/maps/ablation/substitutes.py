"""Makes what takes the place of a gate's coefficients, over the whole image.

Every replacement is one map of the image, or one number for it: overlapping patches and mirrored
passes are told the same. What it is made of are the maps of the ordinary prediction, as
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

# What `uniform` gives: the number by fold and gate.
Levels = Sequence[Sequence[float]]


def check_replacements(names: Sequence[str]) -> None:
    """Check that all replacements are known.

    Raises:
        CommandError: naming the first that is not.
    """
    for name in names:
        if name not in REPLACEMENTS:
            raise CommandError(
                f"unknown replacement {name!r}; choose from: {', '.join(REPLACEMENTS)}"
            )


def uniform_levels(means: Sequence[Sequence[Sequence[float]]]) -> Levels:
    """Return the mean over images of their means, by fold and gate; each image counts alike.

    Args:
        means: (images, folds, gates).
    """
    values = np.asarray(means, dtype=float)
    return np.clip(values.mean(axis=0), values.min(axis=0), values.max(axis=0)).tolist()


def next_of_another_group(
    case: str, cases: Sequence[str], groups: Mapping[str, str] | None = None
) -> str:
    """Return the case that follows in the order of names, and is of another group.

    After the last the first follows. Without groups each case is its own.

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
        name: of `REPLACEMENTS`.
        fold: whose network it is.
        gate: its number.
        own: the image's ordinary prediction.
        other: another patient's, for `other_case`.
        levels: for `uniform`.
        seed: of the shuffling.
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
    """Return the seed of a case's random numbers, which hang on its name alone."""
    return [seed, crc32(case.encode())]
