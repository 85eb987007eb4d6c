from pathlib import Path

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.folders import Folders

FOLDERS = Folders(Path("/raw"), Path("/preprocessed"), Path("/results"))
MODEL = ("Dataset007_Seven", "Trainer", "nnUNetPlans", "3d_lowres")


def test_folders_are_those_that_the_variables_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("nnUNet_raw", "raw")
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    found = Folders.from_environment()
    assert found == Folders(*(tmp_path / name for name in ("raw", "preprocessed", "results")))


def test_all_variables_that_are_not_set_are_named(monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/raw")
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CommandError, match=r"^nnUNet_preprocessed and nnUNet_results not set"):
        Folders.from_environment()


def test_variables_name_the_folders():
    assert FOLDERS.variables == {
        "nnUNet_raw": "/raw",
        "nnUNet_preprocessed": "/preprocessed",
        "nnUNet_results": "/results",
    }


def test_paths_are_nnunets():
    assert FOLDERS.dataset_json("Dataset007_Seven") == Path(
        "/preprocessed/Dataset007_Seven/dataset.json"
    )
    assert FOLDERS.plans("Dataset007_Seven", "nnUNetPlans") == Path(
        "/preprocessed/Dataset007_Seven/nnUNetPlans.json"
    )
    assert FOLDERS.splits("Dataset007_Seven") == Path(
        "/preprocessed/Dataset007_Seven/splits_final.json"
    )
    model = Path("/results/Dataset007_Seven/Trainer__nnUNetPlans__3d_lowres")
    assert FOLDERS.model(*MODEL) == model
    assert FOLDERS.fold(*MODEL, "all") == model / "fold_all"
    assert FOLDERS.next_stage(*MODEL, "3d_cascade_fullres") == (
        model / "predicted_next_stage" / "3d_cascade_fullres"
    )
    assert FOLDERS.accumulated(*MODEL, ("0", "1")) == model / "crossval_results_folds_0_1"
