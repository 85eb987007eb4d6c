"""Folders are evaluated as nnU-Net does it, with surface metrics besides, and resume."""

import json
import math
import os
from functools import partial

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from shared_data import HIPPOCAMPUS, NUCLEI, SARCOMA, needs
from skimage.io import imread, imsave
from tifffile import imwrite

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation import (
    METRICS,
    LabelScheme,
    add_surface_metrics,
    concatenate,
    evaluate_folder,
    read_named_results,
    recorded_tolerances,
    tolerances_mm,
)
from nnunet_attention.evaluation.metrics import evaluate
from nnunet_attention.evaluation.metrics.cache import cache_path
from nnunet_attention.evaluation.metrics.definitions import NEEDING_A_PREDICTION
from nnunet_attention.evaluation.statistics.groups import groups_by_pattern
from nnunet_attention.nnunet.summary_json import summarised_cases

SPACING_MM = (3.0, 2.0, 1.0)
NNUNET_KEYS = ("Dice", "IoU", "TP", "FP", "FN", "TN", "n_pred", "n_ref")
PLAIN = LabelScheme({1: "liver", 2: "cancer"}, None, ".nii.gz")
REGIONS = LabelScheme({(1, 2): "whole", 2: "core"}, 3, ".nii.gz")


def write(path, array, spacing_mm=SPACING_MM):
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture
def folder(tmp_path):
    """References and predictions of four cases with labels 0 to 3; case_3 has none at all."""
    rng = np.random.default_rng(0)
    for case in range(4):
        for kind in ("gt", "pred"):
            labels = rng.integers(0, 4, (3, 4, 5)).astype(np.uint8) * (case < 3)
            write(tmp_path / kind / f"case_{case}.nii.gz", labels)
    return tmp_path


def run(folder, scheme=PLAIN, tolerance_mm=2.0, output="summary.json", **options):
    return evaluate_folder(
        folder / "gt",
        folder / "pred",
        folder / output,
        scheme,
        tolerances_mm(scheme, tolerance_mm, {}),
        **options,
    )


def test_two_folders_are_all_that_is_needed(folder):
    with pytest.raises(CommandError, match=r"no dataset\.json in any of"):
        evaluate_folder(folder / "gt", folder / "pred")
    content = {"labels": {"background": 0, "liver": 1, "cancer": 2}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))
    summary = evaluate_folder(folder / "gt", folder / "pred")
    assert summary["tolerance_mm"] == {"1": 2.0, "2": 2.0}
    assert as_text(json.loads((folder / "pred" / "summary.json").read_text())) == as_text(summary)


def test_the_output_is_a_json_file(folder):
    with pytest.raises(CommandError, match=r"-o .*summary\.txt: the name must end with \.json"):
        run(folder, output="summary.txt")


def counted(monkeypatch):
    """The cases that are computed from here on, in this process."""
    cases, original = [], evaluate.evaluate_pair

    def evaluate_pair(pair):
        cases.append(pair.case)
        return original(pair)

    monkeypatch.setattr(evaluate, "evaluate_pair", evaluate_pair)
    return cases


def of_nnunet(gt, pred, scheme, reader):
    """What nnU-Net itself computes, read back from its file."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder

    output = pred / "of_nnunet.json"
    # nnU-Net would warn of the mean of a label that no case has.
    compute_metrics_on_folder(
        *(str(gt), str(pred), str(output), reader(), scheme.file_ending),
        list(scheme.names),
        scheme.ignore_label,
        num_processes=1,
    )
    content = json.loads(output.read_text())
    output.unlink()
    return content


def cases_of_nnunet(folder, scheme, reader):
    """The same for each case, without the processes that nnU-Net would start."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.utilities.json_export import recursive_fix_for_json_export

    cases = []
    for path in sorted((folder / "gt").iterdir()):
        files = (str(path), str(folder / "pred" / path.name))
        case = compute_metrics(*files, reader(), list(scheme.names), scheme.ignore_label)
        recursive_fix_for_json_export(case)
        case["metrics"] = {str(label): values for label, values in case["metrics"].items()}
        cases.append(case)
    return cases


