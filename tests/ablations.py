"""Tables as an ablation measures them, with answers that are known."""

import pandas as pd

from nnunet_attention.evaluation.ablation.building import Ablation, build_ablation
from nnunet_attention.evaluation.ablation.curves import CURVE_COLUMNS
from nnunet_attention.evaluation.ablation.rows import ROW_COLUMNS


def rows_of(differences: dict, ordinary: float = 0.8, weights: str = "trained") -> list[dict]:
    """Rows of one label and metric, by (gates, replacement)."""
    return [
        {
            **dict(zip(("weights", "gates", "replacement"), (weights, *key), strict=True)),
            "case": f"case_{number:02d}",
            "label": "organ",
            "metric": "dice",
            "value": ordinary + difference,
            "ordinary": ordinary,
            "difference": difference,
            "changed_share": 0.25,
            "false_positives_gained": number,
            "false_negatives_gained": -1,
        }
        for key, values in differences.items()
        for number, difference in enumerate(values)
    ]


def table_of(*parts: list[dict]) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part], columns=list(ROW_COLUMNS))


# Twelve cases that all lose, and all differently.
LOSS = [-0.05 - 0.001 * number for number in range(12)]
NOTHING = [0.0005 * (-1) ** number * (1 + number) / 12 for number in range(12)]
WIDE = [0.02 * (-1) ** number * (1 + number / 100) for number in range(12)]


# Values at the shares 0, 0.5 and 1.
DELETION = {"attention": (0.8, 0.2, 0.0), "random": (0.8, 0.6, 0.0), "cam": (0.8, 0.1, 0.0)}
INSERTION = {"attention": (0.0, 0.7, 0.8), "random": (0.0, 0.3, 0.8), "cam": (0.0, 0.7, 0.8)}


def curve_table(better_when_shut: int = 0) -> pd.DataFrame:
    rows = []
    for case in range(6):
        for direction, curves in (("deletion", DELETION), ("insertion", INSERTION)):
            for order, values in curves.items():
                # In the order of `deletion_curves`: both ends of a curve first.
                first, middle, last = values
                for share, value in ((0.0, first), (1.0, last), (0.5, middle)):
                    if direction == "deletion" and order == "attention" and share == 0.5:
                        value = 0.9 if case < better_when_shut else value - 0.01 * case
                    rows.append((f"c{case}", 1, order, direction, share, "organ", value))
    return pd.DataFrame(rows, columns=list(CURVE_COLUMNS))


def made_up_ablation(groups: dict | None = None) -> Ablation:
    """Gate 0 matters, gate 1 is idle, with random gates and curves."""
    found = {("0", "mean"): LOSS, ("0", "zero"): LOSS, ("1", "mean"): NOTHING}
    halved = {key: [value / 2 for value in values] for key, values in found.items()}
    rows = table_of(rows_of(found), rows_of(halved, weights="randomised"))
    model = {"folder": "/models/<one>", "weights": [1, 2], "folds": ["0"]}
    return build_ablation(rows, ("dice",), model, curve_table(), groups)
