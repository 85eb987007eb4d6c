"""Replaces the coefficients of attention gates, and measures the effect on the segmentation."""

from nnunet_attention.maps.ablation.cases import AblationCase
from nnunet_attention.maps.ablation.effects import ablate
from nnunet_attention.maps.ablation.predictor import AblationPredictor
from nnunet_attention.maps.ablation.replacing import (
    REPLACEMENTS,
    UnknownGateError,
    replace_attention,
)
from nnunet_attention.maps.ablation.settings import AblationSettings

__all__ = [
    "REPLACEMENTS",
    "AblationCase",
    "AblationPredictor",
    "AblationSettings",
    "UnknownGateError",
    "ablate",
    "replace_attention",
]