def without_ours(summary):
    """Of a summary what nnU-Net writes too."""

    def kept(metrics):
        return {key: metrics[key] for key in NNUNET_KEYS}

    return {
        "foreground_mean": kept(summary["foreground_mean"]),
        "mean": {label: kept(means) for label, means in summary["mean"].items()},
        "metric_per_case": [
            {**case, "metrics": {label: kept(m) for label, m in case["metrics"].items()}}
            for case in summary["metric_per_case"]
        ],
    }


def as_text(summary):
    """NaN equals NaN in text."""
    return json.dumps(summary, sort_keys=True)


@pytest.mark.parametrize("scheme", [PLAIN, REGIONS])
def test_the_summary_is_nnunets_and_more(folder, scheme):
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    run(folder, scheme)
    written = json.loads((folder / "summary.json").read_text())
    expected = of_nnunet(folder / "gt", folder / "pred", scheme, SimpleITKIO)
    assert as_text(without_ours(written)) == as_text(expected)
    extra = {metric.key for metric in METRICS.values()} - set(NNUNET_KEYS)
    for metrics in (written["foreground_mean"], *written["mean"].values()):
        assert set(metrics) == {*NNUNET_KEYS, *extra}
    assert {"surface", *extra} <= set(written["definitions"])
    assert written["tolerance_mm"] == {str(label): 2.0 for label in scheme.names}


def test_nnunet_reads_the_summary(folder):
    from nnunetv2.evaluation.evaluate_predictions import load_summary_json

    run(folder, REGIONS)
    read = load_summary_json(str(folder / "summary.json"))
    assert set(read["mean"]) == {(1, 2), 2}


@needs(SARCOMA)
def test_real_anisotropic_images_give_nnunets_values(tmp_path):
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    for path in sorted((SARCOMA / "labelsTr").glob("*.nii.gz"))[:2]:
        image = SimpleITK.ReadImage(str(path))
        moved = SimpleITK.GetImageFromArray(
            np.roll(SimpleITK.GetArrayFromImage(image), (1, 2, 3), (0, 1, 2))
        )
        moved.CopyInformation(image)
        for kind, one in (("gt", image), ("pred", moved)):
            (tmp_path / kind).mkdir(exist_ok=True)
            SimpleITK.WriteImage(one, str(tmp_path / kind / path.name))
    scheme = LabelScheme.from_file(SARCOMA / "dataset.json")
    summary = run(tmp_path, scheme)
    expected = cases_of_nnunet(tmp_path, scheme, SimpleITKIO)
    assert as_text(without_ours(summary)["metric_per_case"]) == as_text(expected)
    # Moved by 3.27, 1.95 and 2.93 mm: no distance exceeds their hypotenuse.
    assert 1 < summary["mean"]["1"]["HD95_mm"] < 4.8


@needs(NUCLEI)
def test_real_pictures_give_nnunets_values(tmp_path):
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    for path in sorted((NUCLEI / "labelsTr").glob("*.png"))[:3]:
        labels = imread(path)
        for kind, one in (("gt", labels), ("pred", np.roll(labels, 2, axis=1))):
            (tmp_path / kind).mkdir(exist_ok=True)
            imsave(tmp_path / kind / path.name, one, check_contrast=False)
    scheme = LabelScheme.from_file(NUCLEI / "dataset.json")
    summary = run(tmp_path, scheme)
    expected = cases_of_nnunet(tmp_path, scheme, NaturalImage2DIO)
    assert as_text(without_ours(summary)["metric_per_case"]) == as_text(expected)
    # Moved by two pixels, in a plane and not through it.
    assert 0 < summary["mean"]["1"]["ASSD_mm"] <= 2


