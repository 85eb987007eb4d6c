"""The one table of results keeps its form, and what each value was measured with."""

import math

import pandas as pd
import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.metrics.table import (
    COLUMNS,
    as_table,
    concatenate,
    empty_frame,
    recorded_tolerances,
)


def rows(*values, **common) -> pd.DataFrame:
    """A row for each (label, metric, tolerance in mm)."""
    defaults = {"dataset": "Dataset001_A", "configuration": "2d", "model": "A", "fold": 0}
    defaults |= {"case": "a", "value": 0.5, "reference_voxels": 4, "prediction_voxels": 5}
    return as_table(
        pd.DataFrame(
            [
                {**defaults, "label": label, "metric": metric, "tolerance_mm": mm, **common}
                for label, metric, mm in values
            ]
        )
    )


def test_a_table_has_its_columns_in_order_and_of_their_types():
    frame = rows(("liver", "dice", None))
    assert tuple(frame.columns) == COLUMNS
    assert frame.dtypes.to_dict() == empty_frame().dtypes.to_dict()
    assert math.isnan(frame["tolerance_mm"][0])
    assert empty_frame().empty


def test_tables_are_joined_in_their_order_and_empty_ones_left_out():
    first, second = rows(("liver", "dice", None)), rows(("liver", "dice", None), fold="all")
    joined = concatenate([empty_frame(), second, first])
    assert joined["fold"].tolist() == ["all", 0]
    assert joined.index.tolist() == [0, 1]
    pd.testing.assert_frame_equal(concatenate([]), empty_frame())


def test_tolerances_outlive_whatever_pandas_does_with_a_table():
    frame = rows(("tumour", "nsd", 1), ("liver", "nsd", 2), ("liver", "dice", None))
    other = rows(("spleen", "nsd", None), dataset="Dataset002_B")
    joined = pd.concat([frame.assign(model="B"), other.copy()]).query("metric == 'nsd'")
    regrouped = pd.concat([part for _, part in joined.groupby("model")]).merge(
        pd.DataFrame({"model": ["A", "B"]}), on="model"
    )
    for table in (joined, regrouped):
        assert recorded_tolerances(table) == {
            "Dataset001_A": {"liver": 2.0, "tumour": 1.0},
            "Dataset002_B": {"spleen": None},
        }


def test_other_metrics_have_no_tolerance():
    assert recorded_tolerances(rows(("liver", "dice", None))) == {}


def test_without_the_column_no_tolerance_is_known():
    frame = rows(("liver", "nsd", 2)).drop(columns="tolerance_mm")
    assert recorded_tolerances(frame) == {"Dataset001_A": {"liver": None}}


@pytest.mark.parametrize(("other", "listed"), [(3, "2, 3"), (None, "2, unknown")])
def test_several_tolerances_of_a_label_are_an_error(other, listed):
    frame = concatenate([rows(("liver", "nsd", 2)), rows(("liver", "nsd", other), model="B")])
    with pytest.raises(CommandError, match=f"Dataset001_A, liver: .* in mm: {listed}; compute all"):
        recorded_tolerances(frame)
