import json
from math import isnan
from statistics import mean, stdev

import numpy as np
import pytest
from leaderboards import frame_of, small_settings
from scipy import stats
from shared_data import ROOT, needs

from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.records import leaderboard_record
from nnunet_attention.msd.published import (
    claims_table,
    published_comparisons,
    published_results,
    published_sources,
    published_table,
    write_published,
)
from nnunet_attention.msd.tasks import TASKS


def nanmean(values: list[float]) -> float:
    return mean(value for value in values if not isnan(value))


REFERENCE = ROOT / "msd_cv_reference"
MODELS = {"nnU-Net": "PlainConvUNet", "nnU-Net ResEnc M": "ResEncM"}


@pytest.fixture
def record():
    dice = {
        ("Dataset004_Hippocampus", "Anterior"): {"mine": [0.8, 0.9], "other": [0.5, 0.7]},
        ("Dataset777_Own", "organ"): {"mine": [0.5, 0.5], "other": [0.25, 0.75]},
    }
    return leaderboard_record(build_leaderboard(frame_of(dice), small_settings()))


def test_every_task_has_two_published_models_each_with_its_source():
    for task in TASKS:
        found = published_results(task.dataset_name, "3d_fullres")
        assert {one.model for one in found} >= set(MODELS)
        for one in found:
            source = published_sources()[one.source]
            assert source.url.startswith("https://")
            assert source.citation
            assert 0 < one.dice < 1


def test_nothing_is_known_of_other_data_sets_and_configurations():
    assert published_results("Dataset777_Own", "3d_fullres") == []
    assert published_results("Dataset004_Hippocampus", "2d") == []


@needs(REFERENCE)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_numbers_are_those_of_the_published_summaries(task):
    found = published_results(task.dataset_name, "3d_fullres")
    computed = [one for one in found if one.source == "auto-nnunet-baseline"]
    assert [one.model for one in computed] == list(MODELS)
    for one in computed:
        folder = REFERENCE / MODELS[one.model] / task.dataset_name / "3d_fullres"
        folds = [
            json.loads((folder / f"fold_{fold}" / "validation" / "summary.json").read_text())
            for fold in range(5)
        ]
        assert one.dice == round(mean(f["foreground_mean"]["Dice"] for f in folds), 4)
        assert one.cases == sum(len(f["metric_per_case"]) for f in folds)
        of_label = [
            round(mean(f["mean"][key]["Dice"] for f in folds), 4) for key in folds[0]["mean"]
        ]
        assert sorted(one.dice_of_label.values()) == sorted(of_label)
        cases = [
            nanmean([label["Dice"] for label in case["metrics"].values()])
            for fold in folds
            for case in fold["metric_per_case"]
        ]
        over_cases = (one.over_cases.mean, one.over_cases.sd, one.over_cases.n)
        assert over_cases == (round(mean(cases), 4), round(stdev(cases), 4), len(cases))


def test_own_results_stand_above_the_published_ones_of_their_data_set(record, tmp_path):
    write_published(record, ["3d_fullres"], tmp_path / "new")
    written = json.loads((tmp_path / "new" / "published.json").read_text())
    rows = [(row["dataset"], row["model"], row["dice"]) for row in written["rows"]]
    assert rows == [
        ("Dataset004_Hippocampus", "mine", pytest.approx(0.85)),
        ("Dataset004_Hippocampus", "other", pytest.approx(0.6)),
        ("Dataset004_Hippocampus", "nnU-Net", 0.8904),
        ("Dataset004_Hippocampus", "nnU-Net ResEnc M", 0.8875),
        ("Dataset777_Own", "mine", pytest.approx(0.5)),
        ("Dataset777_Own", "other", pytest.approx(0.5)),
    ]
    assert list(written["sources"]) == ["auto-nnunet-baseline"]
    text = (tmp_path / "new" / "published.md").read_text()
    assert "| Dataset004\\_Hippocampus | nnU-Net | 0.8904 | \\[1\\] |" in text
    assert "https://github.com/automl/AutoNNUnet" in text


def test_terminal_tells_own_from_published(record):
    table = published_table(record, ["3d_fullres"])
    sources = [str(cell) for cell in table.columns[3].cells]
    assert sources[:3] == ["this run", "this run", "https://github.com/automl/AutoNNUnet"]


def hippocampus_record(cases: int) -> tuple[np.ndarray, dict]:
    values = np.random.default_rng(4).normal(0.892, 0.03, cases)
    dice = {("Dataset004_Hippocampus", "Anterior"): {"mine": list(values)}}
    return values, leaderboard_record(build_leaderboard(frame_of(dice), small_settings()))


def test_as_many_cases_tell_how_likely_the_better_mean_is_a_false_claim(tmp_path):
    values, record = hippocampus_record(260)
    plain, presets = published_comparisons(record, ["3d_fullres"])
    assert (plain.published.model, presets.published.model) == tuple(MODELS)
    # Of nnU-Net over cases: 0.8904 and 0.0339.
    error = np.sqrt((values.var(ddof=1) + 0.0339**2) / 260)
    expected = stats.t.sf(abs(values.mean() - 0.8904) / error, 259)
    assert plain.claims.by_correlation[0] == pytest.approx(expected)
    first, second = claims_table(record, ["3d_fullres"]).texts
    assert first[:3] == ["Hippocampus", "Anterior", "nnU-Net"]
    write_published(record, ["3d_fullres"], tmp_path)
    text = (tmp_path / "published.md").read_text()
    assert "## Differences from published results" in text
    assert f"| nnU-Net ResEnc M | {second[3]} | {second[4]} | 260 | mine |" in text
    written = json.loads((tmp_path / "published.json").read_text())["comparisons"]
    probability = written[0]["false_claim_probability_at_correlation"]["0"]
    assert probability == pytest.approx(expected)


def test_of_other_cases_nothing_is_claimed():
    _, record = hippocampus_record(20)
    assert published_comparisons(record, ["3d_fullres"]) == []


def test_without_published_spreads_there_is_no_table_of_claims(tmp_path):
    dice = {("Dataset777_Own", "organ"): {"mine": [0.5, 0.6]}}
    record = leaderboard_record(build_leaderboard(frame_of(dice), small_settings()))
    assert claims_table(record, ["3d_fullres"]).rows == ()
    write_published(record, ["3d_fullres"], tmp_path)
    assert "false claim" not in (tmp_path / "published.md").read_text()
