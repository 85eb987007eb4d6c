"""Summaries of nnU-Net become one table; what is damaged is named."""

import json
import math

import pytest
from shared_data import PLANS, ROOT, needs

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation import (
    COLUMNS,
    MissingFoldsError,
    apply_policy,
    concatenate,
    find_dataset,
    read_named_results,
    read_nnunet_results,
    recorded_tolerances,
)
from nnunet_attention.evaluation.metrics.table import empty_frame

REFERENCE = ROOT / "msd_cv_reference"
# Means over folds of the fold means, over labels: published beside the data.
MEANS_OF_PLAIN = {
    "Dataset001_BrainTumour": 0.7398,
    "Dataset002_Heart": 0.9339,
    "Dataset003_Liver": 0.7945,
    "Dataset004_Hippocampus": 0.8904,
    "Dataset005_Prostate": 0.7353,
    "Dataset006_Lung": 0.6833,
    "Dataset007_Pancreas": 0.6607,
    "Dataset008_HepaticVessel": 0.6831,
    "Dataset009_Spleen": 0.9666,
    "Dataset010_Colon": 0.4603,
}
DATASET, CONFIGURATION = "Dataset007_Two", "3d_fullres"


def numbers(true_positive=6, false_positive=2, false_negative=4, true_negative=48):
    """What nnU-Net writes for a label of a case."""
    union = true_positive + false_positive + false_negative
    return {
        "Dice": 2 * true_positive / (union + true_positive) if union else math.nan,
        "IoU": true_positive / union if union else math.nan,
        "TP": true_positive,
        "FP": false_positive,
        "FN": false_negative,
        "TN": true_negative,
        "n_pred": true_positive + false_positive,
        "n_ref": true_positive + false_negative,
    }


def entry(case, metrics=None):
    return {
        "reference_file": f"/raw/gt/{case}.nii.gz",
        "prediction_file": f"/results/{case}.nii.gz",
        "metrics": metrics or {"1": numbers(), "2": numbers(1, 1, 1, 57)},
    }


def write_fold(root, fold, entries, folder=None):
    path = root / DATASET / (folder or CONFIGURATION) / f"fold_{fold}/validation/summary.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"metric_per_case": entries, "mean": {}, "foreground_mean": {}}))
    return path


def read(root, folds=(0, 1), **options):
    return read_named_results(root, "plain", [7], [CONFIGURATION], folds, **options)


@pytest.fixture
def root(tmp_path):
    write_fold(tmp_path, 0, [entry("a"), entry("b")])
    write_fold(tmp_path, 1, [entry("c")])
    return tmp_path


def test_a_row_for_each_case_label_and_metric(root):
    frame = read(root)
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 3 * 2 * 5
    assert frame.dtypes.to_dict() == empty_frame().dtypes.to_dict()
    rows = frame[(frame["case"] == "a") & (frame["label"] == "1")]
    assert dict(zip(rows["metric"], rows["value"], strict=True)) == {
        "dice": 12 / 18,
        "iou": 0.5,
        "precision": 0.75,
        "recall": 0.6,
        "volume_difference": 0.2,
    }
    assert set(rows["reference_voxels"]) == {10}
    assert set(rows["prediction_voxels"]) == {8}
    assert dict(frame.groupby("case")["fold"].first()) == {"a": 0, "b": 0, "c": 1}
    for column, wanted in (
        ("dataset", DATASET),
        ("configuration", CONFIGURATION),
        ("model", "plain"),
    ):
        assert set(frame[column]) == {wanted}


def test_the_fold_all_is_called_so(root):
    write_fold(root, "all", [entry("d")])
    assert set(read(root, ["all"])["fold"]) == {"all"}
    # The number of a fold is a number, however it was given.
    assert set(read(root, ["0", 1])["fold"]) == {0, 1}


def test_undefined_values_stay_undefined(root):
    write_fold(root, 2, [entry("d", {"1": numbers(0, 0, 0, 60), "2": numbers(0, 3, 0, 57)})])
    frame = read(root, [2]).set_index(["label", "metric"])["value"]
    assert frame["1"].isna().all()
    assert dict(frame["2"].dropna()) == {"dice": 0, "iou": 0, "precision": 0}


def test_null_counts_as_undefined(root):
    metrics = {"1": {**numbers(0, 0, 0, 60), "Dice": None, "IoU": None}}
    write_fold(root, 2, [entry("d", metrics)])
    assert read(root, [2])["value"].isna().all()


def test_surface_metrics_are_read_where_they_are(root):
    metrics = {"1": {**numbers(), "ASSD_mm": 1.5, "HD95_mm": math.nan, "NSD": 0.9}}
    write_fold(root, 2, [entry("d", metrics)])
    rows = read(root, [2]).set_index("metric")["value"]
    assert rows["assd_mm"] == 1.5
    assert math.isnan(rows["hd95_mm"])
    assert rows["nsd"] == 0.9


