"""A small MSD task folder."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK


def write_nifti(path: Path, array: np.ndarray, spacing_mm=(3.0, 2.0, 1.0)) -> None:
    """Writes an array (z, y, x) with its spacing (z, y, x)."""
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture
def msd_task(tmp_path) -> Path:
    """Ten cases of shape (3, 4, 5), spacing (3, 2, 1), with labels 1 left and 2 right."""
    folder = tmp_path / "source" / "Task07_Tiny"
    names = [f"tiny_{number:02d}.nii.gz" for number in range(10)]
    for number, name in enumerate(names):
        image = np.arange(60, dtype=np.float32).reshape(3, 4, 5) + number
        labels = np.zeros((3, 4, 5), dtype=np.uint8)
        labels[1, 1:3, 0:2] = 1
        labels[1, 1:3, 3:5] = 2
        write_nifti(folder / "imagesTr" / name, image)
        write_nifti(folder / "labelsTr" / name, labels)
    (folder / "dataset.json").write_text(
        json.dumps(
            {
                "name": "Tiny",
                "modality": {"0": "MRI"},
                "labels": {"0": "background", "1": "left", "2": "right"},
                "numTraining": 10,
                "numTest": 0,
                "training": [
                    {"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names
                ],
                "test": [],
            }
        )
    )
    return folder
