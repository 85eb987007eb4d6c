import json
from statistics import mean

import pytest
from leaderboards import frame_of, small_settings
from shared_data import ROOT, needs

from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.records import leaderboard_record
from nnunet_attention.msd.published import (
    published_results,
    published_sources,
    published_table,
    write_published,
)
from nnunet_attention.msd.tasks import TASKS

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
