"""Writes a task folder as the Medical Segmentation Decathlon distributes them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_attention.files import write_json
from nnunet_attention.nnunet.dataset_json import DATASET_JSON


@dataclass(frozen=True)
class TaskCase:
    """One image with its labels.

    Attributes:
        name: of the files, without ending.
        image: shape (z, y, x).
        labels: numbers, of the same shape.
        origin_mm: of the first voxel, x, y, z.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray
    origin_mm: Sequence[float] = (0.0, 0.0, 0.0)


def write_task_folder(
    folder: Path,
    *,
    description: str,
    modality: str,
    labels: Mapping[str, str],
    spacing_mm: Sequence[float],
    training: Iterable[TaskCase],
    test: Iterable[TaskCase] = (),
) -> None:
    """Write images, labels and, last, dataset.json of made-up cases.

    Args:
        folder: the task folder, such as Task90_AbdomenPhantom; made if it is not there.
        description: for dataset.json.
        modality: of the one channel, such as CT.
        labels: the names of the numbers, "0" for background among them.
        spacing_mm: z, y, x.
        training: cases for imagesTr and labelsTr.
        test: cases for imagesTs, with labels in labelsTs, which the Decathlon keeps to itself.
    """
    entries = [_write_case(folder, "Tr", case, spacing_mm) for case in training]
    # Even if it stays empty: nnU-Net converts no task without it.
    (folder / "imagesTs").mkdir(parents=True, exist_ok=True)
    test_entries = [_write_case(folder, "Ts", case, spacing_mm)["image"] for case in test]
    write_json(
        folder / DATASET_JSON,
        {
            "name": folder.name.partition("_")[2],
            "description": description,
            "licence": "Apache-2.0",
            "tensorImageSize": "3D",
            "modality": {"0": modality},
            "labels": dict(labels),
            "numTraining": len(entries),
            "numTest": len(test_entries),
            "training": entries,
            "test": test_entries,
        },
    )


def _write_case(
    folder: Path, part: str, case: TaskCase, spacing_mm: Sequence[float]
) -> dict[str, str]:
    import SimpleITK

    file_name = f"{case.name}.nii.gz"
    for array, kind in ((case.image, "images"), (case.labels, "labels")):
        (folder / f"{kind}{part}").mkdir(parents=True, exist_ok=True)
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing([float(step) for step in spacing_mm[::-1]])
        image.SetOrigin([float(place) for place in case.origin_mm])
        SimpleITK.WriteImage(image, str(folder / f"{kind}{part}" / file_name))
    return {"image": f"./images{part}/{file_name}", "label": f"./labels{part}/{file_name}"}
