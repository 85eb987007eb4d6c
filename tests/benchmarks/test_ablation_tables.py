"""The result of an ablation becomes the tables and the picture of its document."""

import json

import pytest
from PIL import Image

from benchmarks import ablation
from nnunet_attention.cli.exit_codes import exit_code_of

MINUS = "\N{MINUS SIGN}"


def comparison(mean: float, low: float, high: float) -> dict:
    return {"mean_difference": mean, "low": low, "high": high, "p_value": 0.02}


def effect(label: str, replacement: str, beyond: dict | None) -> dict:
    return {
        **comparison(-0.012, -0.02, -0.0049),
        "adjusted_p_value": 0.3,
        "gates": "1",
        "label": label,
        "metric": "dice",
        "replacement": replacement,
        "beyond_random": beyond,
        "changed_share": 0.104,
    }


@pytest.fixture
def record() -> dict:
    mean = "mean of labels"
    curve = [
        {
            "gate": 1,
            "label": label,
            "order": order,
            "direction": direction,
            "share": share,
            "value": 0.8,
        }
        for label in ("kidney", mean)
        for order in ("attention", "cam", "random")
        for direction in ("deletion", "insertion")
        for share in (0.0, 1.0)
    ]
    area = {"gate": 1, "direction": "insertion", "adjusted_p_value": 0.4}
    violated = {"gate": 1, "share": 0.25, "worse": 3, "better": 2, "p_value": 0.0002}
    return {
        "model": {
            "folder": "/home/somebody/model",
            "prediction": {"engine": "torch", "precision": "f32", "mirroring_axes": [0, 2]},
        },
        "settings": {"cases": 5},
        "effects": [
            effect("kidney", "open", None),
            effect(mean, "open", comparison(0.001, -0.002, 0.003)),
            effect(mean, "random_weights", None),
        ],
        "areas": [
            {**area, **comparison(0.004, 0.001, 0.007), "label": mean, "other": "cam"},
            {**area, **comparison(0.9, 0.8, 1.0), "label": "kidney", "other": "cam"},
        ],
        "violations": [{**violated, "label": mean, "adjusted_p_value": 1.0}],
        "curves": curve,
    }


def test_each_replacement_has_a_row_for_the_mean_of_labels(record):
    heading, _, opened, random, *rest = ablation.effects_table(record).splitlines()
    assert heading.startswith("| gates | replacement | Dice, mean of labels |")
    numbers = f"{MINUS}0.012 | [{MINUS}0.020, {MINUS}0.005] | 0.020 | 0.300"
    assert opened == f"| 1 | open | {numbers} | +0.001 [{MINUS}0.002, +0.003] | 10 % |"
    assert random == f"| 1 | random_weights | {numbers} |  | 10 % |"
    assert rest == ["", "5 cases, with mirroring; run by torch, in f32."]


def test_areas_and_violations_are_those_of_the_mean_of_labels(record):
    _, _, area, _, caption, _, sentence = ablation.areas_table(record).splitlines()
    assert area == "| 1 | insertion | Grad-CAM | +0.004 | [+0.001, +0.007] | 0.020 | 0.400 |"
    assert caption.startswith("5 cases")
    assert sentence == (
        "Gate 1, the 25 % of blocks with the largest coefficients shut: worse in 3 cases, better "
        "in 2 (p <0.001, Holm = 1.000)."
    )


def test_the_command_keeps_numbers_without_paths_tables_and_picture(record, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "RESULTS", tmp_path / "kept")
    monkeypatch.setattr(ablation, "PICTURE", tmp_path / "pictures" / "curves.png")
    (tmp_path / "ablation.json").write_text(json.dumps(record))
    assert ablation.main([str(tmp_path)]) == 0
    assert "somebody" not in (tmp_path / "kept" / "ablation.json").read_text("utf-8")
    assert (tmp_path / "kept" / "areas.md").read_text("utf-8") == ablation.areas_table(record)
    with Image.open(tmp_path / "pictures" / "curves.png") as picture:
        assert picture.width > picture.height  # One gate, two directions.


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_folder_without_curves_is_one_error_and_nothing_is_written(
    content, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(ablation, "RESULTS", tmp_path / "kept")
    if content is not None:
        (tmp_path / "ablation.json").write_text(content)
    assert exit_code_of("it", lambda: ablation.main([str(tmp_path)])) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "kept").exists()


def test_results_that_cannot_be_written_are_one_error(record, tmp_path, monkeypatch, capsys):
    (tmp_path / "kept").touch()
    monkeypatch.setattr(ablation, "RESULTS", tmp_path / "kept")
    (tmp_path / "ablation.json").write_text(json.dumps(record))
    assert exit_code_of("it", lambda: ablation.main([str(tmp_path)])) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
