"""Runs nnU-Net's and our installed commands, as a user would, in folders of the test's own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK

from nnunet_attention.nnunet.schedules import SCHEDULE_VARIABLE

SCRIPTS = Path(sys.executable).parent


class NnunetFolders:
    """The three nnU-Net folders below one root, and the commands run in them."""

    def __init__(self, root: Path):
        self.root = root
        self.raw = root / "nnUNet_raw"
        self.preprocessed = root / "nnUNet_preprocessed"
        self.results = root / "nnUNet_results"
        for folder in (self.raw, self.preprocessed, self.results):
            folder.mkdir(parents=True, exist_ok=True)

    def environment(self, schedule: str = "1,2,1") -> dict[str, str]:
        """Nothing of ours but the length of the short trainers: discovery must do without."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("nnUNet_")}
        return {
            **inherited,
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            "nnUNet_n_proc_DA": "1",
            # Each process that exports takes longer to begin than all exports.
            "nnUNet_def_n_proc": "1",
            SCHEDULE_VARIABLE: schedule,
        }

    def run(
        self, command: str, *arguments, schedule: str = "1,2,1", variables: dict | None = None
    ) -> str:
        """Returns the command's output; fails with its end if it ends badly."""
        done = subprocess.run(
            [SCRIPTS / command, *map(str, arguments)],
            env={**self.environment(schedule), **(variables or {})},
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, f"{command} {arguments}\n{done.stdout[-4000:]}"
        return done.stdout

    def start_and_kill(self, command: str, *arguments, when, schedule: str) -> None:
        """Starts a command and kills it and its children as soon as `when()` holds."""
        process = subprocess.Popen(
            [SCRIPTS / command, *map(str, arguments)],
            env=self.environment(schedule),
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 300
        while not when():
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline, "it took too long"
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def edit_plans(self, dataset: str, configuration: str, **changes) -> None:
        """Makes patches small enough for a CPU."""
        path = self.preprocessed / dataset / "nnUNetPlans.json"
        plans = json.loads(path.read_text())
        plans["configurations"][configuration].update(changes)
        path.write_text(json.dumps(plans))


def msd_subset(source: Path, target: Path, cases: int) -> Path:
    """An MSD task folder of the first cases of another."""
    dataset = json.loads((source / "dataset.json").read_text())
    dataset["training"] = sorted(dataset["training"], key=lambda case: case["image"])[:cases]
    dataset.update(numTraining=cases, numTest=0, test=[])
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (target / folder).mkdir(parents=True)
    for case in dataset["training"]:
        for name in case.values():
            shutil.copy(source / name, target / name)
    (target / "dataset.json").write_text(json.dumps(dataset))
    return target


def raw_subset(source: Path, target: Path, cases: int) -> Path:
    """An nnU-Net raw data set of the first cases of another."""
    dataset = json.loads((source / "dataset.json").read_text())
    ending = dataset["file_ending"]
    labels = sorted((source / "labelsTr").glob(f"*{ending}"))[:cases]
    for folder in ("imagesTr", "labelsTr"):
        (target / folder).mkdir(parents=True)
    for label in labels:
        shutil.copy(label, target / "labelsTr")
        case = label.name.removesuffix(ending)
        for image in (source / "imagesTr").glob(f"{case}_[0-9][0-9][0-9][0-9]{ending}"):
            shutil.copy(image, target / "imagesTr")
    dataset["numTraining"] = len(labels)
    (target / "dataset.json").write_text(json.dumps(dataset))
    return target


def assert_engines_agree(first: Path, second: Path, ending: str = ".nii.gz") -> None:
    """At most one voxel in a thousand differs.

    Networks of a few steps give near ties, which nnU-Net's sums in 16 bits round either way; of one
    that is trained, no voxel of 52 cases did.
    """
    names = sorted(path.name for path in first.glob(f"*{ending}"))
    assert names
    assert names == sorted(path.name for path in second.glob(f"*{ending}"))
    for name in names:
        assert np.mean(voxels(first / name) != voxels(second / name)) <= 1e-3


def assert_same_geometry(image_path: Path, segmentation_path: Path) -> None:
    image, segmentation = map(SimpleITK.ReadImage, map(str, (image_path, segmentation_path)))
    assert segmentation.GetSize() == image.GetSize()
    np.testing.assert_allclose(segmentation.GetSpacing(), image.GetSpacing(), rtol=1e-5)
    np.testing.assert_allclose(segmentation.GetOrigin(), image.GetOrigin(), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(segmentation.GetDirection(), image.GetDirection(), atol=1e-5)


def voxels(path: Path) -> np.ndarray:
    """(z, y, x)"""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
