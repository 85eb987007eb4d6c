"""An exported model segments real images where there is neither torch nor nnU-Net."""

import re
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK
from nnunet_commands import NnunetFolders, assert_same_geometry, voxels
from portable_models import dataset_with, model_of, plans_with, write_model
from shared_data import HIPPOCAMPUS, NUCLEI, needs

from nnunet_attention.trainers import AttentionUNetTrainer

pytestmark = pytest.mark.slow

# Runs a program in which nothing but these and Python's own can be imported.
_ALONE = """
import runpy, sys
class Refusal:
    def find_spec(self, name, path=None, target=None):
        first = name.partition(".")[0]
        if first in {"torch", "nnunetv2", "nnunet_attention", "scipy", "skimage", "onnx"}:
            raise ModuleNotFoundError(f"{name} is not there", name=name)
sys.meta_path.insert(0, Refusal())
program = sys.argv.pop(1)
sys.argv[0] = program
runpy.run_path(program, run_name="__main__")
"""


def run_alone(program, *arguments) -> None:
    command = [sys.executable, "-c", _ALONE, str(program), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr


def program_of(readme) -> str:
    (program,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return program


def dice(first: np.ndarray, second: np.ndarray, label: int) -> float:
    one, other = first == label, second == label
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def segmented_twice(nnunet, model_folder, images, ending) -> list:
    """Each case by nnU-Net's command, and by the program that stands in the README."""
    nnunet.run(
        *("nnUNetv2_predict_from_modelfolder", "-i", images, "-o", nnunet.root / "theirs"),
        *("-m", model_folder, "-f", 0, 1, "-device", "cpu", "-npp", 1, "-nps", 1),
    )
    exported = nnunet.root / "exported"
    nnunet.run("nnunet-attention", "export", model_folder, "-o", exported)
    program = exported / "from_readme.py"
    program.write_text(program_of((exported / "README.md").read_text()))
    pairs = []
    for image in sorted(images.iterdir()):
        name = image.name.replace("_0000", "")
        run_alone(program, nnunet.root / name, image)
        pairs.append((nnunet.root / "theirs" / name, nnunet.root / name))
    return pairs


@needs(HIPPOCAMPUS)
def test_hippocampi_are_segmented_as_by_nnunet(tmp_path):
    nnunet = NnunetFolders(tmp_path)
    # Of another spacing than the images, so that both ways are resampled.
    plans = plans_with(
        schemes=("ZScoreNormalization",),
        masks=(False,),
        spacing=(1.3, 0.9, 1.1),
        patch=(20, 36, 28),
    )
    model = model_of(plans, dataset_with(("MRI",)), 2, AttentionUNetTrainer)
    folder = write_model(tmp_path / "AttentionUNetTrainer__nnUNetPlans__3d_fullres", model)
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((HIPPOCAMPUS / "imagesTr").glob("hippocampus_*.nii.gz"))[:1]:
        case = path.name.partition(".")[0]
        (images / f"{case}_0000.nii.gz").write_bytes(path.read_bytes())
    for theirs, ours in segmented_twice(nnunet, folder, images, ".nii.gz"):
        assert_same_geometry(theirs, ours)
        for label in (1, 2):
            assert dice(voxels(theirs), voxels(ours), label) >= 0.99


@needs(NUCLEI)
def test_pictures_are_segmented_as_by_nnunet(tmp_path):
    nnunet = NnunetFolders(tmp_path)
    plans = plans_with(
        "plain 2d",
        schemes=("RGBTo01Normalization",) * 3,
        masks=(False,) * 3,
        spacing=(999, 1, 1),
        reader="NaturalImage2DIO",
        patch=(32, 48),
    )
    dataset = dataset_with(("red", "green", "blue"), ending=".png")
    folder = write_model(tmp_path / "nnUNetTrainer__nnUNetPlans__2d", model_of(plans, dataset, 2))
    images = tmp_path / "images"
    images.mkdir()
    source = sorted((NUCLEI / "imagesTr").glob("*.png"))[0]
    # A part is enough.
    part = SimpleITK.ReadImage(str(source))[:70, :50]
    SimpleITK.WriteImage(part, str(images / "nuclei_0000.png"))
    for theirs, ours in segmented_twice(nnunet, folder, images, ".png"):
        theirs, ours = (
            SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) for path in (theirs, ours)
        )
        assert theirs.shape == ours.shape == (50, 70)
        for label in (1, 2):
            assert dice(theirs, ours, label) >= 0.99
