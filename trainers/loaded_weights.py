"""Finds the checkpoint that nnU-Net loads for `-pretrained_weights`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from nnunetv2.run.load_pretrained_weights import load_pretrained_weights


class LoadedWeights(NamedTuple):
    """Holds the path of a checkpoint, and its content."""

    path: Path
    checkpoint: Mapping


def weights_being_loaded() -> LoadedWeights | None:
    """Return the checkpoint from which nnU-Net is loading weights, while a network's hook runs.

    nnU-Net tells no trainer: it passes the network alone to `load_pretrained_weights`. The
    checkpoint is therefore looked for among the variables of this function, up the stack.

    Returns:
        None if the weights come from elsewhere, or nnU-Net's variables have other names.
    """
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is load_pretrained_weights.__code__:
            path, checkpoint = frame.f_locals.get("fname"), frame.f_locals.get("saved_model")
            if isinstance(path, (str, Path)) and isinstance(checkpoint, Mapping):
                return LoadedWeights(Path(path), checkpoint)
        frame = frame.f_back
    return None
