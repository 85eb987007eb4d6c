"""The recipes of docs/pretrained.md run, on small models in place of the large ones."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from fingerprinted_dataset import NAME, write_fingerprinted_dataset
from nnssl_checkpoints import plans_like_source, save_nnssl
from nnunetv2.run import run_training as nnunet
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plain_checkpoints import DATASET_JSON, plain_checkpoint, plans_of
from repository import REPOSITORY
from tiny_preprocessed import write_preprocessed
from tiny_trainers import DATASET_JSON as ONE_CHANNEL
from tiny_trainers import build_trainer

from nnunet_attention.cli import main
from nnunet_attention.cli.main import build_parser
from nnunet_attention.nnunet.plans import read_plans
from nnunet_attention.nnunet.schedules import SCHEDULE_VARIABLE

PAGE = (REPOSITORY / "docs" / "pretrained.md").read_text(encoding="utf-8")
RECIPES = {
    title.strip(): body
    for title, body in re.findall(
        r"^## ((?:From|The simplest)[^\n]*)\n(.*?)(?=^## )", PAGE, re.M | re.S
    )
}


@pytest.fixture
def folder(tmp_path, monkeypatch, one_thread):
    """A data set of which nnU-Net knows the fingerprint; trainings are two steps."""
    folder = write_fingerprinted_dataset(tmp_path, monkeypatch, (40, 64, 80), (3, 2, 1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(SCHEDULE_VARIABLE, "1,2,1")
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("NNUNET_ATTENTION_KEEP_MEMORY", "0")
    # Pictures and the sliding window take longer than the training.
    monkeypatch.setattr(nnUNetTrainer, "plot_network_architecture", lambda _: None)
    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", lambda *_: None)
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda *_: None)
    return folder


def run(recipe: str, folder, places: dict[str, str]) -> list:
    """Runs a recipe's commands in this process, and returns the trainers."""
    (code,) = re.findall(r"```bash\n(.*?)```", RECIPES[recipe], re.S)
    trainers = []
    for line in code.splitlines():
        words = [places.get(word, word) for word in shlex.split(line)]
        if words[0] == "nnunet-attention":
            assert main(words[1:]) == 0
        elif words[0] == "nnUNetv2_preprocess":
            plans = read_plans(folder / f"{words[words.index('-plans_name') + 1]}.json")
            (configuration,) = plans["configurations"].values()
            write_preprocessed(folder, configuration["data_identifier"])
        elif words[0] != "nnUNetv2_predict_from_modelfolder":
            assert words[:4] == ["nnUNetv2_train", "901", "3d_fullres", "0"]
            options = dict(zip(words[4::2], words[5::2], strict=True))
            trainers.append(trained(options))
    return trainers


def trained(options: dict[str, str]):
    """Trains as nnUNetv2_train does, for two steps."""
    seen = []
    make = nnunet.get_trainer_from_args

    def remembered(*arguments, **named):
        seen.append(make(*arguments, **named))
        return seen[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nnunet, "get_trainer_from_args", remembered)
        nnunet.run_training(
            NAME, "3d_fullres", 0, f"{options['-tr']}_short", options["-p"],
            options.get("-pretrained_weights"), device=torch.device("cpu"),
        )  # fmt: skip
    return seen[0]


def log_of(trainer) -> str:
    with open(trainer.log_file, encoding="utf-8") as file:
        return file.read()


def test_there_are_four_recipes():
    assert len(RECIPES) == 4


def test_all_commands_of_the_page_take_the_arguments_shown():
    lines = re.findall(r"^nnunet-attention .*$", PAGE, re.M)
    assert len(lines) == 5
    for line in lines:
        words = shlex.split(line.replace("DATASET_ID", "4"))[1:]
        assert build_parser().parse_args(words).command == words[0]