def test_surface_metrics_use_spacing_and_tolerance(tmp_path):
    reference, prediction = np.zeros((2, 3, 4, 5), dtype=np.uint8)
    # 2 rows of 2 mm apart.
    reference[1, 1, 1] = prediction[1, 3, 1] = 1
    write(tmp_path / "gt" / "a.nii.gz", reference)
    write(tmp_path / "pred" / "a.nii.gz", prediction)
    scheme = LabelScheme({1: "liver"}, None, ".nii.gz")
    [case] = run(tmp_path, scheme, tolerance_mm=3.9)["metric_per_case"]
    values = case["metrics"]["1"]
    assert (values["ASSD_mm"], values["HD95_mm"], values["NSD"]) == (4, 4, 0)
    [case] = run(tmp_path, scheme, tolerance_mm=4.0)["metric_per_case"]
    assert case["metrics"]["1"]["NSD"] == 1


def test_a_reference_of_tif_without_spacing_takes_that_of_the_prediction(tmp_path):
    reference, prediction = np.zeros((2, 3, 4, 5), dtype=np.uint8)
    reference[1, 1, 1] = prediction[1, 3, 1] = 1
    for kind, labels in (("gt", reference), ("pred", prediction)):
        (tmp_path / kind).mkdir()
        imwrite(tmp_path / kind / "a.tif", labels, photometric="minisblack")
    # As nnU-Net leaves it: 2 rows of 2 mm apart.
    (tmp_path / "pred" / "a.json").write_text(json.dumps({"spacing": SPACING_MM}))
    scheme = LabelScheme({1: "liver"}, None, ".tif")
    assert run(tmp_path, scheme)["mean"]["1"]["HD95_mm"] == 4


def test_voxels_of_the_ignore_label_belong_to_no_surface(tmp_path):
    reference, prediction = np.zeros((2, 3, 4, 5), dtype=np.uint8)
    reference[1, 1, 1] = prediction[1, 1, 1] = prediction[0, 3, 4] = 1
    reference[0] = 2
    write(tmp_path / "gt" / "a.nii.gz", reference)
    write(tmp_path / "pred" / "a.nii.gz", prediction)
    scheme = LabelScheme({1: "liver"}, 2, ".nii.gz")
    values = run(tmp_path, scheme)["mean"]["1"]
    assert (values["Dice"], values["HD95_mm"], values["TN"]) == (1, 0, 39)


def warnings_of(caplog):
    messages = [record.message for record in caplog.records]
    caplog.clear()
    return messages


def test_labels_that_the_data_set_does_not_have_are_named(tmp_path, caplog):
    reference, prediction = np.zeros((2, 3, 4, 5), dtype=np.uint8)
    reference[1, 1, :2], reference[2], prediction[1, 1, 1] = 99, 3, 255
    # Nothing is counted where the reference says so.
    prediction[2, 0, 0] = 77
    for case in ("a", "b"):
        write(tmp_path / "gt" / f"{case}.nii.gz", reference)
    write(tmp_path / "pred" / "a.nii.gz", prediction)
    write(tmp_path / "pred" / "b.nii.gz", np.minimum(prediction, 1))
    unknown = "is not in dataset.json and counts as background in the"
    expected = [
        f"the label 99 {unknown} reference of 2 case(s): a (2 voxels), b (2 voxels)",
        f"the label 255 {unknown} prediction of 1 case(s): a (1 voxels)",
    ]
    run(tmp_path, REGIONS)
    assert warnings_of(caplog) == expected
    # What was computed before is told as well.
    run(tmp_path, REGIONS, processes=2)
    assert warnings_of(caplog) == expected


