"""Makes the rows of one case: the effect of a replacement on each label, by each metric."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nnunet_attention.evaluation.leaderboard.building import MEAN_OF_LABELS
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.metrics.labels import LabelScheme
from nnunet_attention.evaluation.metrics.masks import label_mask

TRAINED, RANDOMISED = "trained", "randomised"
"""The weights of the gates."""
RANDOM_WEIGHTS = "random_weights"
"""The only replacement that is not a map: the weights of all gates are drawn anew."""
ALL_GATES = "all"
_CHANGES = ("changed_share", "false_positives_gained", "false_negatives_gained")
ROW_COLUMNS = (
    *("weights", "case", "gates", "replacement", "label", "metric"),
    *("value", "ordinary", "difference", *_CHANGES),
)
Found = tuple[np.ndarray, dict[str, dict[str, float]]]
"""A segmentation and the result of `measure` for it."""


def case_rows(
    head: dict, metrics: Sequence[str], scheme: LabelScheme, ordinary: Found, replaced: Found
) -> list[dict]:
    """Return a row for each label and metric, and the mean over labels if there are several.

    - `difference`: value - ordinary; NaN where either is undefined.
    - `changed_share`: of the voxels that have the label in either segmentation, the share that
      have it in only one of them; 0 if no voxel has it.
    - `false_positives_gained`, `false_negatives_gained`: in voxels, below 0 if there are fewer.

    The mean over labels covers the labels where the metric is defined in both segmentations; voxels
    are summed over all labels.

    Args:
        head: the columns that identify the case and the replacement.
        metrics: names.
        scheme: the labels.
        ordinary: the result without replacement.
        replaced: the result with it.
    """
    changes = {}
    for label in scheme.names:
        before, after = ordinary[1][str(label)], replaced[1][str(label)]
        changes[label] = (
            _changed_share(label_mask(ordinary[0], label), label_mask(replaced[0], label)),
            int(after["FP"] - before["FP"]),
            int(after["FN"] - before["FN"]),
        )
    rows = []
    for metric in metrics:
        key = METRICS[metric].key
        pairs = []
        for label, name in scheme.names.items():
            values = replaced[1][str(label)][key], ordinary[1][str(label)][key]
            pairs.append(values)
            rows.append(_row(head, name, metric, values, changes[label]))
        if len(pairs) > 1:
            defined = [values for values in pairs if not any(map(math.isnan, values))]
            means = tuple(np.mean(defined, axis=0)) if defined else (math.nan, math.nan)
            shares, *voxels = zip(*changes.values(), strict=True)
            of_all = (float(np.mean(shares)), *(sum(numbers) for numbers in voxels))
            rows.append(_row(head, MEAN_OF_LABELS, metric, means, of_all))
    return rows


def _changed_share(before: np.ndarray, after: np.ndarray) -> float:
    either = int((before | after).sum())
    return int((before ^ after).sum()) / either if either else 0.0


def _row(head: dict, label: str, metric: str, values: tuple, changes: tuple) -> dict:
    value, ordinary = (float(number) for number in values)
    numbers = {"value": value, "ordinary": ordinary, "difference": value - ordinary}
    return {
        **head,
        "label": label,
        "metric": metric,
        **numbers,
        **dict(zip(_CHANGES, changes, strict=True)),
    }
