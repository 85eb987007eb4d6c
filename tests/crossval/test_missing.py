import json
import os
import shutil

import pytest
from fake_nnunet import DATASET, nnunet, plan

from nnunet_attention.crossval import FoldStep, all_runs, missing_steps
from nnunet_attention.errors import CommandError

__all__ = ["nnunet"]  # the fixture

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")


@pytest.fixture
def prepared(nnunet):
    nnunet.prepare()
    return nnunet


def listed(steps) -> list[tuple[str, tuple[str, ...]]]:
    """Names without the data set's, and what each needs."""
    return [
        (
            step.name.removeprefix(f"{DATASET} "),
            tuple(need.removeprefix(f"{DATASET} ") for need in step.needs),
        )
        for step in steps
    ]


def test_of_a_raw_data_set_all_is_missing_in_an_order_in_which_it_can_be_done(nnunet):
    steps = missing_steps(plan(folds=("0",), models=(("A", "nnUNetPlans"),)), nnunet.folders)
    assert listed(steps) == [
        ("fingerprint", ()),
        ("plans nnUNetPlans", ("fingerprint",)),
        ("preprocessing nnUNetPlans 3d_fullres", ("plans nnUNetPlans",)),
        ("splits", ("preprocessing nnUNetPlans 3d_fullres",)),
        (
            "A__nnUNetPlans__3d_fullres fold 0",
            ("preprocessing nnUNetPlans 3d_fullres", "splits"),
        ),
        ("A__nnUNetPlans__3d_fullres accumulation", ("A__nnUNetPlans__3d_fullres fold 0",)),
    ]


def test_plans_that_are_converted_need_those_they_come_from(nnunet):
    models = (("A", "Attention_nnUNetResEncUNetLPlans"),)
    steps = missing_steps(plan(folds=("0",), models=models), nnunet.folders)
    assert listed(steps)[1:3] == [
        ("plans nnUNetResEncUNetLPlans", ("fingerprint",)),
        ("plans Attention_nnUNetResEncUNetLPlans", ("plans nnUNetResEncUNetLPlans",)),
    ]


def test_a_fold_of_a_cascade_needs_all_folds_of_the_first_stage_with_its_model(prepared):
    wanted = plan(configurations=("3d_cascade_fullres",), folds=("1",))
    steps = missing_steps(wanted, prepared.folders)
    second = next(
        needs
        for name, needs in listed(steps)
        if name == "TrainerB__nnUNetPlans__3d_cascade_fullres fold 1"
    )
    assert second == (
        "preprocessing nnUNetPlans 3d_lowres",
        *(f"TrainerB__nnUNetPlans__3d_lowres fold {fold}" for fold in range(5)),
    )


def test_a_fold_of_an_unplanned_cascade_brings_its_first_stage_along(nnunet):
    wanted = plan(configurations=("3d_cascade_fullres",), models=(("A", "nnUNetPlans"),))
    runs = all_runs(wanted, nnunet.folders)
    assert [run.configuration for run in runs] == ["3d_lowres"] * 5 + ["3d_cascade_fullres"] * 2
    assert {run.next_stages for run in runs[:5]} == {("3d_cascade_fullres",)}


def test_a_description_that_planning_would_have_copied_is_copied(prepared):
    prepared.folders.dataset_json(DATASET).unlink()
    steps = missing_steps(plan(), prepared.folders)
    assert (steps[0].name, steps[0].command) == (f"{DATASET} dataset.json", ())
    assert steps[1].needs == (f"{DATASET} dataset.json",)


def test_a_half_written_fingerprint_is_made_again_from_scratch(prepared):
    prepared.folders.fingerprint(DATASET).write_text("{")
    step = missing_steps(plan(), prepared.folders)[0]
    assert step.kind == "fingerprint"
    assert step.command[-1] == "--clean"
    prepared.folders.fingerprint(DATASET).unlink()
    assert "--clean" not in missing_steps(plan(), prepared.folders)[0].command


