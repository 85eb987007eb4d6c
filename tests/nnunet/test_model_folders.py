"""Names of what a training leaves."""

from pathlib import Path

from nnunet_attention.nnunet.model_folders import (
    ModelName,
    fold_folder,
    fold_folders,
    model_name,
    short_title,
    validation_summary,
)


def test_a_models_folder_names_trainer_plans_and_configuration():
    name = ModelName("nnUNetTrainer", "nnUNetPlans", "3d_fullres")
    assert name.folder == "nnUNetTrainer__nnUNetPlans__3d_fullres"
    assert model_name(name.folder) == name
    assert model_name("crossval_results") is None


def test_folds_are_found_by_name(tmp_path):
    for fold in (1, "all", 0):
        fold_folder(tmp_path, fold).mkdir()
    assert [name for name, _ in fold_folders(tmp_path)] == ["0", "1", "all"]
    assert validation_summary(fold_folder(Path("m"), 3)) == Path(
        "m", "fold_3", "validation", "summary.json"
    )


def test_only_plans_of_ones_own_are_in_a_short_title():
    assert short_title("nnUNetTrainer", "nnUNetPlans") == "nnUNetTrainer"
    assert short_title("nnUNetTrainer", "MyPlans") == "nnUNetTrainer MyPlans"
