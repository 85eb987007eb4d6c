import json
import os
import shutil

import pytest
from fake_nnunet import DATASET, FakeNnunet, plan

from nnunet_attention.crossval import FoldRun
from nnunet_attention.crossval.dataset import Dataset, cases_with_data, training_cases
from nnunet_attention.errors import CommandError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")

CASES = tuple(f"case_{number:02d}" for number in range(10))


@pytest.fixture
def nnunet(tmp_path):
    fake = FakeNnunet(tmp_path)
    fake.prepare()
    return fake


def dataset(nnunet, **changes) -> Dataset:
    return Dataset(plan(**changes), nnunet.folders, DATASET)


def test_cases_are_those_of_the_raw_data_and_without_them_of_the_preprocessed(nnunet):
    (nnunet.folders.data(DATASET, "nnUNetPlans_3d_fullres") / "case_09.pkl").unlink()
    assert dataset(nnunet).cases == CASES
    assert training_cases(nnunet.folders.raw_dataset(DATASET)) == CASES
    shutil.rmtree(nnunet.folders.raw)
    assert dataset(nnunet).cases == CASES[:9]
    shutil.rmtree(nnunet.folders.data(DATASET, "nnUNetPlans_3d_fullres"))
    assert dataset(nnunet).cases is None


@pytest.mark.parametrize("how", ["folder", "half", "all"])
def test_images_may_be_moved_away_after_preprocessing(nnunet, how):
    nnunet.move_images_away(how)
    assert dataset(nnunet).cases == CASES
    dataset(nnunet).check()
    assert dataset(nnunet).validated("all") == CASES


def test_cases_that_were_added_to_the_raw_data_count(nnunet):
    raw = nnunet.folders.raw_dataset(DATASET)
    (raw / "imagesTr" / "case_10_0000.nii.gz").write_bytes(b"image")
    assert dataset(nnunet).cases == (*CASES, "case_10")


def test_images_that_cannot_be_read_are_named_where_nothing_is_preprocessed(nnunet):
    shutil.rmtree(nnunet.folders.data(DATASET, "nnUNetPlans_3d_fullres"))
    nnunet.move_images_away("folder")
    images = nnunet.folders.raw_dataset(DATASET) / "imagesTr"
    with pytest.raises(CommandError) as refusal:
        _ = dataset(nnunet).cases
    assert str(refusal.value).startswith(
        f"{images}, the folder of the training images, cannot be read: No such file"
    )


def test_cases_that_a_description_lists_need_no_look_at_the_images(nnunet):
    path = nnunet.folders.raw_dataset(DATASET) / "dataset.json"
    content = json.loads(path.read_text())
    content["dataset"] = {"b": {}, "a": {}}
    path.write_text(json.dumps(content))
    assert training_cases(path.parent) == ("a", "b")


def test_the_preprocessed_datas_description_counts(nnunet):
    path = nnunet.folders.dataset_json(DATASET)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "file_ending": ".nrrd"}))
    assert dataset(nnunet).file_ending == ".nrrd"


def test_a_data_set_in_neither_folder_is_named(nnunet):
    with pytest.raises(CommandError, match=r"-d Dataset999_None: found neither "):
        _ = Dataset(plan(), nnunet.folders, "Dataset999_None").description


def test_a_name_that_is_none_of_nnunets_is_refused(nnunet):
    with pytest.raises(CommandError, match="give DatasetXXX_Name or its number"):
        Dataset(plan(), nnunet.folders, "Dataset9_Short")


def test_folds_carry_the_options_of_the_plan(nnunet, tmp_path):
    weights = tmp_path / "weights.pth"
    runs = dataset(
        nnunet, device="cuda", num_gpus=2, npz=True, pretrained_weights=weights, folds=("1",)
    ).runs
    assert [run.trainer for run in runs] == ["TrainerA", "TrainerB"]
    assert runs[0] == FoldRun(
        DATASET,
        "3d_fullres",
        "TrainerA",
        "nnUNetPlans",
        "1",
        ("-device", "cuda", "-num_gpus", "2"),
        ("-pretrained_weights", str(weights)),
        True,
    )


def test_plans_that_a_kill_has_left_are_none(nnunet):
    path = nnunet.folders.plans(DATASET, "nnUNetPlans")
    assert dataset(nnunet).whole_plans("nnUNetPlans") == json.loads(path.read_text())
    for content in ("{", "{}", '{"configurations": 1}'):
        path.write_text(content)
        assert dataset(nnunet).whole_plans("nnUNetPlans") is None


@pytest.mark.parametrize("part", ["data", "mark", "references"])
def test_data_are_prepared_only_if_all_of_it_is_there(nnunet, part, monkeypatch):
    for name, value in nnunet.environment().items():
        monkeypatch.setenv(name, value)
    identifier = "nnUNetPlans_3d_fullres"
    assert not dataset(nnunet).is_unprepared(identifier)
    if part == "data":
        (nnunet.folders.data(DATASET, identifier) / "case_03.pkl").unlink()
    elif part == "mark":
        nnunet.folders.unfinished_data(DATASET, identifier).touch()
    else:
        (nnunet.folders.references(DATASET) / "case_03.nii.gz").unlink()
    assert dataset(nnunet).is_unprepared(identifier)


def test_models_depend_on_their_plans_and_on_the_splits(nnunet):
    splits = json.loads(nnunet.folders.splits(DATASET).read_text())
    depends_on = dataset(nnunet).depends_on()
    assert sorted(depends_on) == ["nnUNetPlans 3d_fullres", "splits"]
    assert depends_on["nnUNetPlans 3d_fullres"]["patch_size"] == [4, 8, 16]
    assert depends_on["splits"] == {"folds": splits}


def test_the_cases_to_split_are_those_of_data_that_are_finished(nnunet):
    assert tuple(cases_with_data(nnunet.folders, DATASET)) == CASES
    nnunet.folders.unfinished_data(DATASET, "nnUNetPlans_3d_fullres").touch()
    with pytest.raises(CommandError, match=r"has no preprocessed cases in .*; preprocess it again"):
        cases_with_data(nnunet.folders, DATASET)
