"""Trained weights: loading nnU-Net checkpoints safely, and giving plain ones attention gates."""

from nnunet_attention.weights.adaptation import Adaptation, adapt, load_adapted
from nnunet_attention.weights.checkpoint import load_checkpoint, save_checkpoint
from nnunet_attention.weights.function_preserving import start_from_plain
from nnunet_attention.weights.model_folder import UpgradedModelFolder, upgrade_model_folder
from nnunet_attention.weights.source import PretrainedSource, read_source
from nnunet_attention.weights.upgrade import (
    UpgradedCheckpoint,
    plans_with_full_resolution_gate,
    upgrade_checkpoint,
    upgrade_checkpoint_file,
)

__all__ = [
    "Adaptation",
    "PretrainedSource",
    "UpgradedCheckpoint",
    "UpgradedModelFolder",
    "adapt",
    "load_adapted",
    "load_checkpoint",
    "plans_with_full_resolution_gate",
    "read_source",
    "save_checkpoint",
    "start_from_plain",
    "upgrade_checkpoint",
    "upgrade_checkpoint_file",
    "upgrade_model_folder",
]
