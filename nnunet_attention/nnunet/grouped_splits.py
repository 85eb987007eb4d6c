"""nnU-Net's division into folds for groups of cases that must stay together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.splits import NNUNET_FOLDS, save_splits


def grouped_splits(groups: Mapping[str, str], folds: int = NNUNET_FOLDS) -> list[dict]:
    """Return splits as splits_final.json has them, with all cases of a group on one side.

    nnU-Net's own function divides the groups, with its seed, in the order of their first cases:
    where each case is its own group the splits are nnU-Net's. Folds have equally many groups, as
    far as their number allows, and so need not have equally many cases.

    Args:
        groups: the group of each case.
        folds: how many; with five, each has one fifth of the groups in `val`.

    Raises:
        CommandError: if there are fewer groups than folds.
    """
    members: dict[str, list[str]] = {}
    for case in sorted(groups):
        members.setdefault(groups[case], []).append(case)
    if len(members) < folds:
        raise CommandError(
            f"{len(groups)} cases are in only {len(members)} groups, but {folds} folds need at "
            "least one group each; train with -f all, or use finer groups"
        )
    # scikit-learn takes seconds to import.
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    # A group takes the place of its first case, as nnU-Net orders cases by name.
    firsts = [cases[0] for cases in members.values()]
    return [
        {
            part: sorted(case for first in split[part] for case in members[groups[str(first)]])
            for part in ("train", "val")
        }
        for split in generate_crossval_split(firsts, n_splits=folds)
    ]


def write_grouped_splits(path: Path, cases: Collection[str], groups: Mapping[str, str]) -> None:
    """Write splits that keep the groups of all cases together.

    Args:
        path: the path of splits_final.json, in the data set's folder.
        cases: all cases of the data set.
        groups: the group of each case.

    Raises:
        CommandError: if a case has no group, or there are fewer groups than folds.
    """
    ungrouped = sorted(set(cases) - set(groups))
    if ungrouped:
        raise CommandError(
            f"{path.parent.name}: {len(ungrouped)} cases have no group, such as {ungrouped[0]}; "
            "give every case a group"
        )
    save_splits(path, grouped_splits({case: groups[case] for case in cases}))


def torn_groups(splits: Sequence[Mapping], groups: Mapping[str, str]) -> list[str]:
    """Return the groups, sorted, that some split has both in training and in validation.

    Raises:
        CommandError: if a case of the splits has no group.
    """
    ungrouped = sorted(
        {case for split in splits for part in ("train", "val") for case in split[part]}
        - set(groups)
    )
    if ungrouped:
        raise CommandError(
            f"{len(ungrouped)} cases of the splits have no group, such as {ungrouped[0]}; "
            "give every case of the data set a group"
        )
    torn: set[str] = set()
    for split in splits:
        train, val = ({groups[case] for case in split[part]} for part in ("train", "val"))
        torn |= train & val
    return sorted(torn)
