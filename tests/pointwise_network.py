"""A gated network whose coefficients are a known function of each voxel."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import SimpleITK
import torch
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_attention.gates import AttentionGate

DATASET_JSON = {
    "channel_names": {"0": "noNorm"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 1,
    "file_ending": ".nii.gz",
}
_PREPROCESSING = {
    "normalization_schemes": ["NoNormalization"],
    "use_mask_for_norm": [False],
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_seg": "resample_data_or_seg_to_shape",
    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": {"is_seg": False, "order": 1, "force_separate_z": None},
    "resampling_fn_seg_kwargs": {"is_seg": True, "order": 0, "force_separate_z": None},
    "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "force_separate_z": None},
}


class PointwiseNetwork(nn.Module):
    """Two gates of stride 1 on the first channel; see `expected` for what they give.

    The organ is where the image is above 2.
    """

    def __init__(self, dimensions: int = 3):
        super().__init__()
        conv_op = nn.Conv3d if dimensions == 3 else nn.Conv2d
        self.gates = nn.ModuleList(AttentionGate(conv_op, 1, 1, 1) for _ in range(2))
        for gate, (slope, bias) in zip(self.gates, GATES, strict=True):
            nn.init.constant_(gate.theta.weight, 1.0)
            nn.init.zeros_(gate.phi.weight)
            nn.init.zeros_(gate.phi.bias)
            nn.init.constant_(gate.psi.weight, slope)
            nn.init.constant_(gate.psi.bias, bias)

    def forward(self, x):
        x = x[:, :1]
        for gate in self.gates:
            gate(x, x)
        return torch.cat((torch.zeros_like(x), x - 2), 1)


# psi's weight and bias of each gate.
GATES = ((1.5, -2.0), (-0.75, 1.0))


def expected(image: np.ndarray) -> dict[str, np.ndarray]:
    """sigmoid(w * relu(x) + b) of each voxel, by the names of the maps, in 64 bits."""
    positive = np.maximum(image.astype(np.float64), 0)
    maps = {
        f"gate_{number}": 1 / (1 + np.exp(-(slope * positive + bias)))
        for number, (slope, bias) in enumerate(GATES)
    }
    return {**maps, "mean": (maps["gate_0"] + maps["gate_1"]) / 2}


def pointwise_plans(minimal_plans: dict, **changes) -> dict:
    """The minimal plans with preprocessing that leaves grey values alone, and with changes.

    Those of the configuration go into it, others into the plans themselves.
    """
    plans = deepcopy(minimal_plans)
    configuration = plans["configurations"]["3d_fullres"]
    plans["foreground_intensity_properties_per_channel"] = {"0": {}}
    configuration.update(deepcopy(_PREPROCESSING))
    for name, value in changes.items():
        (configuration if name in configuration else plans)[name] = value
    return plans


def initialize(predictor, plans: dict, network=None, mirroring=(0, 1, 2), parameters=None, **json):
    """Hands a network over to a predictor as nnU-Net's trainer does."""
    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    network = network or PointwiseNetwork(len(configuration.patch_size))
    predictor.manual_initialization(
        network,
        manager,
        configuration,
        parameters or [network.state_dict()],
        {**DATASET_JSON, **json},
        "AttentionUNetTrainer",
        mirroring and mirroring[: len(configuration.patch_size)],
    )
    return predictor


def random_image(shape, border: int = 0, seed: int = 0) -> np.ndarray:
    """float32, (Z, Y, X), of values around 1.5, with a border of zeros that nnU-Net crops away."""
    image = np.random.default_rng(seed).normal(1.5, 1.0, shape).astype(np.float32)
    # An exact zero inside could be taken for border.
    image[image == 0] = 1
    if border:
        inside = np.zeros(shape, dtype=bool)
        inside[tuple(slice(border, -border) for _ in shape)] = True
        image[~inside] = 0
    return image


def write_oblique(image: np.ndarray, path: Path, spacing_mm) -> None:
    """Writes a NIfTI turned by 20 degrees about z, with the y axis turned over.

    Args:
        image: (Z, Y, X)
        path: of the file.
        spacing_mm: of z, y, x.
    """
    cosine, sine = np.cos(np.radians(20)), np.sin(np.radians(20))
    itk_image = SimpleITK.GetImageFromArray(image)
    itk_image.SetSpacing(tuple(spacing_mm)[::-1])
    itk_image.SetOrigin((-11.0, 7.0, 3.5))
    itk_image.SetDirection((cosine, sine, 0, sine, -cosine, 0, 0, 0, 1))
    SimpleITK.WriteImage(itk_image, str(path))