@pytest.mark.parametrize("scheme", [PLAIN, REGIONS])
def test_labels_regions_and_the_ignore_label_are_known(tmp_path, caplog, scheme):
    labels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5) % (3 if scheme is PLAIN else 4)
    for kind in ("gt", "pred"):
        write(tmp_path / kind / "a.nii.gz", labels)
    run(tmp_path, scheme)
    assert warnings_of(caplog) == []


def test_unknown_labels_are_named_where_surfaces_are_measured(validation, caplog):
    gt, target, frame, _ = validation
    caplog.clear()
    add_surface_metrics(frame, gt, target)
    messages = warnings_of(caplog)
    assert len(messages) == 2
    assert all("the label 3 is not in dataset.json" in one for one in messages)


def test_what_is_undefined_is_written_as_nnunet_writes_it(folder):
    summary = run(folder)
    values = summary["metric_per_case"][3]["metrics"]["1"]
    assert all(math.isnan(values[metric.key]) for metric in METRICS.values())
    assert "NaN" in (folder / "summary.json").read_text()
    assert not math.isnan(summary["mean"]["1"]["ASSD_mm"])


def test_a_distance_to_an_empty_mask_is_undefined_in_the_summary(tmp_path):
    reference = np.zeros((3, 4, 5), dtype=np.uint8)
    write(tmp_path / "gt" / "a.nii.gz", reference + 1)
    write(tmp_path / "pred" / "a.nii.gz", reference)
    values = run(tmp_path, LabelScheme({1: "liver"}, None, ".nii.gz"))["mean"]["1"]
    assert math.isnan(values["ASSD_mm"])
    assert math.isnan(values["HD95_mm"])
    assert (values["NSD"], values["Dice"], values["RVD"]) == (0, 0, 1)
    assert "Infinity" not in (tmp_path / "summary.json").read_text()


def test_the_metrics_that_need_a_prediction_are_known(tmp_path):
    reference = np.zeros((3, 4, 5), dtype=np.uint8)
    write(tmp_path / "gt" / "a.nii.gz", reference + 1)
    write(tmp_path / "pred" / "a.nii.gz", reference)
    values = run(tmp_path, LabelScheme({1: "liver"}, None, ".nii.gz"))["mean"]["1"]
    undefined = [name for name, metric in METRICS.items() if math.isnan(values[metric.key])]
    assert undefined == list(NEEDING_A_PREDICTION)


def test_several_processes_give_what_one_gives(folder):
    seen = []
    many = run(folder, output="many.json", processes=2, on_progress=lambda *s: seen.append(s))
    assert as_text(many) == as_text(run(folder, output="one.json"))
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_interrupted_work_resumes(folder, monkeypatch):
    cases = counted(monkeypatch)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, on_progress=stop)
    assert cases == ["case_0", "case_1"]
    assert not (folder / "summary.json").exists()
    resumed = run(folder)
    assert cases == ["case_0", "case_1", "case_2", "case_3"]
    assert as_text(resumed) == as_text(run(folder, output="again.json"))


def test_only_what_has_changed_is_computed_again(folder, monkeypatch):
    run(folder)
    cases = counted(monkeypatch)
    run(folder)
    assert cases == []
    write(folder / "pred" / "case_1.nii.gz", np.ones((3, 4, 5), dtype=np.uint8))
    run(folder)
    assert cases == ["case_1"]
    run(folder, tolerance_mm=1.0)
    assert len(cases) == 5
    run(folder, REGIONS)
    assert len(cases) == 9


def test_other_references_with_size_and_time_of_the_first_are_computed_again(tmp_path):
    for name, label in (("gt", 1), ("gt_of_another", 2), ("pred", 1)):
        # Uncompressed, so that all are of one size, and of one time, as if from an archive.
        write(tmp_path / name / "a.nii", np.full((3, 4, 5), label, dtype=np.uint8))
        os.utime(tmp_path / name / "a.nii", (1, 1))
    scheme = LabelScheme({1: "liver", 2: "cancer"}, None, ".nii")
    assert run(tmp_path, scheme)["mean"]["1"]["Dice"] == 1
    again = evaluate_folder(
        tmp_path / "gt_of_another", tmp_path / "pred", tmp_path / "summary.json", scheme
    )
    assert again["mean"]["1"]["Dice"] == 0


