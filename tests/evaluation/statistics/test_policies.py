"""Every policy for every metric and combination of empty masks; pairing by case."""

import math

import pandas as pd
import pytest
from shared_data import PLANS, ROOT, needs

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation import (
    COLUMNS,
    METRICS,
    POLICIES,
    apply_policy,
    common_cases,
    concatenate,
    read_named_results,
)

REFERENCE = ROOT / "msd_cv_reference"
NAN = math.nan
# What each metric is before a policy: (both empty, prediction only, reference only).
RAW = {
    "dice": (NAN, 0, 0),
    "iou": (NAN, 0, 0),
    "precision": (NAN, 0, NAN),
    "recall": (NAN, NAN, 0),
    "volume_difference": (NAN, NAN, 1),
    "assd_mm": (NAN, math.inf, math.inf),
    "hd95_mm": (NAN, math.inf, math.inf),
    "nsd": (NAN, 0, 0),
}
# And after: None is left out.
EXPECTED = {
    "nnunet": {
        "dice": (None, 0, 0),
        "iou": (None, 0, 0),
        "precision": (None, 0, None),
        "recall": (None, None, 0),
        "volume_difference": (None, None, 1),
        "assd_mm": (None, None, None),
        "hd95_mm": (None, None, None),
        "nsd": (None, 0, 0),
    },
    "reference-present": {
        "dice": (None, None, 0),
        "iou": (None, None, 0),
        "precision": (None, None, None),
        "recall": (None, None, 0),
        "volume_difference": (None, None, 1),
        "assd_mm": (None, None, None),
        "hd95_mm": (None, None, None),
        "nsd": (None, None, 0),
    },
    "empty-correct-is-one": {
        "dice": (1, 0, 0),
        "iou": (1, 0, 0),
        "precision": (1, 0, None),
        "recall": (1, None, 0),
        "volume_difference": (0, None, 1),
        "assd_mm": (0, None, None),
        "hd95_mm": (0, None, None),
        "nsd": (1, 0, 0),
    },
}
VOXELS = ((0, 0), (0, 5), (5, 0))


def table(*rows, **common):
    """Rows of (model, case, value) and optionally voxels of reference and prediction."""
    defaults = {"dataset": "Dataset001_A", "configuration": "3d_fullres", "fold": 0}
    defaults |= {"label": "1", "metric": "dice", "tolerance_mm": 2.0, **common}
    return pd.DataFrame(
        [
            {
                **defaults,
                "model": model,
                "case": case,
                "value": value,
                "reference_voxels": voxels[0] if voxels else 9,
                "prediction_voxels": voxels[1] if voxels else 9,
            }
            for model, case, value, *voxels in rows
        ]
    )[list(COLUMNS)]


def empty_cases(metric):
    names = ("both", "prediction", "reference")
    rows = zip(("A",) * 3, names, RAW[metric], *zip(*VOXELS, strict=True), strict=True)
    return table(*rows, ("A", "whole", 0.5), metric=metric)


def test_the_cases_below_are_all_there_are():
    assert set(RAW) == set(METRICS)
    assert set(EXPECTED) == set(POLICIES)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("policy", POLICIES)
def test_each_combination_of_empty_masks_has_its_meaning(policy, metric):
    expected = zip(("both", "prediction", "reference"), EXPECTED[policy][metric], strict=True)
    wanted = {case: value for case, value in expected if value is not None} | {"whole": 0.5}
    frame, counts = apply_policy(empty_cases(metric), policy)
    assert dict(zip(frame["case"], frame["value"], strict=True)) == wanted
    [row] = counts.to_dict("records")
    assert (row["both_empty"], row["prediction_only"], row["reference_only"]) == (1, 1, 1)
    assert (row["cases"], row["used"], row["left_out"]) == (4, len(wanted), 4 - len(wanted))
    assert row["replaced"] == (policy == "empty-correct-is-one")


@pytest.mark.parametrize("policy", POLICIES)
def test_a_missing_mask_can_have_a_distance_of_its_own(policy):
    frame, counts = apply_policy(empty_cases("hd95_mm"), policy, missing_distance_mm=373.0)
    values = dict(zip(frame["case"], frame["value"], strict=True))
    assert values["reference"] == 373
    if policy == "reference-present":
        assert "prediction" not in values
    else:
        assert values["prediction"] == 373
    assert counts["replaced"][0] == {"nnunet": 2, "reference-present": 1}.get(policy, 3)


def test_the_given_table_is_not_changed():
    frame = empty_cases("dice")
    before = frame.copy()
    apply_policy(frame, "empty-correct-is-one")
    pd.testing.assert_frame_equal(frame, before)


