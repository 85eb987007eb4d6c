from pathlib import Path

import pytest

from nnunet_attention.nnunet.model_folders import (
    ModelName,
    fold_folder,
    fold_folders,
    model_name,
    model_title,
    split_title,
    validation_summaries,
)


def test_a_folders_name_is_read_as_it_was_put_together():
    name = ModelName("AttentionUNetTrainer_short", "nnUNetPlans", "3d_fullres")
    assert name.folder == "AttentionUNetTrainer_short__nnUNetPlans__3d_fullres"
    assert model_name(name.folder) == name


@pytest.mark.parametrize(
    "folder", ["", "crossval", "Trainer__Plans", "A__B__", "A__B__C__D", "__B__C"]
)
def test_another_folder_is_no_models(folder):
    assert model_name(folder) is None


def test_a_title_names_trainer_and_plans_or_a_trainer_alone():
    assert split_title(model_title("Trainer", "nnUNetPlans")) == ("Trainer", "nnUNetPlans")
    assert split_title("nnUNetTrainer_5epochs") == ("nnUNetTrainer_5epochs", None)


def test_folds_are_found_by_their_names(tmp_path):
    for name in ("fold_1", "fold_all", "fold_0", "other"):
        (tmp_path / name).mkdir()
    assert [name for name, _ in fold_folders(tmp_path)] == ["0", "1", "all"]
    assert all(path == fold_folder(tmp_path, name) for name, path in fold_folders(tmp_path))


def test_summaries_are_in_the_folders_of_the_validations():
    assert validation_summaries(Path("model"), [0, "all"]) == [
        Path("model/fold_0/validation/summary.json"),
        Path("model/fold_all/validation/summary.json"),
    ]
