"""A network whose skip carries a distractor that its gate removes, and its images and labels."""

from pathlib import Path

import numpy as np
import SimpleITK
import torch
from torch import nn

from nnunet_attention.gates import AttentionGate

# Grey values of the first channel: 1 in the organ, 1 in the distractor, 0.1 elsewhere. The second
# channel is 1 in the distractor, and tells the gate to shut it.


class DistractorNetwork(nn.Module):
    """The organ is where the gated first channel is above 0.5.

    alpha = sigmoid(20 - 40 c), with c the second channel: 1 in 32 bits but for 2e-9 where c is 1.
    """

    def __init__(self, dimensions: int = 3, bias: float = 20.0, slope: float = -40.0):
        super().__init__()
        conv_op = nn.Conv3d if dimensions == 3 else nn.Conv2d
        self.gates = nn.ModuleList([AttentionGate(conv_op, 1, 1, 1)])
        (gate,) = self.gates
        nn.init.zeros_(gate.theta.weight)
        nn.init.ones_(gate.phi.weight)
        nn.init.zeros_(gate.phi.bias)
        nn.init.constant_(gate.psi.weight, slope)
        nn.init.constant_(gate.psi.bias, bias)

    def forward(self, x):
        gated, _ = self.gates[0](x[:, :1], x[:, 1:])
        return torch.cat((torch.full_like(gated, 0.5), gated), 1)


def distractor_image(organ: np.ndarray, distractor: np.ndarray) -> np.ndarray:
    """(2, Z, Y, X) of masks that do not overlap; nowhere 0, so that nnU-Net crops nothing away."""
    first = np.where(organ | distractor, 1.0, 0.1)
    return np.stack([first, distractor]).astype(np.float32)


def write_case(folder: Path, name: str, organ: np.ndarray, distractor: np.ndarray) -> None:
    """Writes the images and labels of one case below a folder, spacing 3, 2, 1 mm (z, y, x)."""
    for part in ("images", "labels"):
        (folder / part).mkdir(exist_ok=True)
    image = distractor_image(organ, distractor)
    arrays = {f"images/{name}_{number:04d}": channel for number, channel in enumerate(image)}
    arrays[f"labels/{name}"] = organ.astype(np.uint8)
    for path, array in arrays.items():
        written = SimpleITK.GetImageFromArray(array)
        written.SetSpacing((1.0, 2.0, 3.0))
        SimpleITK.WriteImage(written, str(folder / f"{path}.nii.gz"))


def box(shape, *ranges) -> np.ndarray:
    """A mask of a box."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*one) for one in ranges)] = True
    return mask
