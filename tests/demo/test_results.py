from dataclasses import replace

import pytest
from leaderboards import frame_of, small_settings

from nnunet_attention.demo.figure import ShownCase
from nnunet_attention.demo.results import Results, dice_by_case
from nnunet_attention.demo.settings import DemoSettings
from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.msd import read_msd_task


def board_of(liver: list[float], pancreas: list[float]):
    dice = {
        ("Dataset007_Tiny", "liver"): {"U-Net": liver},
        ("Dataset007_Tiny", "pancreas"): {"U-Net": pancreas},
    }
    return build_leaderboard(frame_of(dice), small_settings())


@pytest.fixture
def results(msd_task) -> Results:
    cases = [ShownCase(name, msd_task, msd_task, (), ()) for name in "abcd"]
    return Results(
        task=read_msd_task(msd_task),
        settings=DemoSettings(epochs=3, iterations=7),
        training_cases=(16,),
        held_out=tuple(cases),
        board=board_of([0.9], [0.5]),
        comparison=msd_task / "comparison.png",
        page=msd_task / "leaderboard.html",
    )


def test_dice_of_a_case_is_the_mean_of_its_labels():
    dice = dice_by_case(board_of([0.9, 0.7], [0.5, 0.1]), "U-Net")
    assert list(dice.values()) == [pytest.approx(0.7), pytest.approx(0.4)]


def test_an_undefined_label_is_left_out_of_a_cases_mean():
    dice = dice_by_case(board_of([0.9, 0.7], [float("nan"), 0.1]), "U-Net")
    assert list(dice.values()) == [pytest.approx(0.9), pytest.approx(0.4)]


def test_the_caption_says_how_short_the_runs_are_and_what_they_do_not_show(results):
    text = results.caption
    assert "4 held-out cases of Task07_Tiny" in text
    assert "16 cases for training (fold 0)" in text
    assert "3 epochs of 7 steps" in text
    assert "patches" not in text
    assert "differences between the two networks mean nothing" in text


def test_the_caption_names_small_patches(results):
    small = replace(results, settings=DemoSettings(data="/data/Task90_X"))
    assert "patches planned for 0.05 GB instead of 8" in small.caption


def test_the_caption_tells_folds_of_unequal_size(results):
    uneven = replace(results, training_cases=(16, 15, 16))
    assert "15 or 16 cases for training" in uneven.caption
