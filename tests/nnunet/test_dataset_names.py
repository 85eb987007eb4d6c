"""Numbers of data sets have three digits or more, in every place that reads them."""

import json

import pytest

from nnunet_attention.crossval import CrossvalPlan, missing_steps
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation import find_dataset
from nnunet_attention.experiments.derived import choose_derived
from nnunet_attention.experiments.target_plans import moved_name, tuned_name
from nnunet_attention.nnunet.dataset_names import (
    dataset_in_words,
    folders_of_datasets,
    full_dataset_name,
    is_dataset_name,
    names_with_number,
    number_of_dataset,
    short_dataset_name,
)
from nnunet_attention.nnunet.datasets import dataset_name
from nnunet_attention.nnunet.folders import Folders


@pytest.mark.parametrize(
    ("name", "number"),
    [("Dataset004_Liver", "004"), ("Dataset1234_Liver", "1234"), ("Dataset12345_A_B", "12345")],
)
def test_the_number_is_all_the_digits(name, number):
    assert is_dataset_name(name)
    assert number_of_dataset(name) == number
    assert full_dataset_name(int(number), name.partition("_")[2]) == name


@pytest.mark.parametrize("name", ["Dataset12_A", "Dataset123", "Dataset123_", "Data123_A", "901"])
def test_what_is_no_name_is_refused_with_what_is_one(name):
    assert not is_dataset_name(name)
    with pytest.raises(CommandError, match=r"give DatasetXXX_Name.*as in Dataset025_Liver"):
        number_of_dataset(name)


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Folders:
    made = Folders(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
    for name in ("Dataset100_Short", "Dataset1000_Long"):
        folder = made.raw_dataset(name)
        (folder / "imagesTr").mkdir(parents=True)
        description = {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "organ": 1},
            "numTraining": 0,
            "file_ending": ".nii.gz",
        }
        (folder / "dataset.json").write_text(json.dumps(description))
    return made


def test_a_number_is_that_of_one_data_set_only(folders):
    assert dataset_name("100") == "Dataset100_Short"
    assert dataset_name("1000") == "Dataset1000_Long"
    folders.raw_dataset("Dataset100_Short").rename(folders.raw / "Dataset099_Short")
    with pytest.raises(CommandError, match="-d 100: no data set has this number"):
        dataset_name("100")


def test_results_are_found_by_the_whole_number(folders):
    assert find_dataset(folders.raw, "1000") == "Dataset1000_Long"
    assert find_dataset(folders.raw, "100") == "Dataset100_Short"


def test_nnunets_commands_get_the_whole_number(folders):
    (folders.raw_dataset("Dataset1000_Long") / "imagesTr" / "case_0000.nii.gz").touch()
    plan = CrossvalPlan(
        ("Dataset1000_Long",), ("3d_fullres",), (("nnUNetTrainer", "nnUNetPlans"),), ("0",)
    )
    commands = [step.command for step in missing_steps(plan, folders)]
    assert commands[0][:3] == ("nnUNetv2_extract_fingerprint", "-d", "1000")


def test_plans_are_named_after_the_whole_number():
    assert moved_name("nnUNetPlans", "Dataset1000_Long") == "nnUNetPlansFor1000"
    assert tuned_name("nnUNetPlans", "Dataset025_Short") == "nnUNetPlansFrom025"


def test_a_derived_data_set_with_four_digits_is_found_again(folders):
    chosen = choose_derived(folders, "Dataset100_Short", "0", number=1234)
    assert chosen.name == "Dataset1234_ShortTrainingSize0"
    with pytest.raises(CommandError, match="--derived-id 1000: taken by"):
        choose_derived(folders, "Dataset100_Short", "0", number=1000)
    folder = folders.dataset(chosen.name)
    folder.mkdir()
    note = {
        "made_by": "nnunet-attention experiment training-size",
        "original": "Dataset100_Short",
        "fold": "0",
    }
    (folder / "derived.json").write_text(json.dumps(note))
    assert choose_derived(folders, "Dataset100_Short", "0") == chosen


def test_a_number_finds_all_data_sets_that_have_it_whatever_its_zeros():
    names = ["Dataset004_A", "Dataset0004_B", "Dataset1004_C", "crossval"]
    assert names_with_number(names, "4") == names_with_number(names, "004") == names[:2]
    assert names_with_number(names, "A") == names_with_number(names, "\N{SUPERSCRIPT TWO}") == []


def test_only_folders_named_as_data_sets_are_listed(tmp_path):
    for name in ("Dataset010_B", "Dataset002_A", "crossval"):
        (tmp_path / name).mkdir()
    (tmp_path / "Dataset001_file").touch()
    found = [path.name for path in folders_of_datasets(tmp_path)]
    assert found == ["Dataset002_A", "Dataset010_B"]
    assert folders_of_datasets(tmp_path / "absent") == []


def test_a_name_is_shortened_and_taken_apart():
    assert short_dataset_name("Dataset003_Liver_Tumour") == "Liver_Tumour"
    assert short_dataset_name("liver") == "liver"
    assert dataset_in_words("Dataset003_Liver_Tumour") == "003 Liver_Tumour"
