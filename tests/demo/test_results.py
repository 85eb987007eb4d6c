import json
import math
from dataclasses import replace

import pytest

from nnunet_attention.cost.parameters import count_parameters
from nnunet_attention.demo.results import (
    Dice,
    ModelResults,
    Results,
    mean_dice,
)
from nnunet_attention.demo.settings import DemoSettings
from nnunet_attention.demo.table import caption, markdown_table, rich_table, table_rows
from nnunet_attention.nnunet.summary_json import Summary, parse_summary

ORGANS = {1: "liver", 2: "pancreas"}


def summary(*dice_of_cases: tuple[float, float]) -> Summary:
    """As nnU-Net writes it, as far as it is read."""
    content = {
        "metric_per_case": [
            {
                "reference_file": f"/labels/case_{number}.nii.gz",
                "prediction_file": f"/somewhere/case_{number}.nii.gz",
                "metrics": {"1": {"Dice": liver}, "2": {"Dice": pancreas}},
            }
            for number, (liver, pancreas) in enumerate(dice_of_cases)
        ]
    }
    return parse_summary(content, "summary.json")


@pytest.fixture
def results() -> Results:
    def model(name: str, trainer: str, pancreas: Dice) -> ModelResults:
        return ModelResults(
            name=name,
            trainer=trainer,
            dice={"liver": Dice(0.9, 4), "pancreas": pancreas},
            foreground_dice=0.75,
            dice_of_case={},
            parameters=5_521_135,
            training_seconds=71.4,
            prediction_seconds_per_case=2.25,
        )

    return Results(
        data="Task90_X",
        settings=DemoSettings(epochs=3, iterations=7).as_stored(),
        training_cases=16,
        held_out_cases=("a", "b", "c", "d"),
        models=(
            model("U-Net", "nnUNetTrainer_short", Dice(0.6, 4)),
            model("Attention U-Net", "AttentionUNetTrainer_short", Dice(0.5, 3)),
        ),
        comparison="comparison.png",
    )


def test_means_are_over_cases_and_then_over_organs():
    dice, foreground, of_case = mean_dice(summary((0.9, 0.5), (0.7, 0.1)), ORGANS)
    assert dice["liver"].mean == pytest.approx(0.8)
    assert dice["pancreas"].mean == pytest.approx(0.3)
    assert foreground == pytest.approx(0.55)
    assert of_case == {"case_0": pytest.approx(0.7), "case_1": pytest.approx(0.4)}


@pytest.mark.parametrize("undefined", [math.nan, None])
def test_undefined_dice_is_left_out_and_counted(undefined):
    dice, foreground, of_case = mean_dice(summary((0.9, undefined), (0.7, 0.1)), ORGANS)
    assert dice["pancreas"] == Dice(0.1, 1)
    assert foreground == pytest.approx(0.45)
    assert of_case["case_0"] == 0.9


def test_an_organ_that_is_never_defined_leaves_the_mean_undefined():
    dice, foreground, _ = mean_dice(summary((0.9, math.nan)), ORGANS)
    assert dice["pancreas"] == Dice(None, 0)
    assert foreground is None


def test_the_table_has_a_row_for_each_organ_and_measure(results):
    assert table_rows(results) == [
        ["Dice liver", "0.900", "0.900"],
        ["Dice pancreas", "0.600", "0.500 (3 of 4 cases)"],
        ["Dice, mean of organs", "0.750", "0.750"],
        ["parameters (millions)", "5.521", "5.521"],
        ["training (s)", "71", "71"],
        ["prediction (s a case, start included)", "2.2", "2.2"],
    ]


def test_the_caption_says_how_short_the_runs_are_and_what_they_do_not_show(results):
    text = caption(results)
    assert "4 held-out cases" in text
    assert "3 epochs of 7 steps" in text
    assert "patches" not in text
    assert "differences between the two networks mean nothing" in text


def test_the_caption_names_small_patches(results):
    small = replace(results, settings=DemoSettings(data="/data/Task90_X").as_stored())
    assert "patches planned for 0.05 GB instead of 8" in caption(small)


def test_the_terminal_and_markdown_tables_agree_with_the_rows(results):
    lines = markdown_table(results).splitlines()
    assert lines[0] == "|  | U-Net | Attention U-Net |"
    assert lines[3] == "| Dice pancreas | 0.600 | 0.500 (3 of 4 cases) |"
    assert rich_table(results).row_count == len(lines) - 2 == 6


def test_parameters_are_counted_once_each(minimal_plans, tmp_path):
    description = tmp_path / "dataset.json"
    description.write_text(
        json.dumps(
            {
                "channel_names": {"0": "CT"},
                "labels": {"background": 0, "organ": 1},
                "file_ending": ".nii.gz",
                "numTraining": 1,
            }
        )
    )
    counts = [
        count_parameters(trainer, minimal_plans, description, "3d_fullres")
        for trainer in ("nnUNetTrainer_short", "AttentionUNetTrainer_short")
    ]
    # One convolution a stage with bias, and the norm's scale and shift: from 1 channel to 4 with
    # kernel (1, 3, 3), then 4 to 6 and 6 to 8 with kernel 3.
    encoder = (4 * 9 + 4 + 8) + (6 * 4 * 27 + 6 + 12) + (8 * 6 * 27 + 8 + 16)
    # Transposed convolutions with kernels (2, 2, 2) and (1, 2, 2), convolutions of twice the
    # channels, and a head of two classes for each of the two resolutions.
    low = (8 * 6 * 8 + 6) + (6 * 12 * 27 + 6 + 12) + (2 * 6 + 2)
    high = (6 * 4 * 4 + 4) + (4 * 8 * 9 + 4 + 8) + (2 * 4 + 2)
    assert counts[0] == encoder + low + high
    assert counts[1] > counts[0]