def test_gates_for_a_trained_model(folder, tmp_path, minimal_plans):
    (recipe,) = (title for title in RECIPES if "simplest" in title)
    plans = plans_of(minimal_plans, "plain 3d anisotropic")
    plans["dataset_name"] = NAME
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(patch_size=[8, 16, 16], use_mask_for_norm=[False])
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(ONE_CHANNEL))
    write_preprocessed(folder, configuration["data_identifier"])
    stock = build_trainer(nnUNetTrainer, plans)
    stock.initialize()
    model = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    (model / "fold_0").mkdir(parents=True)
    (model / "plans.json").write_text(json.dumps(plans))
    (model / "dataset.json").write_text(json.dumps(ONE_CHANNEL))
    stock.save_checkpoint(str(model / "fold_0" / "checkpoint_final.pth"))
    (model / "fold_0" / "checkpoint_latest.pth").touch()
    (trainer,) = run(recipe, folder, {"DATASET_ID": "901", "MODEL_FOLDER": str(model)})
    new = [path.relative_to("NEW_FOLDER") for path in Path("NEW_FOLDER").rglob("*.*")]
    assert sorted(map(str, new)) == ["dataset.json", "fold_0/checkpoint_final.pth", "plans.json"]
    assert trainer.current_epoch == 1
    assert hasattr(trainer.network.decoder, "gates")


def test_from_openmind(folder, tmp_path):
    (recipe,) = (title for title in RECIPES if "OpenMind" in title)
    source = save_nnssl(tmp_path / "checkpoint_final.pth")
    (trainer,) = run(recipe, folder, {"DATASET_ID": "901"})
    log = log_of(trainer)
    assert f"The network starts from {source}: 100.0% of the encoder's weights" in log
    assert "Please cite the sources of the pretrained weights" in log
    assert trainer.current_epoch == 1


def test_from_totalsegmentator(folder, tmp_path, minimal_plans):
    (recipe,) = (title for title in RECIPES if "TotalSegmentator" in title)
    plans = plans_of(minimal_plans, "plain 3d anisotropic")
    plans["configurations"]["3d_fullres"].update(
        normalization_schemes=["CTNormalization"], use_mask_for_norm=[False], patch_size=[8, 16, 16]
    )
    plans["foreground_intensity_properties_per_channel"] = {"0": {"mean": 7.0, "std": 2.0}}
    model = tmp_path / "nnUNetTrainerNoMirroring__nnUNetPlans__3d_fullres"
    (model / "fold_0").mkdir(parents=True)
    torch.save(plain_checkpoint(plans), model / "fold_0" / "checkpoint_final.pth")
    (trainer,) = run(recipe, folder, {"DATASET_ID": "901", "MODEL_FOLDER": str(model)})
    plans = trainer.plans_manager.plans
    assert plans["foreground_intensity_properties_per_channel"] == {"0": {"mean": 7.0, "std": 2.0}}
    log = log_of(trainer)
    assert "100.0% of the encoder's weights come from there" in log
    assert "adapted: encoder.stages.0.0.convs.0.conv.weight, 2 image channels summed to 1" in log


def test_from_ones_own_model(folder, tmp_path, minimal_plans):
    (recipe,) = (title for title in RECIPES if "of your own" in title)
    save_nnssl(tmp_path / "mae.pth")
    torch.save(
        plain_checkpoint(plans_like_source(minimal_plans)), tmp_path / "checkpoint_final.pth"
    )
    plans = plans_like_source(minimal_plans, strides=[[1, 1, 1], [1, 2, 2], [2, 2, 2]])
    plans["dataset_name"] = NAME
    plans["configurations"]["3d_fullres"].update(patch_size=[8, 16, 16], use_mask_for_norm=[False])
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    described = {**DATASET_JSON, "channel_names": {"0": "MRI"}}
    (folder / "dataset.json").write_text(json.dumps(described))
    write_preprocessed(folder, plans["configurations"]["3d_fullres"]["data_identifier"])
    (trainer,) = run(recipe, folder, {"DATASET_ID": "901"})
    assert (tmp_path / "start.pth").is_file()
    assert trainer.current_epoch == 1
    assert trainer.initial_lr == 1e-3
