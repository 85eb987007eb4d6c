import json

import pytest
from experiments_folders import CONFIGURATION, SOURCE, TARGET, change_plans, write

from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.target_plans import (
    CopiedPlans,
    MovedPlans,
    moved_name,
    tuned_name,
)


@pytest.fixture
def moved(folders) -> MovedPlans:
    return MovedPlans(folders, SOURCE, TARGET, "nnUNetPlans", CONFIGURATION)


@pytest.fixture
def copied(folders) -> CopiedPlans:
    return CopiedPlans(folders, SOURCE, TARGET, "nnUNetPlans", CONFIGURATION)


def lay_moved(folders) -> None:
    """As nnU-Net's tool: for the source's files, and with data of their own."""
    content = json.loads(folders.plans(TARGET, "nnUNetPlans").read_text())
    content |= {"dataset_name": SOURCE, "plans_name": "nnUNetPlansFor902"}
    content["image_reader_writer"] = "NibabelIO"
    content["configurations"][CONFIGURATION]["data_identifier"] = "nnUNetPlansFor902_3d_fullres"
    write(folders.plans(SOURCE, "nnUNetPlansFor902"), content)


def test_plans_are_named_by_the_other_data_set():
    assert moved_name("nnUNetPlans", TARGET) == "nnUNetPlansFor902"
    assert tuned_name("nnUNetPlans", SOURCE) == "nnUNetPlansFrom901"


def test_moving_is_told_as_nnunets_command(moved):
    assert moved.name == "move nnUNetPlans"
    assert moved.description == (
        "nnUNetv2_move_plans_between_datasets -s Dataset902_Target -t Dataset901_Tiny "
        "-sp nnUNetPlans -tp nnUNetPlansFor902"
    )


def test_moved_plans_may_have_another_reader_and_other_data(moved, folders):
    assert not moved.is_done()
    lay_moved(folders)
    assert moved.is_done()


def test_plans_that_were_moved_before_a_change_are_refused(moved, folders):
    lay_moved(folders)
    change_plans(folders.plans(TARGET, "nnUNetPlans"), patch_size=[8, 8, 8])
    with pytest.raises(CommandError, match=r"nnUNetPlans of Dataset902_Target have changed since"):
        moved.is_done()


def test_half_written_plans_are_moved_again(moved, folders):
    write(folders.plans(SOURCE, "nnUNetPlansFor902"), '{"configurations"')
    assert not moved.is_done()


def test_copied_plans_share_the_data(copied, folders, tmp_path):
    assert not copied.is_done()
    copied.do(tmp_path / "log")
    assert copied.is_done()
    original = json.loads(folders.plans(TARGET, "nnUNetPlans").read_text())
    copy = json.loads(folders.plans(TARGET, "nnUNetPlansFrom901").read_text())
    assert copy == {**original, "plans_name": "nnUNetPlansFrom901"}


def test_copied_plans_are_refused_after_a_change(copied, folders, tmp_path):
    copied.do(tmp_path / "log")
    change_plans(folders.plans(TARGET, "nnUNetPlans"), patch_size=[8, 8, 8])
    with pytest.raises(CommandError, match=r"nnUNetPlansFrom901\.json was made from them"):
        copied.is_done()