def with_tolerance(path, tolerance_mm):
    content = json.loads(path.read_text())
    for case in content["metric_per_case"]:
        for values in case["metrics"].values():
            values["NSD"] = 0.9
    path.write_text(json.dumps(content | {"tolerance_mm": tolerance_mm}))


def test_the_tolerance_of_surface_dice_is_known(root):
    for fold in (0, 1):
        path = root / DATASET / CONFIGURATION / f"fold_{fold}/validation/summary.json"
        with_tolerance(path, {"1": 2.0, "2": 1.0})
    frame = read(root)
    assert recorded_tolerances(frame) == {DATASET: {"1": 2.0, "2": 1.0}}
    assert recorded_tolerances(frame[frame["metric"] == "nsd"]) == recorded_tolerances(frame)
    apply_policy(concatenate([frame, frame]), "nnunet")


@pytest.mark.parametrize("other", [{"1": 3.0, "2": 1.0}, {}])
def test_surface_dice_of_several_tolerances_is_not_compared(root, other):
    folder = root / DATASET / CONFIGURATION
    with_tolerance(folder / "fold_0/validation/summary.json", {"1": 2.0, "2": 1.0})
    with_tolerance(folder / "fold_1/validation/summary.json", other)
    frame = read(root)
    with pytest.raises(CommandError, match=r"Dataset007_Two, 1: .* several tolerances in mm: 2, "):
        apply_policy(frame, "nnunet")
    # Other metrics have no tolerance.
    apply_policy(frame[frame["metric"] == "dice"], "nnunet")


def test_tolerances_that_hardly_differ_are_told_apart(root):
    folder = root / DATASET / CONFIGURATION
    with_tolerance(folder / "fold_0/validation/summary.json", {"1": 2.0, "2": 1.0})
    with_tolerance(folder / "fold_1/validation/summary.json", {"1": 2.0000001, "2": 1.0})
    with pytest.raises(CommandError, match=r"several tolerances in mm: 2, 2\.0000001; "):
        apply_policy(read(root), "nnunet")


def test_labels_and_regions_get_the_names_of_dataset_json(root):
    labels = {"background": 0, "whole tumour": [1, 2], "core": 2, "ignore": 3}
    content = {"labels": labels, "file_ending": ".nii.gz"}
    (root / DATASET / "dataset.json").write_text(json.dumps(content))
    write_fold(root, 2, [entry("d", {"(1, 2)": numbers(), "2": numbers()})])
    assert set(read(root, [2])["label"]) == {"whole tumour", "core"}


def test_dataset_json_is_found_in_the_folders_of_the_data_too(root, tmp_path):
    folder = tmp_path / "preprocessed" / DATASET
    folder.mkdir(parents=True)
    content = {"labels": {"background": 0, "liver": 1, "cancer": 2}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))
    frame = read(root, dataset_folders=[folder.parent])
    assert set(frame["label"]) == {"liver", "cancer"}


def test_nnunets_own_layout_is_read(tmp_path):
    folder = f"AttentionUNetTrainer__nnUNetPlans__{CONFIGURATION}"
    write_fold(tmp_path, 0, [entry("a")], folder)
    options = (7, "AttentionUNetTrainer", "nnUNetPlans", CONFIGURATION, [0])
    frame = read_nnunet_results(tmp_path, *options)
    assert set(frame["model"]) == {"AttentionUNetTrainer"}
    assert set(frame["configuration"]) == {CONFIGURATION}
    frame = read_nnunet_results(tmp_path, *options, model_name="ours")
    assert set(frame["model"]) == {"ours"}
    with pytest.raises(CommandError, match=r"there is no such model.*AttentionUNetTrainer__"):
        read_nnunet_results(tmp_path, 7, "Other", "nnUNetPlans", CONFIGURATION, [0])


def test_only_plans_of_ones_own_are_in_a_models_name(tmp_path):
    for plans, name in (("nnUNetPlans", "AUNet"), ("MyPlans", "AUNet MyPlans")):
        write_fold(tmp_path, 0, [entry("a")], f"AUNet__{plans}__{CONFIGURATION}")
        frame = read_nnunet_results(tmp_path, 7, "AUNet", plans, CONFIGURATION, [0])
        assert set(frame["model"]) == {name}


def test_all_data_sets_and_configurations_are_read_where_none_are_named(root):
    frame = read_named_results(root, "plain", None, None, [0, 1])
    assert set(frame["dataset"]) == {DATASET}
    assert set(frame["configuration"]) == {CONFIGURATION}


def test_missing_folds_are_named_and_the_others_kept(root):
    with pytest.raises(MissingFoldsError, match=r"fold_3.*--allow-incomplete") as caught:
        read(root, [0, 1, 3])
    assert [path.parts[-3] for path in caught.value.missing] == ["fold_3"]
    assert set(caught.value.frame["fold"]) == {0, 1}


