"""A whole model folder is upgraded, or nothing is written."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from plain_checkpoints import DATASET_JSON, plain_checkpoint, random_image

from nnunet_attention.errors import CommandError
from nnunet_attention.networks import AttentionUNet
from nnunet_attention.weights import load_checkpoint, upgrade_model_folder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def model(tmp_path, minimal_plans) -> Path:
    """Two trained folds and one that only began, with what else nnU-Net leaves there."""
    folder = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    folder.mkdir()
    for name, content in (
        ("plans.json", minimal_plans),
        ("dataset.json", DATASET_JSON),
        ("dataset_fingerprint.json", {"spacings": [[3, 2, 1]]}),
    ):
        (folder / name).write_text(json.dumps(content))
    checkpoint = plain_checkpoint(minimal_plans)
    for fold, names in (("0", ("final", "best", "latest")), ("1", ("final",)), ("2", ("latest",))):
        (folder / f"fold_{fold}" / "validation").mkdir(parents=True)
        (folder / f"fold_{fold}" / "validation" / "summary.json").write_text("{}")
        (folder / f"fold_{fold}" / "training_log_1.txt").write_text("epoch 0")
        for name in names:
            checkpoint["network_weights"]["decoder.seg_layers.1.bias"] += 1
            torch.save(checkpoint, folder / f"fold_{fold}" / f"checkpoint_{name}.pth")
    (folder / "crossval_results_folds_0_1").mkdir()
    (folder / "crossval_results_folds_0_1" / "postprocessing.pkl").write_bytes(b"")
    return folder


def predictor_of(folder: Path, folds: tuple[int, ...]) -> nnUNetPredictor:
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, use_mirroring=False)
    predictor.initialize_from_trained_model_folder(str(folder), folds)
    return predictor


def test_plans_dataset_and_trained_folds_are_written_and_nothing_else(model, tmp_path):
    target = tmp_path / "upgraded"
    upgrade_model_folder(model, target)
    assert {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()} == {
        "dataset.json",
        "dataset_fingerprint.json",
        "plans.json",
        "fold_0/checkpoint_best.pth",
        "fold_0/checkpoint_final.pth",
        "fold_1/checkpoint_final.pth",
    }
    assert {path.name for path in tmp_path.iterdir()} == {model.name, "upgraded"}
    for name in ("dataset.json", "dataset_fingerprint.json", "plans.json"):
        assert (target / name).read_bytes() == (model / name).read_bytes()


def test_the_result_tells_the_difference_of_every_checkpoint(model, tmp_path, minimal_plans):
    seen = []
    upgraded = upgrade_model_folder(model, tmp_path / "upgraded", on_checkpoint=seen.append)
    assert seen == list(upgraded.checkpoints)
    assert [str(path) for path in seen] == [
        "fold_0/checkpoint_final.pth",
        "fold_0/checkpoint_best.pth",
        "fold_1/checkpoint_final.pth",
    ]
    assert max(upgraded.checkpoints.values()) <= 1e-4
    assert upgraded.configuration_name == "3d_fullres"
    assert upgraded.plans == minimal_plans


@pytest.mark.filterwarnings("ignore")  # nnU-Net's search for the trainer imports all of its own
@pytest.mark.parametrize("option", [False, True])
def test_nnunets_predictor_gives_the_same_logits_with_all_folds(
    model, tmp_path, minimal_plans, option
):
    upgrade_model_folder(model, tmp_path / "upgraded", gate_full_resolution=option)
    image = random_image(minimal_plans)[0]
    plain, attention = (predictor_of(folder, (0, 1)) for folder in (model, tmp_path / "upgraded"))
    assert isinstance(attention.network, AttentionUNet)
    assert len(attention.network.decoder.gates) == (2 if option else 1)
    wanted = plain.predict_logits_from_preprocessed_data(image)
    found = attention.predict_logits_from_preprocessed_data(image)
    assert wanted.std() > 0.01
    assert (found - wanted).abs().max() <= 1e-4


def test_the_option_is_recorded_in_the_folders_plans_and_the_checkpoints(model, tmp_path):
    upgrade_model_folder(model, tmp_path / "upgraded", gate_full_resolution=True)
    text = (tmp_path / "upgraded" / "plans.json").read_text()
    assert text.endswith("}\n")
    checkpoint = load_checkpoint(tmp_path / "upgraded" / "fold_1" / "checkpoint_final.pth")
    assert json.loads(text) == checkpoint["init_args"]["plans"]
    architecture = json.loads(text)["configurations"]["3d_fullres"]["architecture"]
    assert architecture["network_class_name"] == "nnunet_attention.networks.AttentionUNet"
    assert architecture["arch_kwargs"]["gate_full_resolution"] is True


def test_the_fold_of_all_cases_is_upgraded(model, tmp_path):
    for number in (1, 2):
        shutil.rmtree(model / f"fold_{number}")
    (model / "fold_0").rename(model / "fold_all")
    upgraded = upgrade_model_folder(model, tmp_path / "upgraded")
    assert {path.parent.name for path in upgraded.checkpoints} == {"fold_all"}


def test_an_empty_folder_may_be_the_target(model, tmp_path):
    (tmp_path / "upgraded").mkdir()
    upgrade_model_folder(model, tmp_path / "upgraded")
    assert (tmp_path / "upgraded" / "fold_1" / "checkpoint_final.pth").is_file()


def test_a_target_in_use_is_left_alone(model, tmp_path):
    (tmp_path / "upgraded").mkdir()
    (tmp_path / "upgraded" / "mine.txt").write_text("mine")
    with pytest.raises(CommandError, match="exists already and is not an empty folder"):
        upgrade_model_folder(model, tmp_path / "upgraded")
    with pytest.raises(CommandError, match="exists already"):
        upgrade_model_folder(model, tmp_path / "upgraded" / "mine.txt")
    assert [path.name for path in (tmp_path / "upgraded").iterdir()] == ["mine.txt"]


def test_a_target_in_a_missing_folder_is_refused(model, tmp_path):
    with pytest.raises(CommandError, match=r"create the folder .*absent first"):
        upgrade_model_folder(model, tmp_path / "absent" / "upgraded")


def test_one_bad_checkpoint_is_named_and_leaves_nothing_behind(model, tmp_path):
    path = model / "fold_1" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        CommandError, match=r"fold_1/checkpoint_final.pth is not an nnU-Net checkpoint"
    ):
        upgrade_model_folder(model, tmp_path / "upgraded")
    checkpoint = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    del checkpoint["network_weights"]["decoder.seg_layers.0.bias"]
    torch.save(checkpoint, path)
    with pytest.raises(
        CommandError, match=r"cannot upgrade .*fold_1/checkpoint_final.pth: .*seg_l"
    ):
        upgrade_model_folder(model, tmp_path / "upgraded")
    assert list(tmp_path.iterdir()) == [model]


def test_checkpoints_of_several_configurations_are_refused(model, tmp_path, minimal_plans):
    minimal_plans["configurations"]["3d_lowres"] = {"inherits_from": "3d_fullres"}
    (model / "plans.json").write_text(json.dumps(minimal_plans))
    path = model / "fold_1" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["init_args"]["configuration"] = "3d_lowres"
    torch.save(checkpoint, path)
    with pytest.raises(CommandError, match=r"several configurations \(3d_fullres, 3d_lowres\)"):
        upgrade_model_folder(model, tmp_path / "upgraded")
    assert list(tmp_path.iterdir()) == [model]


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_a_folder_that_is_no_model_is_refused(model, tmp_path, name):
    content = (model / name).read_text()
    for text, message in (
        (None, f"is not an nnU-Net model folder: {name} is missing"),
        (content[:-5], f"cannot read .*{name}"),
        ("[]", f"{name} holds a list"),
    ):
        (model / name).unlink()
        if text is not None:
            (model / name).write_text(text)
        with pytest.raises(CommandError, match=message):
            upgrade_model_folder(model, tmp_path / "upgraded")
        (model / name).write_text(content)
    assert list(tmp_path.iterdir()) == [model]


def test_a_folder_without_a_finished_fold_is_refused(model, tmp_path):
    for fold in (0, 1):
        shutil.rmtree(model / f"fold_{fold}")
    with pytest.raises(CommandError, match=r"no trained fold: .*checkpoint_best\.pth"):
        upgrade_model_folder(model, tmp_path / "upgraded")
