"""The steps of a cross-validation, from the fingerprint to the accumulated results."""

from nnunet_attention.crossval.steps.accumulation import AccumulationStep
from nnunet_attention.crossval.steps.base import CrossvalStep
from nnunet_attention.crossval.steps.fold import FoldStep
from nnunet_attention.crossval.steps.preparation import (
    DescriptionStep,
    FingerprintStep,
    PlansStep,
    PreprocessingStep,
    SplitsStep,
)

__all__ = [
    "AccumulationStep",
    "CrossvalStep",
    "DescriptionStep",
    "FingerprintStep",
    "FoldStep",
    "PlansStep",
    "PreprocessingStep",
    "SplitsStep",
]
