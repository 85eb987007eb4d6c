from dataclasses import replace

import pytest
from experiments_folders import CASES, CONFIGURATION, SOURCE, TARGET, write

from nnunet_attention.errors import CommandError
from nnunet_attention.experiments.predicting import (
    Prediction,
    images_of,
    is_predicted,
    validation_cases_of,
)


@pytest.fixture
def prediction(folders, tmp_path) -> Prediction:
    return Prediction(
        folders,
        SOURCE,
        TARGET,
        ("AttentionUNetTrainer", "nnUNetPlans"),
        "Attention U-Net",
        CONFIGURATION,
        ("0", "2"),
        tmp_path / "before",
        "cpu",
        8,
    )


def write_summary(folder, *cases: str) -> None:
    files = [str(folder / f"{case}.nii.gz") for case in cases]
    metrics = {"1": {"Dice": 1.0}}
    entries = [
        {"prediction_file": file, "reference_file": file, "metrics": metrics} for file in files
    ]
    write(folder / "summary.json", {"metric_per_case": entries})


def test_predictions_lie_where_named_results_are_read(prediction, tmp_path):
    model = tmp_path / "before" / "AttentionUNetTrainer__nnUNetPlans"
    assert prediction.named_results == model
    assert prediction.folder == model / TARGET / CONFIGURATION / "fold_0" / "validation"


def test_the_sources_network_predicts_with_few_workers(prediction, tmp_path):
    command = " ".join(prediction.command(tmp_path / "i", tmp_path / "o"))
    assert command == (
        f"nnUNetv2_predict -i {tmp_path}/i -o {tmp_path}/o -d Dataset901_Tiny "
        "-tr AttentionUNetTrainer -p nnUNetPlansFor902 -c 3d_fullres -f all -npp 3 -nps 3 "
        "-device cpu --disable_progress_bar"
    )
    alone = replace(prediction, processes=1)
    assert "-npp 1 -nps 1" in " ".join(alone.command(tmp_path / "i", tmp_path / "o"))


def test_it_is_done_when_just_the_validated_cases_are_summarised(prediction):
    assert not prediction.is_done()
    write_summary(prediction.folder, CASES[0])
    assert not prediction.is_done()
    write_summary(prediction.folder, CASES[0], CASES[2], CASES[3])
    assert not prediction.is_done()
    write_summary(prediction.folder, CASES[0], CASES[2])
    assert prediction.is_done()


def test_no_summary_is_no_prediction(tmp_path):
    assert not is_predicted(tmp_path, CASES, ".nii.gz")


def test_all_folds_validate_all_cases(folders):
    assert validation_cases_of(folders, TARGET, None) == CASES
    assert validation_cases_of(folders, TARGET, ("3", "1")) == [CASES[1], CASES[3]]
    with pytest.raises(CommandError, match=r"-f 0 5: .* has 5 folds"):
        validation_cases_of(folders, TARGET, ("0", "5"))


def test_images_are_found_by_case_and_channel(folders):
    raw = folders.raw_dataset(TARGET)
    write(raw / "imagesTr" / "case_1_0001.nii.gz", "second channel")
    write(raw / "imagesTr" / "case_10_0000.nii.gz", "another case")
    found = images_of(raw, ["case_0", "case_1"])
    assert [path.name for path in found["case_0"]] == ["case_0_0000.nii.gz"]
    assert [path.name for path in found["case_1"]] == ["case_1_0000.nii.gz", "case_1_0001.nii.gz"]


def test_a_case_without_images_is_named(folders):
    with pytest.raises(CommandError, match="lacks 1 of the validation cases, such as gone"):
        images_of(folders.raw_dataset(TARGET), ["case_0", "gone"])