def test_without_any_fold_the_table_is_empty(root):
    with pytest.raises(MissingFoldsError) as caught:
        read(root, [5])
    assert caught.value.frame.empty
    assert tuple(caught.value.frame.columns) == COLUMNS


def damage(entry_, **changes):
    """An entry with other numbers of label 1; None leaves a number out."""
    metrics = {**entry_["metrics"]["1"], **changes}
    metrics = {key: value for key, value in metrics.items() if value != "absent"}
    return {**entry_, "metrics": {**entry_["metrics"], "1": metrics}}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param([], "no metric_per_case", id="no cases"),
        pytest.param(["text"], "entry 0 .* not an object", id="entry"),
        pytest.param([entry("d"), entry("d")], "holds case d twice", id="duplicate"),
        pytest.param([entry("d"), entry("e", {"1": numbers()})], "case e has labels 1", id="label"),
        pytest.param([entry("a")], "case a is in both .*fold_0.* and .*fold_2", id="two folds"),
        pytest.param([entry("d", {"1": numbers()})], "has labels 1, but .*fold_0", id="labels"),
        pytest.param([damage(entry("d"), ASD=1.0)], "unknown metric ASD", id="unknown metric"),
        pytest.param([damage(entry("d"), Dice="absent")], "lacks the metric Dice", id="no Dice"),
        pytest.param([damage(entry("d"), Dice="0.5")], 'Dice is "0.5", not a number', id="text"),
        pytest.param([damage(entry("d"), Dice=1.5)], "Dice is 1.5, not between", id="range"),
        pytest.param([damage(entry("d"), TP=-1)], "TP is -1, not a voxel count", id="negative"),
        pytest.param(
            [damage(entry("d"), TP=math.nan)], "TP is nan, not a voxel count", id="NaN count"
        ),
        pytest.param([damage(entry("d"), n_ref=9)], "n_ref and n_pred are not", id="sum"),
        pytest.param([{"metrics": {"1": numbers()}}], "no reference_file", id="no file"),
        pytest.param([{**entry("d"), "metrics": 3}], "has no metrics", id="no metrics"),
        pytest.param([entry("d", {"1": 3, "2": 4})], "label 1 has no metrics", id="no numbers"),
    ],
)
def test_damaged_summaries_are_one_error_with_file_and_remedy(root, entries, message):
    path = write_fold(root, 2, entries)
    with pytest.raises(CommandError, match=message) as caught:
        read(root, [0, 1, 2])
    assert str(path) in str(caught.value)
    assert any(word in str(caught.value) for word in ("validat", "write the file again"))


def test_a_truncated_file_is_named(root):
    path = write_fold(root, 2, [entry("d")])
    path.write_text(path.read_text()[:-20])
    with pytest.raises(CommandError, match=r"fold_2.*cannot be read as JSON.*; repeat"):
        read(root, [2])


@pytest.mark.parametrize("wanted", [4, "4", "004", "Dataset004_Hippocampus"])
def test_a_data_set_is_found_by_number_and_name(tmp_path, wanted):
    for name in ("Dataset004_Hippocampus", "Dataset040_Other", "unrelated"):
        (tmp_path / name).mkdir()
    assert find_dataset(tmp_path, wanted) == "Dataset004_Hippocampus"


def test_a_data_set_that_is_absent_or_ambiguous_is_an_error(tmp_path):
    for name in ("Dataset004_One", "Dataset004_Two"):
        (tmp_path / name).mkdir()
    with pytest.raises(CommandError, match=r"several such data sets.*_One, Dataset004_Two"):
        find_dataset(tmp_path, 4)
    with pytest.raises(CommandError, match="no such data sets"):
        find_dataset(tmp_path, 5)
    with pytest.raises(CommandError, match="no such folder"):
        find_dataset(tmp_path / "absent", 4)


@needs(REFERENCE)
@pytest.mark.parametrize("model", ["PlainConvUNet", "ResEncM"])
def test_ten_data_sets_give_the_fold_means_of_nnunet(model):
    frame = read_named_results(
        REFERENCE / model, model, None, None, range(5), [PLANS / "PlainConvUNet"]
    )
    dice = frame[frame["metric"] == "dice"]
    assert dice.groupby(["dataset", "case"]).ngroups == 1741
    of_fold = dice.groupby(["dataset", "fold", "label"])["value"].mean()
    of_fold = of_fold.groupby(["dataset", "fold"]).mean()
    for (dataset, fold), mean in of_fold.items():
        path = REFERENCE / model / dataset / f"3d_fullres/fold_{fold}/validation/summary.json"
        written = json.loads(path.read_text())["foreground_mean"]["Dice"]
        assert mean == pytest.approx(written, abs=1e-9)
    if model == "PlainConvUNet":
        assert of_fold.groupby("dataset").mean().round(4).to_dict() == MEANS_OF_PLAIN
    assert {"liver", "cancer", "Anterior", "spleen"} <= set(frame["label"])