def test_an_unknown_policy_and_an_unknown_metric_are_errors():
    with pytest.raises(CommandError, match=r"unknown policy 'other'.*reference-present"):
        apply_policy(empty_cases("dice"), "other")
    with pytest.raises(CommandError, match="unknown metric 'asd'; choose from: dice"):
        apply_policy(table(("A", "a", 1.0), metric="asd"), "nnunet")


def test_models_are_paired_by_case_whatever_the_order():
    frame = table(("A", "a", 0.1), ("A", "b", 0.2), ("B", "b", 0.4), ("B", "a", 0.3))
    shared, dropped = common_cases(frame)
    wide = shared.pivot(index="case", columns="model", values="value")
    assert wide.to_dict() == {"A": {"a": 0.1, "b": 0.2}, "B": {"a": 0.3, "b": 0.4}}
    assert dropped.to_dict("records") == [
        {
            "dataset": "Dataset001_A",
            "label": "1",
            "metric": "dice",
            "cases": 2,
            "common": 2,
            "dropped": 0,
        }
    ]


def test_cases_that_one_model_lacks_or_leaves_undefined_are_dropped_for_all():
    frame = table(
        *(("A", "a", 0.1), ("A", "b", NAN), ("A", "c", 0.3)),
        *(("B", "a", 0.2), ("B", "b", 0.4), ("B", "d", 0.5)),
    )
    shared, dropped = common_cases(frame)
    assert sorted(zip(shared["model"], shared["case"], strict=True)) == [("A", "a"), ("B", "a")]
    assert dropped[["cases", "common", "dropped"]].to_numpy().tolist() == [[4, 1, 3]]


def test_labels_and_data_sets_are_paired_on_their_own():
    frame = concatenate(
        [
            table(("A", "a", 0.1), ("B", "a", 0.2)),
            table(("A", "a", 0.1), ("B", "b", 0.2), label="2"),
            table(("A", "a", 0.1), dataset="Dataset002_B"),
        ]
    )
    shared, dropped = common_cases(frame)
    # The second data set has one model only, which is compared with nobody.
    assert len(shared) == 3
    assert dropped["dropped"].tolist() == [0, 2, 0]


def test_the_same_model_in_two_configurations_is_two_models():
    frame = concatenate(
        [
            table(("A", "a", 0.1), ("A", "b", 0.1)),
            table(("A", "a", 0.2), configuration="2d"),
        ]
    )
    shared, dropped = common_cases(frame)
    assert shared["case"].tolist() == ["a", "a"]
    assert dropped["dropped"].tolist() == [1]


def test_a_model_without_a_metric_does_not_hinder_the_others_there():
    frame = concatenate(
        [
            table(("A", "a", 0.1), ("B", "a", 0.1)),
            table(("A", "a", 2.0), metric="assd_mm"),
        ]
    )
    assert common_cases(frame)[1]["dropped"].tolist() == [0, 0]


def test_a_case_twice_in_a_model_is_an_error():
    with pytest.raises(CommandError, match=r"model A has case a .* twice"):
        common_cases(table(("A", "a", 0.1), ("A", "a", 0.2)))


@needs(REFERENCE)
@pytest.mark.parametrize(
    ("policy", "plain", "residual"),
    [
        ("nnunet", 0.6358, 0.6722),
        ("reference-present", 0.6789, 0.6950),
        ("empty-correct-is-one", 0.6497, 0.6947),
    ],
)
def test_liver_tumours_pooled_over_131_cases(policy, plain, residual):
    frame = concatenate(
        [
            read_named_results(
                REFERENCE / model, model, [3], None, range(5), [PLANS / "PlainConvUNet"]
            )
            for model in ("PlainConvUNet", "ResEncM")
        ]
    )
    frame = frame[(frame["label"] == "cancer") & (frame["metric"] == "dice")]
    counted, counts = apply_policy(frame, policy)
    means = counted.groupby("model")["value"].mean().round(4).to_dict()
    assert means == {"PlainConvUNet": plain, "ResEncM": residual}
    counts = counts.set_index("model")
    assert counts["cases"].tolist() == [131, 131]
    assert counts["both_empty"].to_dict() == {"PlainConvUNet": 5, "ResEncM": 9}
    assert (counts["both_empty"] + counts["prediction_only"]).tolist() == [13, 13]
    used = common_cases(counted)[1]["common"].tolist()
    assert used == {"nnunet": [122], "reference-present": [118]}.get(policy, [131])
