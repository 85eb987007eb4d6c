"""Trained models of the smallest plans, with two channels, and images for them."""

import json
from pathlib import Path

import numpy as np
import SimpleITK
from plain_checkpoints import DATASET_JSON, plain_checkpoint
from pointwise_network import pointwise_plans

from nnunet_attention.weights import save_checkpoint


def tiny_plans(minimal_plans: dict) -> dict:
    """The minimal plans for two channels of grey values that stay as they are."""
    two_channels = {
        "normalization_schemes": ["NoNormalization"] * 2,
        "use_mask_for_norm": [False, False],
    }
    plans = pointwise_plans(minimal_plans)
    plans["configurations"]["3d_fullres"].update(two_channels)
    plans["foreground_intensity_properties_per_channel"] = {"0": {}, "1": {}}
    return plans


def write_model(folder: Path, plans: dict, trainer) -> None:
    """Folds 0 and 1, of other weights."""
    for fold in (0, 1):
        checkpoint = plain_checkpoint(plans, trainer=trainer)
        for values in checkpoint["network_weights"].values():
            values += 0.01 * fold
        (folder / f"fold_{fold}").mkdir(parents=True)
        save_checkpoint(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(DATASET_JSON))


def write_images(folder: Path) -> None:
    """The cases `one` and `two`."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("one_0000", "one_0001", "two_0000", "two_0001"):
        image = SimpleITK.GetImageFromArray(generator.normal(size=(5, 9, 18)).astype(np.float32))
        image.SetSpacing((1.0, 2.0, 3.0))
        SimpleITK.WriteImage(image, str(folder / f"{name}.nii.gz"))
