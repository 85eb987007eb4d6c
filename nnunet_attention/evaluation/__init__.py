"""Evaluation of segmentations and cross-validations; needs neither torch nor nnunetv2."""

from nnunet_attention.evaluation.evaluate import (
    DEFAULT_TOLERANCE_MM,
    add_surface_metrics,
    evaluate_folder,
)
from nnunet_attention.evaluation.labels import (
    LabelScheme,
    find_dataset_json,
    label_names,
    tolerances_mm,
)
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
    read_named_results,
    read_nnunet_results,
    read_summary,
    recorded_tolerances,
)

__all__ = [
    "COLUMNS",
    "DEFAULT_POLICY",
    "DEFAULT_TOLERANCE_MM",
    "METRICS",
    "OVERLAP_METRICS",
    "POLICIES",
    "SURFACE_DEFINITION",
    "SURFACE_METRICS",
    "LabelScheme",
    "Metric",
    "MissingFoldsError",
    "add_surface_metrics",
    "apply_policy",
    "check_metrics",
    "common_cases",
    "concatenate",
    "evaluate_folder",
    "find_dataset",
    "find_dataset_json",
    "label_names",
    "read_named_results",
    "read_nnunet_results",
    "read_summary",
    "recorded_tolerances",
    "tolerances_mm",
]
