"""Lists trainings that learned too little, and what the differences would be without them.

They count like all others. But a single one can turn the sign of a mean over a group, which whoever
reads the mean should know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from benchmarks.texts import ends_text, four_places
from benchmarks.where_gates_help.comparing import Difference, combined, differences
from benchmarks.where_gates_help.design import GROUPS, IN_DOMAIN, NETWORKS, PARTS, Group, Part
from nnunet_attention.evaluation.leaderboard.tables import value_text

_TRAINING = ["dataset", "network", "seed"]


def below_floor(cases: Mapping[str, pd.DataFrame], compared: Sequence[Difference]) -> str:
    """List as Markdown the trainings with a mean Dice below the pilot's floor, in domain.

    A table shows the differences of their groups with them, and without them and the trainings that
    are paired with them.

    Args:
        cases: the collected rows, by part.
        compared: the differences of all parts.
    """
    if all(rows.empty for rows in cases.values()):
        return ""
    told, table = [], []
    for name, part in PARTS.items():
        rows = cases[name]
        found = _trainings_below_floor(part, rows)
        for (dataset, network, seed), dice, volume in found:
            title = next(data.title for data in part.data if data.dataset == dataset)
            told.append(
                f"- {name}, {title}, {NETWORKS[network].name}, training {seed + 1}: mean Dice "
                f"{value_text(dice, 'dice')}; it marks {volume:.1f} times the true volume (median)."
            )
        of_part = [one for one in compared if one.part == name]
        table += _without(part, rows, of_part, [training for training, _, _ in found])
    if not told:
        return "None.\n"
    head = [
        "",
        "| data | network | minus | difference | without these trainings | 95 % CI, patients and "
        "trainings |",
        "|---|---|---|---:|---:|---|",
    ]
    return "\n".join([*told, *(head if table else []), *table]) + "\n"


def _trainings_below_floor(
    part: Part, rows: pd.DataFrame
) -> list[tuple[tuple[str, str, int], float, float]]:
    """Return data set, network and seed; mean Dice; and how much of the true volume is marked."""
    found = []
    floors = {data.dataset: data.informative[0] for data in part.data}
    inside = rows[rows["domain"] == IN_DOMAIN]
    for (dataset, network, seed), of_training in inside.groupby(_TRAINING, sort=True):
        dice = float(of_training["dice"].mean())
        if dice < floors[dataset]:
            volume = of_training["prediction_voxels"] / of_training["reference_voxels"]
            found.append(((dataset, network, int(seed)), dice, float(volume.median())))
    return found


def _without(
    part: Part,
    rows: pd.DataFrame,
    with_all: Sequence[Difference],
    trainings: Sequence[tuple[str, str, int]],
) -> list[str]:
    """Return a table's row for each comparison of networks that one of the trainings is part of."""
    if not trainings:
        return []
    is_left_out = rows[_TRAINING].apply(tuple, axis=1).isin(set(trainings))
    fewer = differences(part, rows[~is_left_out])
    lines = []
    for group in (one for one in GROUPS if one.part == part.name):
        titles = {data.dataset for data in group.data}
        for pair in part.comparisons:
            if not any(dataset in titles and net in pair for dataset, net, _ in trainings):
                continue
            before = _of_group(with_all, group, pair)
            counted = [row.data for row in before if row.is_informative]
            after = [row for row in _of_group(fewer, group, pair) if row.data in counted]
            if len(before) < len(group.data) or not counted or len(after) < len(counted):
                continue
            share = 1 / len(counted)
            kept = combined((share, row.estimate) for row in after)
            mean = sum(share * row.estimate.mean for row in before if row.is_informative)
            cells = [group.title, *(NETWORKS[one].name for one in pair), four_places(mean)]
            cells += [four_places(kept.mean), ends_text(kept.interval())]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _of_group(rows: Sequence[Difference], group: Group, pair: tuple[str, str]) -> list[Difference]:
    return [
        row
        for row in rows
        if row.domain == IN_DOMAIN and (row.first, row.second) == pair and row.data in group.data
    ]
