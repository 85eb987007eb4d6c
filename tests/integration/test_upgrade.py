"""Stock training, upgrade and attention training on real hippocampi, through the real commands."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunet_commands import NnunetFolders, msd_subset, voxels
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from shared_data import HIPPOCAMPUS, needs

from nnunet_attention.cli import main
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import load_checkpoint

DATASET = "Dataset004_Hippocampus"
# nnU-Net's search for a trainer imports all of its own, and warnings of their dependencies.
pytestmark = [pytest.mark.slow, needs(HIPPOCAMPUS), pytest.mark.filterwarnings("ignore")]


class _Workplace(NnunetFolders):
    """nnU-Net's folders with five cases, and a stock model trained for two iterations."""

    def __init__(self, root: Path):
        super().__init__(root)
        task = msd_subset(HIPPOCAMPUS, root / "Task04_Hippocampus", cases=5)
        self.run("nnUNetv2_convert_MSD_dataset", "-i", task, "-np", 1)
        self.run("nnUNetv2_plan_and_preprocess", "-d", 4, "-c", "3d_fullres", "-np", 1, "-npfp", 1)
        self.test_images = root / "images"
        self.test_images.mkdir()
        for image in sorted((self.raw / DATASET / "imagesTr").iterdir())[:2]:
            shutil.copy(image, self.test_images)
        self.train("nnUNetTrainer_short")

    @property
    def plain(self) -> Path:
        return self.model_of("nnUNetTrainer_short")

    def model_of(self, trainer: str) -> Path:
        return self.results / DATASET / f"{trainer}__nnUNetPlans__3d_fullres"

    def train(self, trainer: str, *options: str | Path) -> None:
        self.run("nnUNetv2_train", 4, "3d_fullres", 0, "-tr", trainer, "-device", "cpu", *options)

    def predict_with(self, command: str, *options: str | Path) -> dict[str, np.ndarray]:
        """Segmentations, (z, y, x), by file name."""
        target = options[options.index("-o") + 1]
        self.run(
            *(command, "-i", self.test_images, "-f", 0, "-device", "cpu", "--disable_tta"),
            *options,
        )
        return read_segmentations(target)

    def predict_here(self, model: Path, target: Path) -> dict[str, np.ndarray]:
        """The same in this process, which saves the start of three."""
        predictor = nnUNetPredictor(
            device=torch.device("cpu"), use_mirroring=False, allow_tqdm=False
        )
        predictor.initialize_from_trained_model_folder(str(model), ("0",))
        target.mkdir()
        predictor.predict_from_files_sequential(str(self.test_images), str(target))
        return read_segmentations(target)


def read_segmentations(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: voxels(path) for path in sorted(folder.glob("*.nii.gz"))}


def assert_same_segmentations(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert len(wanted) == 2
    assert found.keys() == wanted.keys()
    for name, segmentation in wanted.items():
        # Else equality would say little.
        assert len(np.unique(segmentation)) > 1
        np.testing.assert_array_equal(found[name], segmentation)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> _Workplace:
    return _Workplace(tmp_path_factory.mktemp("upgrade"))


@pytest.fixture(scope="module")
def plain_segmentations(workplace) -> dict[str, np.ndarray]:
    return workplace.predict_here(workplace.plain, workplace.root / "plain")


@pytest.fixture(scope="module")
def upgrade():
    """Runs the command in this process and checks that it succeeds."""

    def run(source: Path, target: Path, *options: str) -> None:
        assert main(["upgrade", str(source), "-o", str(target), *options]) == 0

    return run


def test_an_upgraded_model_folder_predicts_the_same_segmentations(
    workplace, upgrade, plain_segmentations, tmp_path
):
    upgrade(workplace.plain, tmp_path / "upgraded")
    found = workplace.predict_with(
        "nnUNetv2_predict_from_modelfolder",
        *("-m", tmp_path / "upgraded", "-o", tmp_path / "segmentations", "-npp", "1", "-nps", "1"),
    )
    assert_same_segmentations(found, plain_segmentations)


def test_with_the_full_resolution_gated_too_the_segmentations_are_the_same(
    workplace, upgrade, plain_segmentations, tmp_path
):
    upgrade(workplace.plain, tmp_path / "upgraded", "--gate_full_resolution")
    found = workplace.predict_here(tmp_path / "upgraded", tmp_path / "segmentations")
    assert_same_segmentations(found, plain_segmentations)


def test_attention_training_starts_from_an_upgraded_checkpoint(workplace, upgrade, tmp_path):
    upgraded = tmp_path / "start.pth"
    upgrade(workplace.plain / "fold_0/checkpoint_final.pth", upgraded)

    workplace.train("AttentionUNetTrainer_short", "-pretrained_weights", upgraded)

    model = workplace.model_of("AttentionUNetTrainer_short")
    before = load_checkpoint(upgraded)["network_weights"]
    after = load_checkpoint(model / "fold_0/checkpoint_final.pth")["network_weights"]
    gates = [name for name in before if name.startswith("decoder.gates.")]
    assert gates
    assert before.keys() == after.keys()
    assert all(not before[name].equal(after[name]) for name in gates)
    found = workplace.predict_with(
        "nnUNetv2_predict",
        *("-d", "4", "-c", "3d_fullres", "-tr", "AttentionUNetTrainer_short"),
        *("-o", tmp_path / "segmentations", "-npp", "0", "-nps", "0"),
    )
    assert len(found) == 2


def test_the_trainer_resumes_from_an_upgraded_checkpoint(workplace, upgrade, tmp_path, monkeypatch):
    """What `--c` and `--val` do first, and a step of training."""
    environment = workplace.environment()
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_n_proc_DA"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    upgrade(workplace.plain / "fold_0/checkpoint_final.pth", tmp_path / "start.pth")
    checkpoint = load_checkpoint(tmp_path / "start.pth")
    arguments = {**checkpoint["init_args"], "device": torch.device("cpu")}
    arguments["plans"]["continue_training"] = True  # as nnUNetv2_train --c puts it there

    trainer = AttentionUNetTrainer(**arguments)
    trainer.load_checkpoint(str(tmp_path / "start.pth"))

    assert trainer.current_epoch == 1
    before = trainer.network.decoder.gates[0].psi.weight.detach().clone()
    image = torch.randn(1, 1, *trainer.configuration_manager.patch_size)
    trainer.lr_scheduler.step(trainer.current_epoch)
    trainer.network(image)[0].square().mean().backward()
    trainer.optimizer.step()
    assert not trainer.network.decoder.gates[0].psi.weight.equal(before)
