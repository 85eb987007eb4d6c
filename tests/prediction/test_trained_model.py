"""A model's folder is loaded with the folds asked for, or one line says what is missing."""

import json
from pathlib import Path

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plain_checkpoints import DATASET_JSON, plain_checkpoint

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.trained_model import load_trained_model, trained_model_folder
from nnunet_attention.weights import save_checkpoint

# nnU-Net's search for a trainer imports all of its own, and warnings of their dependencies.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def folder(tmp_path, minimal_plans) -> Path:
    """Folds 0, 2 and all, whose first weight is 0, 2 and 9."""
    for fold, value in (("0", 0.0), ("2", 2.0), ("all", 9.0)):
        checkpoint = plain_checkpoint(minimal_plans, trainer=nnUNetTrainer)
        for weight in checkpoint["network_weights"].values():
            weight.fill_(value)
        (tmp_path / f"fold_{fold}").mkdir()
        save_checkpoint(checkpoint, tmp_path / f"fold_{fold}" / "checkpoint_final.pth")
    (tmp_path / "plans.json").write_text(json.dumps(minimal_plans))
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET_JSON))
    return tmp_path


@pytest.mark.parametrize(
    ("requested", "loaded"),
    [(None, ("0", "2")), (2, ("2",)), ("all", ("all",)), ([2, "0"], ("2", "0"))],
)
def test_the_network_has_the_first_folds_weights_and_all_are_at_hand(folder, requested, loaded):
    model = load_trained_model(folder, requested)
    values = {"0": 0.0, "2": 2.0, "all": 9.0}
    assert model.folds == loaded
    assert [float(next(iter(weights.values())).max()) for weights in model.weights] == [
        values[fold] for fold in loaded
    ]
    assert all(torch.all(one == values[loaded[0]]) for one in model.network.parameters())
    assert model.trainer_name == "nnUNetTrainer"
    assert model.configuration_name == "3d_fullres"
    assert model.network.decoder.deep_supervision is False


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ([0, 1, 3], r"no checkpoint_final.pth for fold 1 3; folds that have one: -f 0 2 all"),
        ([], "no checkpoint_final.pth for fold 0 to 4"),
    ],
)
def test_a_missing_fold_is_named_with_those_that_are_there(folder, requested, message):
    with pytest.raises(CommandError, match=message):
        load_trained_model(folder, requested)


def test_a_fold_named_twice_is_refused_as_it_would_count_twice(folder):
    with pytest.raises(CommandError, match="-f 2 0 2: fold 2 would count more than the others"):
        load_trained_model(folder, [2, "0", "2"])


@pytest.fixture
def with_axes(folder):
    """Changes the axes of mirroring of fold 0 and loads it."""

    def loaded(axes):
        path = folder / "fold_0" / "checkpoint_final.pth"
        checkpoint = torch.load(path, weights_only=False)
        save_checkpoint({**checkpoint, "inference_allowed_mirroring_axes": axes}, path)
        return load_trained_model(folder, 0).mirroring_axes

    return loaded


def test_no_axes_are_none_with_which_nnunet_can_do(with_axes):
    assert with_axes((0, 2)) == (0, 2)
    assert with_axes(()) is None
    assert with_axes(None) is None


@pytest.mark.parametrize("axes", [(3,), (0, -1), (1, 1), ("0",), 1, (True,), {"a": 1}])
def test_axes_that_a_patch_has_not_are_refused(axes, with_axes):
    with pytest.raises(CommandError, match="for inference_allowed_mirroring_axes; expected axes"):
        with_axes(axes)


def test_another_checkpoint_that_no_fold_has_is_named(folder):
    with pytest.raises(CommandError, match=r"no best.pth for fold 0 to 4; no fold has one"):
        load_trained_model(folder, None, "best.pth")


def test_weights_of_another_network_are_named_with_folder_and_fold(folder):
    path = folder / "fold_2" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["network_weights"].popitem()
    save_checkpoint(checkpoint, path)
    with pytest.raises(CommandError, match=rf"^{folder}: the weights do not fit .*\(fold 2\)"):
        load_trained_model(folder, None)


def test_the_folder_by_name_is_nnunets(monkeypatch):
    monkeypatch.setenv("nnUNet_results", "/results")
    assert trained_model_folder("Dataset900_Minimal", "2d", plans="P") == Path(
        "/results/Dataset900_Minimal/AttentionUNetTrainer__P__2d"
    )
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(CommandError, match="nnUNet_results is not set; set it, or use -m"):
        trained_model_folder("Dataset900_Minimal", "2d")
