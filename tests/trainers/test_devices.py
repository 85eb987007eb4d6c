"""Short real trainings on a GPU by nnU-Net's and our commands, as a user starts them."""

import json
import math
import re

import pytest
from devices import marked, needs_gpu, needs_two_gpus
from nnunet_commands import NnunetFolders

from nnunet_attention.demo.phantom import write_phantom_task
from nnunet_attention.evaluation.leaderboard.costs import epoch_seconds

DEVICE = "cuda"
DATASET = "Dataset090_AbdomenPhantom"
TRAINERS = ("nnUNetTrainer_short", "AttentionUNetTrainer_short", "WideUNetTrainer_short")
ON_DEVICE = ("-device", DEVICE)

pytestmark = [pytest.mark.slow, *needs_gpu]


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom")
    folders = NnunetFolders(root)
    task = write_phantom_task(root, 6, seed=0)
    (task / "imagesTs").mkdir()
    folders.run("nnUNetv2_convert_MSD_dataset", "-i", task, "-np", 2)
    folders.run(
        *("nnUNetv2_plan_and_preprocess", "-d", 90, "-c", "3d_fullres", "-np", 1, "-npfp", 1),
        *("-gpu_memory_target", 0.05),
    )
    return folders


def fold_folder(nnunet, trainer, fold=0):
    return nnunet.results / DATASET / f"{trainer}__nnUNetPlans__3d_fullres" / f"fold_{fold}"


def summary(fold) -> dict:
    return json.loads((fold / "validation" / "summary.json").read_text())


def logged(fold) -> str:
    return "".join(path.read_text() for path in sorted(fold.glob("training_log_*.txt")))


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_training_goes_to_its_end_goes_on_and_validates_again(nnunet, trainer):
    train = ("nnUNetv2_train", 90, "3d_fullres", 0, "-tr", trainer, *ON_DEVICE)
    # As if it were killed: its end is that of a longer one that got so far.
    nnunet.run(*train, schedule="2,4,1")
    fold = fold_folder(nnunet, trainer)
    losses = re.findall(r"train_loss (\S+)", logged(fold))
    assert len(losses) == 2
    assert all(math.isfinite(float(one)) for one in losses)
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    (fold / "validation" / "summary.json").unlink()
    nnunet.run(*train, "--c", schedule="3,4,1")
    assert set(epoch_seconds(fold)) == {0, 1, 2}
    dice = summary(fold)["foreground_mean"]["Dice"]
    (fold / "validation" / "summary.json").unlink()
    nnunet.run(*train, "--val", schedule="3,4,1")
    again = summary(fold)["foreground_mean"]["Dice"]
    # Sums on a GPU differ in the last bits from run to run.
    assert math.isclose(again, dice, abs_tol=0.01) or math.isnan(again) == math.isnan(dice)


def test_fine_tuning_starts_goes_on_and_validates(nnunet, tmp_path):
    model = nnunet.results / DATASET / "nnUNetTrainer_short__nnUNetPlans__3d_fullres"
    source = model / "fold_3" / "checkpoint_final.pth"
    if not source.is_file():
        nnunet.run("nnUNetv2_train", 90, "3d_fullres", 3, "-tr", "nnUNetTrainer_short", *ON_DEVICE)
    start = tmp_path / "start.pth"
    nnunet.run("nnunet-attention", "upgrade", source, "-o", start, "-d", 90)
    trainer = "AttentionUNetFinetuneTrainer_decoderFirst_short"
    train = ("nnUNetv2_train", 90, "3d_fullres", 3, "-tr", trainer, *ON_DEVICE)
    nnunet.run(*train, "-pretrained_weights", start, schedule="3,4,1")
    fold = fold_folder(nnunet, trainer, 3)
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    nnunet.run(*train, "--c", schedule="5,4,1")
    assert set(epoch_seconds(fold)) == {0, 1, 2, 3, 4}
    assert summary(fold)["metric_per_case"]


def test_what_the_gates_learn_is_recorded_and_drawn(nnunet, tmp_path):
    trainer = "AttentionUNetTrainer_short"
    nnunet.run(
        *("nnUNetv2_train", 90, "3d_fullres", 1, "-tr", trainer, *ON_DEVICE),
        variables={"nnUNet_attention_epochs": "1"},
    )
    fold = fold_folder(nnunet, trainer, 1)
    nnunet.run("nnunet-attention", "evolution", fold, "-o", tmp_path)
    assert list(tmp_path.glob("evolution_*.png"))


def test_maps_are_made_by_the_command(nnunet, tmp_path):
    trainer = "AttentionUNetTrainer_short"
    if not (fold_folder(nnunet, trainer, 2) / "checkpoint_final.pth").is_file():
        nnunet.run("nnUNetv2_train", 90, "3d_fullres", 2, "-tr", trainer, *ON_DEVICE)
    images = tmp_path / "images"
    images.mkdir()
    path = next((nnunet.raw / DATASET / "imagesTr").glob("*.nii.gz"))
    (images / path.name).symlink_to(path)
    nnunet.run(
        *("nnunet-attention", "maps", "-i", images, "-o", tmp_path / "maps", "-d", 90),
        *("-c", "3d_fullres", "-tr", trainer, "-f", 2, *ON_DEVICE, "-npp", 1, "-nps", 1),
    )
    assert list((tmp_path / "maps").rglob("gate_*.nii.gz"))


def cross_validate(nnunet, output, gpus: int) -> None:
    nnunet.run(
        *("nnunet-attention", "crossval", "-d", 90, "-c", "3d_fullres", "-f", 3, 4, "-np", 2),
        *("-tr", "AttentionUNetTrainer_short", *ON_DEVICE, "-o", output, "--no-leaderboard"),
        variables={"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus)))},
    )
    for fold in (3, 4):
        assert summary(fold_folder(nnunet, "AttentionUNetTrainer_short", fold))["metric_per_case"]


def test_folds_are_trained_one_after_the_other_on_one_gpu(nnunet, tmp_path):
    cross_validate(nnunet, tmp_path, 1)


@marked(needs_two_gpus)
def test_folds_are_trained_side_by_side_on_two_gpus(nnunet, tmp_path):
    elsewhere = NnunetFolders(tmp_path)
    elsewhere.raw, elsewhere.preprocessed = nnunet.raw, nnunet.preprocessed
    cross_validate(elsewhere, tmp_path / "out", 2)


@marked(needs_two_gpus)
def test_one_training_on_two_gpus(nnunet, tmp_path):
    elsewhere = NnunetFolders(tmp_path)
    elsewhere.raw, elsewhere.preprocessed = nnunet.raw, nnunet.preprocessed
    trainer = "AttentionUNetTrainer_short"
    elsewhere.run(
        *("nnUNetv2_train", 90, "3d_fullres", 0, "-tr", trainer, *ON_DEVICE, "-num_gpus", 2)
    )
    assert summary(fold_folder(elsewhere, trainer))["metric_per_case"]
