import hashlib
import json
import os
from pathlib import Path

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.msd.task_folder import Division, divide, lay_out, read_msd_task

NAMES = tuple(f"case_{number:03d}" for number in range(100))


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


@pytest.mark.parametrize(
    ("cases", "held_out"), [(6, 1), (10, 2), (20, 4), (23, 5), (50, 10), (100, 10)]
)
def test_a_fifth_is_held_out_within_bounds(cases, held_out):
    division = divide(NAMES, cases, ("0",), seed=0)
    assert len(division.held_out) == held_out
    assert len(division.training) == cases - held_out
    assert not set(division.held_out) & set(division.training)


def test_the_draw_depends_on_the_seed_and_not_on_the_order():
    assert divide(NAMES, 10, ("0",), 1) == divide(NAMES[::-1], 10, ("0",), 1)
    assert divide(NAMES, 10, ("0",), 1) != divide(NAMES, 10, ("0",), 2)


def test_by_default_twenty_or_all_are_used():
    assert len(divide(NAMES, None, ("0",), 0).training) == 16
    assert len(divide(NAMES[:10], None, ("0",), 0).training) == 8


def test_more_cases_than_there_are_is_refused():
    with pytest.raises(CommandError, match="--cases 101: the data set has 100"):
        divide(NAMES, 101, ("0",), 0)


def test_five_folds_need_five_training_cases():
    with pytest.raises(
        CommandError, match=r"leave 4 for training.*at least 6 cases or --folds all"
    ):
        divide(NAMES, 5, ("0", "1"), 0)
    assert len(divide(NAMES, 5, ("all",), 0).training) == 4


def test_a_single_case_is_refused_even_for_fold_all():
    with pytest.raises(CommandError, match="at least 2 cases"):
        divide(NAMES, 1, ("all",), 0)


def test_the_layout_keeps_files_and_separates_held_out_cases(msd_task, tmp_path):
    before = contents(msd_task)
    division = Division(training=("tiny_00", "tiny_04"), held_out=("tiny_02",))
    target = lay_out(read_msd_task(msd_task), division, tmp_path / "task")
    after = contents(target)
    del after["dataset.json"]
    assert after == {
        **{
            f"{kind}Tr/{case}.nii.gz": before[f"{kind}Tr/{case}.nii.gz"]
            for kind in ("images", "labels")
            for case in division.training
        },
        "imagesTs/tiny_02.nii.gz": before["imagesTr/tiny_02.nii.gz"],
        "labelsTs/tiny_02.nii.gz": before["labelsTr/tiny_02.nii.gz"],
    }
    assert contents(msd_task) == before


def test_the_layout_is_a_valid_task_with_the_chosen_cases(msd_task, tmp_path):
    division = Division(training=("tiny_00", "tiny_04"), held_out=("tiny_02",))
    task = read_msd_task(lay_out(read_msd_task(msd_task), division, tmp_path / "task"))
    assert task.cases == division.training
    assert task.description["numTraining"] == 2
    assert task.description["test"] == ["./imagesTs/tiny_02.nii.gz"]
    assert task.description["labels"] == {"0": "background", "1": "left", "2": "right"}


def test_copies_of_read_only_files_are_writable(msd_task, tmp_path):
    for path in msd_task.rglob("*.nii.gz"):
        path.chmod(0o444)
    target = lay_out(read_msd_task(msd_task), Division(("tiny_00",), ("tiny_02",)), tmp_path / "t")
    assert all(path.stat().st_mode & 0o200 for path in target.rglob("*.nii.gz"))
    assert not any(
        os.path.samefile(a, b)
        for a, b in zip(
            sorted(target.glob("imagesTr/*")), sorted(msd_task.glob("imagesTr/*")), strict=False
        )
    )
