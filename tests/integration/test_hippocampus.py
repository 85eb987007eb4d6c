"""The main job on real MSD data, by the real commands: train, stop, go on, predict, hand over."""

import json

import numpy as np
import pytest
import torch
from engine_packages import skip_without
from nnunet_commands import (
    NnunetFolders,
    assert_engines_agree,
    assert_same_geometry,
    msd_subset,
    voxels,
)
from shared_data import HIPPOCAMPUS, needs

pytestmark = [pytest.mark.slow, needs(HIPPOCAMPUS)]

DATASET = "Dataset004_Hippocampus"
TRAINER = "AttentionUNetTrainer_short"
MODEL = f"{TRAINER}__nnUNetPlans__3d_fullres"
ON_CPU = ("-device", "cpu")
# Of the processes that read and write, each takes longer to begin than two small images.
ONE_EACH = ("-npp", 1, "-nps", 1)
SELECT = ("-d", 4, "-c", "3d_fullres", "-tr", TRAINER)


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    root = tmp_path_factory.mktemp("hippocampus")
    folders = NnunetFolders(root)
    task = msd_subset(HIPPOCAMPUS, root / "Task04_Hippocampus", cases=6)
    folders.run("nnUNetv2_convert_MSD_dataset", "-i", task, "-np", 2)
    folders.run("nnUNetv2_plan_and_preprocess", "-d", 4, "-c", "3d_fullres", "-np", 1, "-npfp", 1)
    return folders


@pytest.fixture(scope="module")
def model(nnunet):
    return nnunet.results / DATASET / MODEL


def checkpoint(path):
    return torch.load(path, map_location="cpu", weights_only=False)


@pytest.fixture(scope="module")
def interrupted_and_continued(nnunet, model):
    train = ("nnUNetv2_train", 4, "3d_fullres", 0, "-tr", TRAINER, *ON_CPU)
    fold = model / "fold_0"

    def second_epoch_has_begun():
        return any("Epoch 1" in log.read_text() for log in fold.glob("training_log_*.txt"))

    nnunet.start_and_kill(*train, when=second_epoch_has_begun, schedule="2,2,1")
    epochs_before = checkpoint(fold / "checkpoint_latest.pth")["current_epoch"]
    assert not (fold / "checkpoint_final.pth").exists()
    recorded = {"nnUNet_attention_epochs": "1,2"}
    nnunet.run(*train, "--c", "--npz", schedule="2,2,1", variables=recorded)
    return epochs_before


@pytest.fixture(scope="module")
def trained(nnunet, model, interrupted_and_continued):
    """Fold 0, stopped and continued, and fold 1, which starts from fold 0's weights."""
    weights = model / "fold_0" / "checkpoint_final.pth"
    output = nnunet.run(
        *("nnUNetv2_train", 4, "3d_fullres", 1, "-tr", TRAINER, *ON_CPU),
        *("-pretrained_weights", weights, "--npz"),
    )
    assert "decoder.gates.0.theta.weight" in output
    return model


@pytest.mark.main
def test_training_goes_on_where_it_was_killed(interrupted_and_continued, model):
    assert interrupted_and_continued == 1
    final = checkpoint(model / "fold_0" / "checkpoint_final.pth")
    assert final["current_epoch"] == 2
    assert final["trainer_name"] == TRAINER
    assert len(final["logging"]["train_losses"]) == 2
    assert np.isfinite(final["logging"]["train_losses"]).all()
    assert any("decoder.gates" in key for key in final["network_weights"])


@pytest.mark.main
def test_validation_writes_nnunets_summary_and_probabilities(trained):
    for fold in (0, 1):
        validation = trained / f"fold_{fold}" / "validation"
        summary = json.loads((validation / "summary.json").read_text())
        segmentations = sorted(validation.glob("*.nii.gz"))
        assert len(summary["metric_per_case"]) == len(segmentations) >= 1
        assert len(list(validation.glob("*.npz"))) == len(segmentations)


@pytest.mark.parametrize("flags", [("--val",), ("--val", "--val_best")])
def test_validation_alone(flags, nnunet, trained):
    summary = trained / "fold_0" / "validation" / "summary.json"
    summary.unlink()
    nnunet.run("nnUNetv2_train", 4, "3d_fullres", 0, "-tr", TRAINER, *ON_CPU, *flags)
    assert "mean" in json.loads(summary.read_text())


@pytest.fixture(scope="module")
def images(nnunet):
    """Two of the data set's images; a network of a few steps segments them badly, but it does."""
    folder = nnunet.root / "images"
    folder.mkdir()
    for path in sorted((nnunet.raw / DATASET / "imagesTr").glob("*.nii.gz"))[:2]:
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module")
def predicted(nnunet, trained, images):
    """One folder of segmentations and probabilities for each fold."""
    folders = []
    for fold in (0, 1):
        folders.append(nnunet.root / f"predicted_{fold}")
        nnunet.run(
            *("nnUNetv2_predict", "-i", images, "-o", folders[-1], *SELECT, "-f", fold, *ON_CPU),
            *ONE_EACH,
            "--save_probabilities",
        )
    return folders


@pytest.mark.main
def test_predictions_have_the_geometry_of_their_images(predicted, images):
    paths = sorted(images.glob("*.nii.gz"))
    assert len(paths) == 2
    for path in paths:
        for folder in predicted:
            segmentation = folder / path.name.replace("_0000", "")
            assert_same_geometry(path, segmentation)
            assert set(np.unique(voxels(segmentation))) <= {0, 1, 2}


