"""After an upgrade people are told what was written and how nnU-Net's commands use it."""

from pathlib import Path

import pytest
import torch
from plain_checkpoints import plain_checkpoint

from nnunet_attention.weights import UpgradedCheckpoint, UpgradedModelFolder
from nnunet_attention.weights import guided_upgrade as module
from nnunet_attention.weights.guided_upgrade import guided_upgrade

FINAL, BEST = "checkpoint_final.pth", "checkpoint_best.pth"


@pytest.fixture
def upgraded(monkeypatch):
    """Lets the upgrade of a folder have given these checkpoints, of folds by name."""
    monkeypatch.delenv("nnUNet_results", raising=False)

    def set_result(*checkpoints: tuple[str, str]) -> None:
        folds = {Path(f"fold_{fold}", name): fold for fold, name in checkpoints}
        differences = {path: 0.5 / (number + 1) for number, path in enumerate(folds)}
        plans = {"plans_name": "MyPlans", "dataset_name": "Dataset900_Minimal"}
        result = UpgradedModelFolder(plans, "2d", differences, folds)
        monkeypatch.setattr(module, "upgrade_model_folder", lambda *_, **__: result)

    return set_result


@pytest.mark.parametrize(
    ("checkpoints", "options"),
    [
        ([("0", FINAL), ("0", BEST), ("3", FINAL)], "-f 0 3"),
        ([("all", FINAL)], "-f all"),
        ([("0", BEST), ("1", BEST)], "-f 0 1 -chk checkpoint_best.pth"),
        # One unfinished fold is left out: a prediction reads one name.
        ([("0", FINAL), ("1", BEST)], "-f 0"),
    ],
)
def test_the_final_checkpoints_are_predicted_with_if_there_are(
    upgraded, checkpoints, options, tmp_path
):
    upgraded(*checkpoints)
    lines = guided_upgrade(tmp_path, tmp_path / "new")
    assert lines == [
        f"wrote {tmp_path / 'new'}",
        "largest difference in logits on random input: 0.5",
        "predict with it:\n  nnUNetv2_predict_from_modelfolder -i IMAGES -o SEGMENTATIONS "
        f"-m {tmp_path / 'new'} {options}",
    ]


@pytest.mark.parametrize("found", [True, False])
def test_in_the_results_folder_it_is_told_whether_it_is_found_by_name(
    upgraded, found, tmp_path, monkeypatch
):
    upgraded(("0", FINAL))
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    place = tmp_path / "Dataset900_Minimal" / "AttentionUNetTrainer__MyPlans__2d"
    last = guided_upgrade(tmp_path, place if found else tmp_path / "elsewhere")[-1]
    assert last == (
        "or by name:\n  nnUNetv2_predict -i IMAGES -o SEGMENTATIONS -d Dataset900_Minimal "
        "-p MyPlans -c 2d -tr AttentionUNetTrainer -f 0"
        if found
        else f"nnUNetv2_predict finds it only as {place}"
    )


@pytest.mark.parametrize("option", [True, False])
def test_of_a_checkpoint_the_training_that_starts_from_it_is_told(option, tmp_path, monkeypatch):
    asked = []

    def upgrade(source, target, gate_full_resolution):
        asked.append((source, target, gate_full_resolution))
        arguments = {"plans": {}, "configuration": "2d", "fold": 3, "dataset_json": {}}
        return UpgradedCheckpoint({"init_args": arguments}, 0.0)

    monkeypatch.setattr(module, "upgrade_checkpoint_file", upgrade)
    source, target = tmp_path / "plain.pth", tmp_path / "new start.pth"
    lines = guided_upgrade(source, target, gate_full_resolution=option)
    assert asked == [(source, target, option)]
    assert lines[2] == (
        "start a training from it:\n  nnUNetv2_train DATASET 2d 3 -p nnUNetPlans "
        f"-tr AttentionUNetTrainer -pretrained_weights '{target}'"
    )
    assert ["mirror" in line for line in lines] == [False] * len(lines)
    assert ['"gate_full_resolution": true' in line for line in lines[3:]] == [True] * option


def test_a_model_that_was_trained_without_mirroring_is_told(tmp_path, minimal_plans):
    checkpoint = plain_checkpoint(minimal_plans)
    checkpoint["inference_allowed_mirroring_axes"] = None
    torch.save(checkpoint, tmp_path / "plain.pth")
    (told,) = (
        line
        for line in guided_upgrade(tmp_path / "plain.pth", tmp_path / "new.pth")
        if "mirror" in line
    )
    assert "AttentionUNetTrainer mirrors images along all axes; the weights were trained" in told
    assert told.endswith("train with AttentionUNetFinetuneTrainer_noMirroring")
