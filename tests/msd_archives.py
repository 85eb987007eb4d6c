"""Small task folders and archives as the Decathlon has them."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import SimpleITK

NAME = "Task04_Hippocampus"


def write_task(folder: Path, cases: int = 3, with_test_folder: bool = True) -> Path:
    """A task folder of small anisotropic images of two labels.

    Returns:
        folder / Task04_Hippocampus.
    """
    task = folder / NAME
    for name in ("imagesTr", "labelsTr", *(["imagesTs"] if with_test_folder else [])):
        (task / name).mkdir(parents=True)
    entries = []
    for number in range(cases):
        labels = np.zeros((3, 4, 5), np.uint8)
        labels[1, 1, 1 + number % 3] = 1
        labels[2, 2, 2] = 2
        for array, place in ((labels.astype(np.float32), "imagesTr"), (labels, "labelsTr")):
            image = SimpleITK.GetImageFromArray(array)
            image.SetSpacing((1.0, 2.0, 3.0))
            SimpleITK.WriteImage(image, str(task / place / f"case_{number}.nii.gz"))
        file = f"case_{number}.nii.gz"
        entries.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
    description = {
        "name": "Hippocampus",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "numTraining": cases,
        "numTest": 0,
        "training": entries,
        "test": [],
    }
    (task / "dataset.json").write_text(json.dumps(description))
    return task


def archive_of(task: Path, more: dict[str, bytes] | None = None) -> bytes:
    """A tar of a task folder, with other members by name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(task, arcname=task.name)
        for name, content in (more or {}).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def entries(folder: Path) -> list[str]:
    """What is in a folder, without what only keeps processes apart."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".guard"))
