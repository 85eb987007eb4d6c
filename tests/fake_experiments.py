"""The fake nnU-Net with images of its own, for experiments that measure them."""

import json
import sys
from pathlib import Path

import numpy as np
import SimpleITK
from fake_nnunet import NAMES, FakeNnunet

COMMAND = Path(__file__).parent / "fake_experiment_command.py"
_OWN = (
    "nnUNetv2_convert_MSD_dataset",
    "nnUNetv2_move_plans_between_datasets",
    "nnUNetv2_predict",
)
TARGET, SOURCE = "Dataset902_Target", "Dataset901_Tiny"


class FakeExperiments(FakeNnunet):
    """Two data sets whose labels are boxes, and predictions that miss some of their slices."""

    def __init__(self, root: Path, cases: int = 10):
        super().__init__(root, cases)
        for name in (*NAMES, *_OWN):
            script = self.bin / name
            script.write_text(
                f"#!/bin/sh\nexec '{sys.executable}' -S -E '{COMMAND}' {name} \"$@\"\n"
            )
            script.chmod(0o755)
        self.add_dataset(TARGET, cases)
        self.cases = [f"case_{number:02d}" for number in range(cases)]
        for dataset in (SOURCE, TARGET):
            for number, case in enumerate(self.cases):
                labels = self.folders.raw_dataset(dataset) / "labelsTr" / f"{case}.nii.gz"
                write_box(labels, self.height(number))

    @staticmethod
    def height(number: int) -> int:
        """Slices of a case's box."""
        return 4 + number % 3

    def lay_ready(self, model: str, missed: list[int]) -> None:
        """Predictions of a trainer, or TRAINER__PLANS, that miss so many slices of each case.

        With repeat_K/ before it those of a later repeat, which are else those of the first.
        """
        folder = self.root / "predictions" / model
        folder.mkdir(parents=True)
        counts = {}
        for number, (case, slices) in enumerate(zip(self.cases, missed, strict=True)):
            height = self.height(number)
            write_box(folder / f"{case}.nii.gz", height - slices)
            reference, prediction = (box(one) == 1 for one in (height, height - slices))
            counts[case] = {"1": overlap_metrics(reference, prediction)}
        (folder / "counts.json").write_text(json.dumps(counts))

    def dice(self, number: int, missed: int) -> float:
        """By hand: boxes of the same area differ in height alone."""
        height = self.height(number)
        return 2 * (height - missed) / (2 * height - missed)


def box(height: int) -> np.ndarray:
    """(z, y, x), 6 voxels in each of the slices from the first inner one on."""
    array = np.zeros((9, 4, 5), np.uint8)
    array[1 : 1 + height, 1:3, 1:4] = 1
    return array


def write_box(path: Path, height: int) -> None:
    image = SimpleITK.GetImageFromArray(box(height))
    image.SetSpacing((1.0, 2.0, 3.0))
    SimpleITK.WriteImage(image, str(path))


def overlap_metrics(reference: np.ndarray, prediction: np.ndarray) -> dict:
    """As nnU-Net has them."""
    both = int((reference & prediction).sum())
    n_ref, n_pred = int(reference.sum()), int(prediction.sum())
    return {
        "Dice": 2 * both / (n_ref + n_pred),
        "IoU": both / (n_ref + n_pred - both),
        "TP": both,
        "FP": n_pred - both,
        "FN": n_ref - both,
        "TN": reference.size - n_ref - n_pred + both,
        "n_ref": n_ref,
        "n_pred": n_pred,
    }
