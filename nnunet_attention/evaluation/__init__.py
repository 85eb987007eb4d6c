"""Evaluation of segmentations and cross-validations; needs neither torch nor nnunetv2."""

from nnunet_attention.evaluation.metrics import (
    METRICS,
    OVERLAP_METRICS,
    SURFACE_DEFINITION,
    SURFACE_METRICS,
    Metric,
    check_metrics,
)
from nnunet_attention.evaluation.policies import (
    DEFAULT_POLICY,
    POLICIES,
    apply_policy,
    common_cases,
)
from nnunet_attention.evaluation.summaries import (
    COLUMNS,
    MissingFoldsError,
    concatenate,
    find_dataset,
    label_names,
    read_named_results,
    read_nnunet_results,
    read_summary,
)

__all__ = [
    "COLUMNS",
    "DEFAULT_POLICY",
    "METRICS",
    "OVERLAP_METRICS",
    "POLICIES",
    "SURFACE_DEFINITION",
    "SURFACE_METRICS",
    "Metric",
    "MissingFoldsError",
    "apply_policy",
    "check_metrics",
    "common_cases",
    "concatenate",
    "find_dataset",
    "label_names",
    "read_named_results",
    "read_nnunet_results",
    "read_summary",
]