def test_a_damaged_cache_is_computed_again(folder, monkeypatch):
    before = as_text(run(folder))
    path = cache_path(folder / "summary.json")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines)[:-9])
    cases = counted(monkeypatch)
    assert as_text(run(folder)) == before
    assert cases == ["case_3"]


def test_pairs_on_different_grids_stop_with_the_case_and_no_summary(folder):
    write(folder / "pred" / "case_2.nii.gz", np.zeros((3, 5, 4), dtype=np.uint8))
    with pytest.raises(CommandError, match=r"case case_2: the reference has shape"):
        run(folder, processes=2)
    assert not (folder / "summary.json").exists()


def test_missing_predictions_stop_unless_chill(folder):
    (folder / "pred" / "case_1.nii.gz").unlink()
    with pytest.raises(CommandError, match=r"lacks 1 of 4 cases: case_1.*--chill"):
        run(folder)
    assert len(run(folder, chill=True)["metric_per_case"]) == 3


def test_what_macos_notes_about_files_is_no_case(folder):
    (folder / "gt" / "._case_1.nii.gz").write_bytes(b"noted")
    (folder / "pred" / "._case_2.nii.gz").write_bytes(b"noted")
    assert len(run(folder)["metric_per_case"]) == 4


def test_predictions_without_reference_stop(folder):
    (folder / "gt" / "case_1.nii.gz").unlink()
    with pytest.raises(CommandError, match=r"no reference for 1 predictions: case_1"):
        run(folder, chill=True)


def test_absent_and_empty_folders_are_named(folder):
    (folder / "pred").rename(folder / "elsewhere")
    with pytest.raises(CommandError, match=r"-pred .*pred: there is no such folder"):
        run(folder)
    (folder / "pred").mkdir()
    with pytest.raises(CommandError, match=r"-pred .*has no files that end with .nii.gz"):
        run(folder)


@pytest.fixture
def validation(folder):
    """The cases as nnU-Net's validation folder has them, and the table of its summary."""
    target = folder / "results/Dataset001_A/3d_fullres/fold_0/validation"
    target.parent.mkdir(parents=True)
    (folder / "pred").rename(target)
    content = {"labels": {"background": 0, "liver": 1, "cancer": 2}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(content))
    summary = evaluate_folder(
        folder / "gt", target, target / "summary.json", PLAIN, tolerances_mm(PLAIN, 2.0, {})
    )
    (target / "summary.json").write_text(json.dumps(without_ours(summary)))
    cache_path(target / "summary.json").unlink()
    frame = read_named_results(
        folder / "results", "plain", [1], None, [0], dataset_folders=[folder]
    )
    return folder / "gt", target, frame, summary


def test_surface_metrics_are_added_to_the_table(validation):
    gt, target, frame, summary = validation
    before = frame.copy()
    added = add_surface_metrics(frame, gt, target, tolerance_mm_of_label={"cancer": 1})
    pd.testing.assert_frame_equal(frame, before)
    assert len(added) == len(frame) + 4 * 2 * 3
    assert recorded_tolerances(added) == {"Dataset001_A": {"liver": 2.0, "cancer": 1}}
    values = added.set_index(["case", "label", "metric"])["value"]
    for case in summary["metric_per_case"]:
        name = case["reference_file"].split("/")[-1].removesuffix(".nii.gz")
        for key, label in (("1", "liver"), ("2", "cancer")):
            for metric in ("assd_mm", "hd95_mm"):
                expected = case["metrics"][key][METRICS[metric].key]
                assert values[name, label, metric] == pytest.approx(expected, nan_ok=True)
        expected = case["metrics"]["1"]["NSD"]
        assert values[name, "liver", "nsd"] == pytest.approx(expected, nan_ok=True)
    assert values["case_0", "cancer", "nsd"] < summary["metric_per_case"][0]["metrics"]["2"]["NSD"]
    rows = added[(added["case"] == "case_0") & (added["label"] == "liver")]
    assert rows["reference_voxels"].nunique() == rows["fold"].nunique() == 1


