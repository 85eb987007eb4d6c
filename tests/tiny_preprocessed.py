"""A preprocessed data set of a few small images, as nnU-Net's trainers read it."""

import json
from pathlib import Path

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

SHAPE = (6, 12, 20)


def write_preprocessed(folder: Path, identifier: str, cases: int = 4) -> None:
    """Write images with a bright organ in noise, splits of two folds and an empty fingerprint."""
    generator = np.random.default_rng(5)
    data = folder / identifier
    data.mkdir(parents=True)
    names = [f"case_{number}" for number in range(cases)]
    for number, name in enumerate(names):
        labels = np.zeros((1, *SHAPE), dtype=np.int8)
        labels[:, 2:4, 3:8, 4 + number : 12 + number] = 1
        image = (generator.normal(size=labels.shape) + 2 * labels).astype(np.float32)
        locations = np.argwhere(labels == 1)
        properties = {"class_locations": {1: locations}, "spacing": [3.0, 2.0, 1.0]}
        whole = (1, *SHAPE)
        nnUNetDatasetBlosc2.save_case(
            image, labels, properties, str(data / name), chunks=whole, blocks=whole
        )
    splits = [
        {"train": names[cases // 2 :], "val": names[: cases // 2]},
        {"train": names[: cases // 2], "val": names[cases // 2 :]},
    ]
    (folder / "splits_final.json").write_text(json.dumps(splits))
    (folder / "dataset_fingerprint.json").write_text("{}")
