import json
import os

import pytest
from fake_nnunet import DATASET, FakeNnunet

from nnunet_attention.crossval.steps import (
    DescriptionStep,
    FingerprintStep,
    PlansStep,
    PreprocessingStep,
    SplitsStep,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")

DATA = "nnUNetPlans_3d_fullres"


@pytest.fixture
def folders(tmp_path):
    fake = FakeNnunet(tmp_path)
    fake.prepare()
    return fake.folders


def preprocessing(folders, data=DATA) -> PreprocessingStep:
    return PreprocessingStep(folders, DATASET, (), "nnUNetPlans", "3d_fullres", 3, data)


def planning(folders) -> PlansStep:
    command = ("nnUNetv2_plan_experiment", "-d", "901")
    return PlansStep(folders, DATASET, (), "nnUNetPlans", command)


def all_steps(folders) -> list:
    return [
        FingerprintStep(folders, DATASET, (), 3, True),
        planning(folders),
        DescriptionStep(folders, DATASET, ()),
        preprocessing(folders),
        SplitsStep(folders, DATASET, ()),
    ]


def test_commands_are_those_of_nnunet(folders):
    fingerprint, _, description, preprocess, splits = all_steps(folders)
    assert " ".join(fingerprint.command) == (
        "nnUNetv2_extract_fingerprint -d 901 -np 3 --verify_dataset_integrity --clean"
    )
    assert " ".join(preprocess.command) == (
        "nnUNetv2_preprocess -d 901 -plans_name nnUNetPlans -c 3d_fullres -np 3"
    )
    assert description.command == splits.command == ()


def test_all_of_them_share_the_data_sets_place_mark_and_lock(folders):
    place = folders.dataset(DATASET)
    for step in all_steps(folders):
        assert step.place() == place
        assert step.mark == str(place)
        assert step.group == DATASET
        assert not step.takes_device
        with step.lock().held():
            assert (place / ".crossval.lock").is_file()


def test_kinds_and_names_are_those_of_older_records(folders):
    assert [(step.kind, step.name) for step in all_steps(folders)] == [
        ("fingerprint", f"{DATASET} fingerprint"),
        ("plans", f"{DATASET} plans nnUNetPlans"),
        ("description", f"{DATASET} dataset.json"),
        ("preprocessing", f"{DATASET} preprocessing nnUNetPlans 3d_fullres"),
        ("splits", f"{DATASET} splits"),
    ]


def test_a_table_has_data_set_and_step(folders):
    assert planning(folders).cells == ("901 Tiny", "plans nnUNetPlans", "")


def test_data_are_marked_as_unfinished_until_the_command_has_ended_well(folders):
    step, mark = preprocessing(folders), folders.unfinished_data(DATASET, DATA)
    step.before_start()
    assert mark.is_file()
    step.after()
    assert not mark.exists()
    unplanned = preprocessing(folders, None)
    unplanned.before_start()
    unplanned.after()


def test_damaged_plans_are_set_aside_and_told_before(folders):
    step = planning(folders)
    step.plans_file.write_text("half")
    assert step.remark == f"made again: {step.plans_file} is damaged"
    notes = []
    assert step.cleared(notes.append) == step
    assert not step.plans_file.exists()
    (note,) = notes
    assert note.endswith("kept as nnUNetPlans.json.damaged-1")
    assert step.remark == ""


def test_the_description_is_copied_as_it_is(folders):
    folders.dataset_json(DATASET).unlink()
    DescriptionStep(folders, DATASET, ()).do()
    raw = folders.raw_dataset(DATASET) / "dataset.json"
    assert folders.dataset_json(DATASET).read_bytes() == raw.read_bytes()


def test_the_preprocessed_cases_are_split(folders):
    folders.splits(DATASET).unlink()
    SplitsStep(folders, DATASET, ()).do()
    splits = json.loads(folders.splits(DATASET).read_text())
    assert sorted(case for split in splits for case in split["val"]) == [
        f"case_{number:02d}" for number in range(10)
    ]
