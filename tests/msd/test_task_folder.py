import hashlib
import json
import os
from pathlib import Path

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.msd.task_folder import copy_cases, read_msd_task


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def edit_description(folder: Path, **changes) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_number_name_and_organs_are_read(msd_task):
    task = read_msd_task(msd_task)
    assert (task.number, task.name) == (7, "Tiny")
    assert task.organs == {1: "left", 2: "right"}
    assert len(task.cases) == 10
    assert task.dataset_name == "Dataset007_Tiny"
    assert not task.is_ct


def test_a_name_with_underscores_becomes_one_that_nnunet_converts(msd_task):
    renamed = msd_task.rename(msd_task.with_name("Task7_Very_Tiny"))
    assert read_msd_task(renamed).folder_name == "Task07_VeryTiny"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(CommandError, match="Task04_Nothing is not a folder"):
        read_msd_task(tmp_path / "Task04_Nothing")


def test_a_folder_without_dataset_json_is_refused(tmp_path):
    (tmp_path / "Task04_Empty").mkdir()
    with pytest.raises(CommandError, match=r"no readable dataset\.json"):
        read_msd_task(tmp_path / "Task04_Empty")


def test_a_folder_named_otherwise_is_refused(msd_task):
    renamed = msd_task.rename(msd_task.with_name("Dataset007_Tiny"))
    with pytest.raises(CommandError, match="like Task04_Hippocampus"):
        read_msd_task(renamed)


def test_broken_json_is_refused(msd_task):
    (msd_task / "dataset.json").write_text("{")
    with pytest.raises(CommandError, match="not valid JSON"):
        read_msd_task(msd_task)


def test_nnunets_own_dataset_json_is_told_from_msds(msd_task):
    (msd_task / "dataset.json").write_text('{"channel_names": {}, "labels": {}}')
    with pytest.raises(CommandError, match=r"lacks modality, training.*looks like nnU-Net's own"):
        read_msd_task(msd_task)


@pytest.mark.parametrize("training", [["./imagesTr/a.nii.gz"], [{"label": "x"}], 3])
def test_a_list_of_cases_of_another_form_is_refused(msd_task, training):
    edit_description(msd_task, training=training)
    with pytest.raises(CommandError, match="pairs of image and label"):
        read_msd_task(msd_task)


def test_an_empty_list_of_cases_is_refused(msd_task):
    edit_description(msd_task, training=[])
    with pytest.raises(CommandError, match="lists no training cases"):
        read_msd_task(msd_task)


def test_a_missing_file_is_named(msd_task):
    (msd_task / "labelsTr" / "tiny_03.nii.gz").unlink()
    with pytest.raises(CommandError, match=r"labelsTr/tiny_03\.nii\.gz is missing"):
        read_msd_task(msd_task)


def test_copied_cases_keep_their_files_and_the_source_stays(msd_task, tmp_path):
    before = contents(msd_task)
    target = copy_cases(read_msd_task(msd_task), ("tiny_04", "tiny_00"), tmp_path / "task")
    after = contents(target)
    del after["dataset.json"]
    assert after == {
        f"{kind}Tr/{case}.nii.gz": before[f"{kind}Tr/{case}.nii.gz"]
        for kind in ("images", "labels")
        for case in ("tiny_00", "tiny_04")
    }
    assert contents(msd_task) == before


def test_the_copy_is_a_valid_task_with_the_chosen_cases(msd_task, tmp_path):
    cases = ("tiny_00", "tiny_04")
    task = read_msd_task(copy_cases(read_msd_task(msd_task), cases, tmp_path / "task"))
    assert task.cases == cases
    assert task.description["numTraining"] == 2
    assert task.description["test"] == []
    assert task.description["labels"] == {"0": "background", "1": "left", "2": "right"}


def test_copies_of_read_only_files_are_writable(msd_task, tmp_path):
    for path in msd_task.rglob("*.nii.gz"):
        path.chmod(0o444)
    target = copy_cases(read_msd_task(msd_task), ("tiny_00",), tmp_path / "t")
    copies = sorted(target.rglob("*.nii.gz"))
    assert len(copies) == 2
    for path in copies:
        assert path.stat().st_mode & 0o200
        assert not os.path.samefile(path, msd_task / path.relative_to(target))
