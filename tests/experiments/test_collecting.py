import json
from pathlib import Path

import pytest
from experiments_folders import CONFIGURATION, SOURCE, TARGET, write
from fake_experiments import box, overlap_metrics, write_box

from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.collecting import collect
from nnunet_attention.experiments.stages import Arm, Elsewhere, Experiment

# Slices of the references of the cases that folds 0 and 1 validate.
HEIGHTS = {"case_0": 4, "case_1": 5}


def write_validation(fold: Path, case: str, missed: int) -> None:
    """A prediction that misses slices of the reference, and its summary."""
    folder = fold / "validation"
    folder.mkdir(parents=True)
    height = HEIGHTS[case]
    write_box(folder / f"{case}.nii.gz", height - missed)
    metrics = overlap_metrics(box(height) == 1, box(height - missed) == 1)
    entry = {
        "prediction_file": str(folder / f"{case}.nii.gz"),
        "reference_file": f"/references/{case}.nii.gz",
        "metrics": {"1": metrics},
    }
    write(folder / "summary.json", {"metric_per_case": [entry]})


@pytest.fixture
def experiment(folders, tmp_path) -> Experiment:
    """A method tested by the folds of the target, and one whose predictions are elsewhere."""
    for case, height in HEIGHTS.items():
        write_box(folders.references(TARGET) / f"{case}.nii.gz", height)
    model = folders.model(TARGET, "A", "nnUNetPlans", CONFIGURATION)
    for fold, case in enumerate(HEIGHTS):
        write_validation(model / f"fold_{fold}", case, missed=1)
    named = tmp_path / "before" / "A__nnUNetPlans"
    write_validation(named / TARGET / CONFIGURATION / "fold_0", "case_0", missed=2)
    elsewhere = Elsewhere(named, SOURCE, "nnUNetPlansFor902")
    arms = (
        Arm("before", "Mine", TARGET, "A", "nnUNetPlans", ("0",), elsewhere),
        Arm("scratch", "Mine", TARGET, "A", "nnUNetPlans", ("0", "1")),
    )
    return Experiment("transfer", CONFIGURATION, (), arms, lambda: None)


def dice_of(frame) -> dict[tuple[str, str], float]:
    rows = frame[frame["metric"] == "dice"]
    return {(row.dataset, row.case): row.value for row in rows.itertuples()}


def test_cases_of_all_arms_stand_under_their_settings(experiment, folders):
    frame, _ = collect(experiment, folders, processes=1)
    # Boxes of one area: Dice is twice the common height over the sum of the heights.
    assert dice_of(frame) == {
        ("before", "case_0"): pytest.approx(2 * 2 / (4 + 2)),
        ("scratch", "case_0"): pytest.approx(2 * 3 / (4 + 3)),
        ("scratch", "case_1"): pytest.approx(2 * 4 / (5 + 4)),
    }
    assert set(frame["metric"]) == {"dice", "precision", "recall", "assd_mm"}
    assert set(frame["model"]) == {"Mine"}


def test_parameters_are_those_of_the_network_that_predicted(experiment, folders):
    asked = []

    def count(trainer, plans, dataset_json, configuration):
        asked.append((trainer, plans.parent.relative_to(folders.results).parts, configuration))
        return len(asked)

    _, costs = collect(experiment, folders, 1, count)
    assert asked == [
        ("A", (SOURCE, "A__nnUNetPlansFor902__3d_fullres"), CONFIGURATION),
        ("A", (TARGET, "A__nnUNetPlans__3d_fullres"), CONFIGURATION),
    ]
    assert {key: cost.parameters for key, cost in costs.items()} == {
        ("before", CONFIGURATION, "Mine"): 1,
        ("scratch", CONFIGURATION, "Mine"): 2,
    }


def test_an_arm_without_folds_has_those_of_the_splits(experiment, folders):
    (folders.splits(TARGET)).write_text(
        json.dumps(
            [
                {"train": ["case_1"], "val": ["case_0"]},
                {"train": ["case_0"], "val": ["case_1"]},
            ]
        )
    )
    every = Arm("scratch", "Mine", TARGET, "A", "nnUNetPlans", None)
    alone = Experiment("capacity", CONFIGURATION, (), (every,), lambda: None)
    frame, _ = collect(alone, folders, 1)
    assert len(dice_of(frame)) == 2


def test_repeats_are_numbered_and_folds_of_one_pre_training_are_one(experiment, folders):
    second = folders.of_repeat(2).model(TARGET, "A", "nnUNetPlans", CONFIGURATION)
    for fold, case in enumerate(HEIGHTS):
        write_validation(second / f"fold_{fold}", case, missed=2)
    arms = [
        Arm(setting, "Mine", TARGET, "A", "nnUNetPlans", ("0", "1"), None, repeat, shares)
        for setting, shares in (("after", True), ("scratch", False))
        for repeat in (1, 2)
    ]
    counted = []

    def count(trainer, *rest):
        counted.append(trainer)
        return 7

    repeated = Experiment("transfer", CONFIGURATION, (), tuple(arms), lambda: None)
    frame, costs = collect(repeated, folders, 1, count)
    rows = frame[frame["metric"] == "dice"]
    found = {
        (row.dataset, row.repeat, row.case): (row.fold, row.value) for row in rows.itertuples()
    }
    for repeat in (0, 1):
        dice = 2 * (4 - 1 - repeat) / (4 + 4 - 1 - repeat)
        assert found["after", repeat, "case_0"] == (0, pytest.approx(dice))
        assert found["scratch", repeat, "case_1"][0] == 1
        assert found["after", repeat, "case_1"][0] == 0
    assert counted == ["A", "A"], "once a setting"
    assert costs["after", CONFIGURATION, "Mine"].parameters == 7


def test_missing_results_are_named(experiment, folders):
    model = folders.model(TARGET, "A", "nnUNetPlans", CONFIGURATION)
    (model / "fold_1" / "validation" / "summary.json").unlink()
    with pytest.raises(CommandError, match="fold_1"):
        collect(experiment, folders, 1)
