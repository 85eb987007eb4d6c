"""Defines the metrics: names, units, definitions in words, and which direction is better."""

from collections.abc import Iterable
from dataclasses import dataclass

from nnunet_attention.errors import CommandError


@dataclass(frozen=True)
class Metric:
    """Describes a metric that compares a prediction with its reference, for one label of one case.

    Attributes:
        name: name in tables and on the command line; it ends with the unit, if there is one.
        title: readable name.
        key: key in summary.json.
        higher_is_better: whether higher values are better.
        when_both_empty: the value of a perfect match, which the policy `empty-correct-is-one` gives
            to a case with neither reference nor prediction.
        is_surface: whether it needs segmentations and spacing; the others follow from voxel counts.
        definition: in words ready for a methods section.
    """

    name: str
    title: str
    key: str
    higher_is_better: bool
    when_both_empty: float
    is_surface: bool
    definition: str


# Applies to every metric with `is_surface`.
SURFACE_DEFINITION = (
    "The surface of a mask is those of its voxels that have a face neighbour outside it (4 "
    "neighbours in 2-D, 6 in 3-D; outside the image is background). Distances are Euclidean, "
    "between voxel centres, in mm with the spacing of the reference image."
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "dice", "Dice", "Dice", True, 1.0, False,
            "Dice: 2 TP / (2 TP + FP + FN), in voxels.",
        ),
        Metric(
            "iou", "IoU", "IoU", True, 1.0, False,
            "IoU (Jaccard index): TP / (TP + FP + FN), in voxels.",
        ),
        Metric(
            "precision", "Precision", "Precision", True, 1.0, False,
            "Precision (positive predictive value): TP / (TP + FP), in voxels.",
        ),
        Metric(
            "recall", "Recall", "Recall", True, 1.0, False,
            "Recall (sensitivity): TP / (TP + FN), in voxels.",
        ),
        Metric(
            "volume_difference", "Relative volume difference", "RVD", False, 0.0,
            False,
            "Relative volume difference: |prediction - reference| / reference, in voxels.",
        ),
        Metric(
            "assd_mm", "ASSD (mm)", "ASSD_mm", False, 0.0, True,
            "ASSD, average symmetric surface distance (also S2S): the mean over all "
            "surface voxels of both masks of the distance to the other surface.",
        ),
        Metric(
            "hd95_mm", "HD95 (mm)", "HD95_mm", False, 0.0, True,
            "HD95: the larger of the two directions' 95th percentiles (linear "
            "interpolation) of the distances from one surface to the other.",
        ),
        Metric(
            "nsd", "Normalised surface Dice", "NSD", True, 1.0, True,
            "Normalised surface Dice: the share of surface voxels of both masks, "
            "counted together, that lie within the tolerance of the other surface.",
        ),
    )
}  # fmt: skip

OVERLAP_METRICS = tuple(name for name, metric in METRICS.items() if not metric.is_surface)
SURFACE_METRICS = tuple(name for name, metric in METRICS.items() if metric.is_surface)
NEEDING_A_PREDICTION = ("precision", "assd_mm", "hd95_mm")
"""Metrics that are undefined where nothing is predicted, whatever the reference holds."""


def check_metrics(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names, if all are known.

    Raises:
        CommandError: if one is unknown.
    """
    names = tuple(names)
    for name in names:
        if name not in METRICS:
            raise CommandError(f"unknown metric {name!r}; choose from: {', '.join(METRICS)}")
    return names
