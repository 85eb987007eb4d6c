"""Defines the policies: which value counts where a metric is undefined."""

POLICIES: dict[str, str] = {
    "nnunet": (
        "A case counts where the metric is defined, as in the means of nnU-Net (nanmean): Dice is "
        "left out where reference and prediction are both empty, and is 0 where one of them is."
    ),
    "reference-present": (
        "Only cases whose reference holds the label count; those without it are left out for every "
        "model alike."
    ),
    "empty-correct-is-one": (
        "A case whose reference and prediction are both empty counts as a perfect match: 1 for "
        "Dice, IoU, precision, recall and normalised surface Dice, 0 for distances and volume "
        "difference."
    ),
}
DEFAULT_POLICY = "nnunet"
