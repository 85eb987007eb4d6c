"""Defines the long table of all results, with a row per case, label and metric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from nnunet_attention.errors import CommandError

# The tolerance is that of normalised surface Dice; NaN if it is not known, and for the other
# metrics. It is stored in each row, because pandas does not keep attributes of a whole table.
COLUMNS = (
    "dataset",
    "configuration",
    "model",
    "fold",
    "case",
    "label",
    "metric",
    "value",
    "reference_voxels",
    "prediction_voxels",
    "tolerance_mm",
)
REPEAT = "repeat"
"""Column with the number of a model's training, from 0; only if there are several trainings."""
_TEXTS = ("dataset", "configuration", "model", "case", "label", "metric")


def as_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a table the columns of `COLUMNS`, in their order and types.

    Args:
        frame: with these columns; folds are numbers, or the text "all". A column `REPEAT` stays.
    """
    return frame[[*COLUMNS, *([REPEAT] if REPEAT in frame else [])]].astype(
        {
            **dict.fromkeys(_TEXTS, "str"),
            "fold": "object",
            "value": "float64",
            "reference_voxels": "int64",
            "prediction_voxels": "int64",
            "tolerance_mm": "float64",
        }
    )


def empty_frame() -> pd.DataFrame:
    """Return a table without rows."""
    return as_table(pd.DataFrame({column: [] for column in COLUMNS}))


def concatenate(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables in their order; return an empty table if there are none."""
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else empty_frame()


def recorded_tolerances(frame: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Return the tolerance of normalised surface Dice in mm, by data set and label.

    Args:
        frame: with the columns of `COLUMNS`; without the column of tolerances none is known.

    Raises:
        CommandError: if a data set's results were computed with different tolerances.
    """
    rows = frame[frame["metric"] == "nsd"]
    if "tolerance_mm" not in rows:
        rows = rows.assign(tolerance_mm=float("nan"))
    tolerances: dict[str, dict[str, float | None]] = {}
    for dataset, of_dataset in rows.groupby("dataset", sort=False):
        for label, same_label in of_dataset.groupby("label"):
            values = [
                None if pd.isna(mm) else float(mm) for mm in same_label["tolerance_mm"].unique()
            ]
            if len(values) > 1:
                # Not rounded, or two that differ could look the same.
                listed = sorted(
                    "unknown" if mm is None else np.format_float_positional(mm, trim="-")
                    for mm in values
                )
                raise CommandError(
                    f"{dataset}, {label}: normalised surface Dice was computed with several "
                    f"tolerances in mm: {', '.join(listed)}; compute all results with the same "
                    "tolerance (nnunet-attention evaluate --tolerance), or leave this metric out"
                )
            tolerances.setdefault(str(dataset), {})[str(label)] = values[0]
    return tolerances