@pytest.mark.parametrize("how", ["folder", "half", "all"])
def test_a_step_that_needs_images_which_were_moved_away_is_refused_with_the_remedy(prepared, how):
    prepared.move_images_away(how)
    images = prepared.folders.raw_dataset(DATASET) / "imagesTr"
    assert {step.kind for step in missing_steps(plan(), prepared.folders)} == {
        "fold",
        "accumulation",
    }
    needs = (
        f"{DATASET} preprocessing nnUNetPlans 3d_lowres is missing, and making it needs the images "
        f"in {images}"
    )
    lack = {
        "folder": f"; put them back ({images}, the folder of the training images, cannot be read: "
        "No such file or directory)",
        "half": ", which lacks 5 preprocessed cases, such as case_00; put them back, or move their "
        "preprocessed files away",
        "all": ", which has none; put them back",
    }
    # The data of the other configuration tell which cases there are.
    wanted = plan(configurations=("3d_fullres", "3d_lowres"))
    with pytest.raises(CommandError) as refusal:
        missing_steps(wanted, prepared.folders)
    assert str(refusal.value) == needs + lack[how]


def test_what_needs_no_images_is_made_without_them(prepared):
    shutil.rmtree(prepared.folders.raw_dataset(DATASET) / "imagesTr")
    prepared.folders.splits(DATASET).unlink()
    prepared.folders.dataset_json(DATASET).unlink()
    models = (("A", "nnUNetPlans"), ("A", "Attention_nnUNetPlans"))
    steps = missing_steps(plan(models=models), prepared.folders)
    assert [step.kind for step in steps[:3]] == ["plans", "preprocessing", "splits"]


def test_a_file_that_goes_while_it_is_looked_at_is_one_error(prepared, monkeypatch):
    def gone(*arguments):
        raise FileNotFoundError(2, "No such file or directory", "/data/case.pkl")

    monkeypatch.setattr("nnunet_attention.crossval.dataset.needs_preprocessing", gone)
    with pytest.raises(CommandError, match=r"^/data/case.pkl cannot be read: No such file"):
        missing_steps(plan(), prepared.folders)


def test_folds_that_share_validation_cases_are_not_gathered(prepared):
    path = prepared.folders.splits(DATASET)
    splits = json.loads(path.read_text())
    splits[1]["val"] = splits[0]["val"]
    splits[1]["train"] = splits[0]["train"]
    path.write_text(json.dumps(splits))
    assert {step.kind for step in missing_steps(plan(), prepared.folders)} == {"fold"}


def test_a_list_may_be_of_some_data_sets_only(prepared):
    prepared.add_dataset("Dataset902_Other")
    wanted = plan(datasets=(DATASET, "Dataset902_Other"))
    steps = missing_steps(wanted, prepared.folders, ["Dataset902_Other"])
    assert {step.group for step in steps} == {"Dataset902_Other"}


def test_plans_of_an_unknown_planner_are_named(nnunet):
    with pytest.raises(
        CommandError, match=r"-p MyPlans: there is no .*MyPlans.json, and the name does not say"
    ):
        missing_steps(plan(models=(("A", "MyPlans"),)), nnunet.folders)


def test_by_default_the_folds_are_those_of_the_splits(prepared):
    path = prepared.folders.splits(DATASET)
    path.write_text(json.dumps(json.loads(path.read_text())[:3]))
    steps = missing_steps(plan(folds=None), prepared.folders)
    assert {step.run.fold for step in steps if isinstance(step, FoldStep)} == {"0", "1", "2"}
    (accumulation, _) = [step for step in steps if step.kind == "accumulation"]
    assert accumulation.command[-4:] == ("-f", "0", "1", "2")


def test_without_splits_there_will_be_five_folds(nnunet):
    steps = missing_steps(plan(folds=None), nnunet.folders)
    assert {step.run.fold for step in steps if isinstance(step, FoldStep)} == set("01234")


def test_interrupted_preprocessing_is_done_again_though_all_cases_are_there(prepared):
    prepared.folders.unfinished_data(DATASET, "nnUNetPlans_3d_fullres").touch()
    assert missing_steps(plan(), prepared.folders)[0].kind == "preprocessing"