def test_surfaces_are_measured_of_labels_whose_names_are_numbers(tmp_path):
    # Label 1, named 2, is one voxel in both; label 2, named 1, is two apart along x, 2 mm.
    gt, target = tmp_path / "gt", tmp_path / "results/Dataset001_A/3d_fullres/fold_0/validation"
    reference = np.zeros((3, 4, 5), dtype=np.uint8)
    reference[0, 0, 0], reference[2, 2, 1:3] = 1, 2
    prediction = reference.copy()
    prediction[2, 2, 1:3], prediction[2, 2, 3:5] = 0, 2
    write(gt / "a.nii.gz", reference)
    write(target / "a.nii.gz", prediction)
    content = {"labels": {"background": 0, "2": 1, "1": 2}, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    scheme = LabelScheme.from_file(tmp_path / "dataset.json")
    evaluate_folder(gt, target, target / "summary.json", scheme)
    frame = read_named_results(tmp_path / "results", "A", [1], None, [0], [tmp_path])
    added = add_surface_metrics(frame, gt, target, tolerance_mm_of_label={"1": 0.5})
    values = added.set_index(["label", "metric"])
    assert values.loc[("2", "dice"), "value"] == 1
    assert values.loc[("2", "hd95_mm"), "value"] == 0
    assert values.loc[("1", "dice"), "value"] == 0
    assert values.loc[("1", "hd95_mm"), "value"] > 1
    tolerances = values["tolerance_mm"]
    assert (tolerances["1", "nsd"], tolerances["2", "nsd"]) == (0.5, 2.0)


def test_a_tolerance_is_of_a_label_of_at_least_one_data_set(validation):
    gt, target, frame, _ = validation
    lungs = gt.parent / "lungs.json"
    lungs.write_text(
        '{"labels": {"background": 0, "liver": 1, "lung": 2}, "file_ending": ".nii.gz"}'
    )
    other = frame.replace(
        {"dataset": {"Dataset001_A": "Dataset002_B"}, "label": {"cancer": "lung"}}
    )
    described = {"Dataset001_A": gt.parent / "dataset.json", "Dataset002_B": lungs}
    added = add_surface_metrics(
        concatenate([frame, other]), gt, target, described, 2.0, {"cancer": 1, "lung": 5}
    )
    assert recorded_tolerances(added) == {
        "Dataset001_A": {"liver": 2.0, "cancer": 1},
        "Dataset002_B": {"liver": 2.0, "lung": 5},
    }
    with pytest.raises(CommandError, match=r"unknown label 'lung'; known are: liver, cancer"):
        add_surface_metrics(frame, gt, target, None, 2.0, {"cancer": 1, "lung": 5})


def test_surface_metrics_are_kept_beside_the_predictions(validation, monkeypatch):
    gt, target, frame, _ = validation
    first = add_surface_metrics(frame, {"Dataset001_A": gt}, target)
    cases = counted(monkeypatch)
    folders = {("Dataset001_A", "3d_fullres", "plain", 0): target}
    # Rows that are there already are replaced.
    again = add_surface_metrics(first, gt, folders)
    assert cases == []
    pd.testing.assert_frame_equal(first, again)


def test_segmentations_other_than_the_summarys_are_refused(validation):
    gt, target, frame, _ = validation
    write(gt / "case_0.nii.gz", np.ones((3, 4, 5), dtype=np.uint8))
    with pytest.raises(CommandError, match=r"case case_0, label liver: summary.json counts"):
        add_surface_metrics(frame, gt, target)


def test_an_absent_segmentation_is_named(validation):
    gt, target, frame, _ = validation
    (target / "case_2.nii.gz").unlink()
    with pytest.raises(CommandError, match=r"case_2.nii.gz: there is no such file.*--val"):
        add_surface_metrics(frame, gt, target)
    with pytest.raises(CommandError, match=r"no folder of segmentations is known for"):
        add_surface_metrics(frame, {"Dataset002_B": gt}, target)


def test_a_segmentation_that_was_cut_is_named(validation):
    gt, target, frame, _ = validation
    (target / "case_2.nii.gz").write_bytes((target / "case_2.nii.gz").read_bytes()[:-12])
    with pytest.raises(CommandError, match=r"validation/case_2.nii.gz is incomplete or damaged"):
        add_surface_metrics(frame, gt, target)


@needs(HIPPOCAMPUS)
def test_equal_real_images_agree_perfectly(tmp_path):
    for kind in ("gt", "pred"):
        (tmp_path / kind).mkdir()
        for path in sorted((HIPPOCAMPUS / "labelsTr").glob("h*.nii.gz"))[:2]:
            (tmp_path / kind / path.name).write_bytes(path.read_bytes())
    means = run(tmp_path, tolerance_mm=0.0)["foreground_mean"]
    assert [means[metric.key] for metric in METRICS.values()] == [1, 1, 1, 1, 0, 0, 0, 1]


GROUP_OF = {"case_0": "p1", "case_1": "p2", "case_2": "p1", "case_3": "p3"}


def test_groups_count_once_by_the_mean_of_their_defined_cases(folder):
    plain = run(folder, output="plain.json")
    summary = run(folder, groups=lambda cases: {case: GROUP_OF[case] for case in cases})
    dice = [entry["metrics"]["2"]["Dice"] for entry in summary["metric_per_case"]]
    found = summary["groups"]["mean"]["2"]["Dice"]
    # case_3, the only one of p3, has neither reference nor prediction.
    assert math.isnan(dice[3])
    assert (found["groups"], found["cases"]) == (2, 3)
    assert found["mean"] == pytest.approx(((dice[0] + dice[2]) / 2 + dice[1]) / 2)
    assert found["low"] < found["mean"] < found["high"]
    of_cases = [
        (entry["metrics"]["1"]["Dice"] + entry["metrics"]["2"]["Dice"]) / 2
        for entry in summary["metric_per_case"][:3]
    ]
    foreground = summary["groups"]["foreground_mean"]["Dice"]
    assert foreground["mean"] == pytest.approx(((of_cases[0] + of_cases[2]) / 2 + of_cases[1]) / 2)
    assert [entry["group"] for entry in summary["metric_per_case"]] == list(GROUP_OF.values())
    # What is nnU-Net's stays as it is.
    for key in ("mean", "foreground_mean"):
        assert as_text(summary[key]) == as_text(plain[key])
    assert "groups" not in plain
    assert summarised_cases(folder / "summary.json", ".nii.gz") == set(GROUP_OF)


def test_what_no_group_has_is_undefined(folder):
    for kind in ("gt", "pred"):
        for case in GROUP_OF:
            write(folder / kind / f"{case}.nii.gz", np.zeros((3, 4, 5), np.uint8))
    summary = run(folder, groups=lambda cases: GROUP_OF)
    found = summary["groups"]["mean"]["1"]["Dice"]
    assert (found["groups"], found["cases"]) == (0, 0)
    assert math.isnan(found["mean"])


def test_wrong_groups_are_refused_before_anything_is_computed(folder, monkeypatch):
    computed = counted(monkeypatch)
    with pytest.raises(CommandError, match="4 cases that it does not match, such as case_0"):
        run(folder, groups=partial(groups_by_pattern, "(patient)"))
    assert computed == []
    assert not (folder / "summary.json").exists()