@pytest.mark.main
def test_model_folder_predicts_the_same(predicted, nnunet, trained, images):
    output = nnunet.root / "predicted_from_folder"
    nnunet.run(
        "nnUNetv2_predict_from_modelfolder",
        *("-i", images, "-o", output, "-m", trained, "-f", 0, *ON_CPU, *ONE_EACH),
    )
    assert_same_segmentations(predicted[0], output)


@pytest.mark.main
def test_maps_come_with_the_same_segmentations(predicted, nnunet, trained, images, tmp_path):
    nnunet.run(
        "nnunet-attention",
        *("maps", "-i", images, "-o", tmp_path, *SELECT, "-f", 0, *ON_CPU, "--html"),
        *("-gt", nnunet.raw / DATASET / "labelsTr", *ONE_EACH),
    )
    assert_same_segmentations(predicted[0], tmp_path)
    weights = checkpoint(trained / "fold_0" / "checkpoint_final.pth")["network_weights"]
    number_of_gates = sum("gates" in name and name.endswith("psi.weight") for name in weights)
    assert number_of_gates >= 2
    for path in sorted(images.glob("*.nii.gz")):
        case = path.name.removesuffix("_0000.nii.gz")
        folder = tmp_path / "maps" / case
        gates = sorted(folder.glob("gate_*.nii.gz"))
        assert len(gates) == number_of_gates
        for one_map in (*gates, folder / "mean.nii.gz"):
            assert_same_geometry(path, one_map)
            assert 0 < voxels(one_map).min() < voxels(one_map).max() < 1
        assert (folder / f"{case}.png").stat().st_size > 10_000
        assert (folder / f"{case}.html").stat().st_size > 10_000


@pytest.mark.main
def test_an_engine_predicts_the_same(predicted, nnunet, images, tmp_path):
    skip_without("openvino")
    output = nnunet.run(
        "nnunet-attention",
        *("predict", "-i", images, "-o", tmp_path, *SELECT, "-f", 0, *ON_CPU, *ONE_EACH),
    )
    assert "run by openvino, in 32 bits" in output
    assert_engines_agree(predicted[0], tmp_path)


@pytest.mark.main
def test_attention_is_recorded_while_learning_and_drawn(nnunet, trained, tmp_path):
    output = nnunet.run("nnunet-attention", "evolution", trained / "fold_0", "-o", tmp_path)
    drawn = sorted(tmp_path.glob("evolution_*.png"))
    assert len(drawn) >= 1
    assert str(drawn[0]) in output


def assert_same_segmentations(first, second):
    names = sorted(path.name for path in first.glob("*.nii.gz"))
    assert names
    assert names == sorted(path.name for path in second.glob("*.nii.gz"))
    for name in names:
        np.testing.assert_array_equal(voxels(first / name), voxels(second / name))


@pytest.mark.main
def test_ensemble_averages_the_folds(predicted, nnunet, images):
    output = nnunet.root / "ensemble"
    nnunet.run("nnUNetv2_ensemble", "-i", *predicted, "-o", output, "-np", 1)
    for path in images.glob("*.nii.gz"):
        name = path.name.replace("_0000", "")
        probabilities = [
            np.load(folder / name.replace(".nii.gz", ".npz"))["probabilities"]
            for folder in predicted
        ]
        expected = np.mean(probabilities, axis=0, dtype=np.float64).argmax(0)
        assert (voxels(output / name) == expected).mean() > 0.999


@pytest.mark.main
def test_crossvalidation_is_accumulated_and_the_best_configuration_found(trained, nnunet):
    nnunet.run(
        "nnUNetv2_accumulate_crossval_results",
        *(4, "-c", "3d_fullres", "-tr", TRAINER, "-f", 0, 1),
    )
    accumulated = trained / "crossval_results_folds_0_1" / "summary.json"
    cases = json.loads(accumulated.read_text())["metric_per_case"]
    assert len(cases) == sum(
        len(list((trained / f"fold_{fold}" / "validation").glob("*.nii.gz"))) for fold in (0, 1)
    )
    output = nnunet.run(
        "nnUNetv2_find_best_configuration",
        *(4, "-c", "3d_fullres", "-tr", TRAINER, "-f", 0, 1, "-np", 1, "--disable_ensembling"),
    )
    assert f"-tr {TRAINER}" in output


def test_zip_installs_elsewhere_and_predicts_the_same(predicted, nnunet, trained, images, tmp_path):
    archive = tmp_path / "model.zip"
    nnunet.run(
        "nnUNetv2_export_model_to_zip",
        *(*SELECT, "-f", 0, 1, "-o", archive, "-chk", "checkpoint_final.pth"),
    )
    elsewhere = NnunetFolders(tmp_path / "elsewhere")
    elsewhere.run("nnUNetv2_install_pretrained_model_from_zip", archive)
    assert (elsewhere.results / DATASET / MODEL / "fold_1" / "checkpoint_final.pth").is_file()
    output = tmp_path / "predicted"
    elsewhere.run(
        *("nnUNetv2_predict", "-i", images, "-o", output, *SELECT, "-f", 0, *ON_CPU, *ONE_EACH)
    )
    assert_same_segmentations(predicted[0], output)
