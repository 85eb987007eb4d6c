"""Evaluation of segmentations and cross-validations; needs neither torch nor nnunetv2."""

from importlib import import_module

from nnunet_attention.evaluation.metrics.definitions import (
    METRICS,
    OVERLAP_METRICS,
    SURFACE_DEFINITION,
    SURFACE_METRICS,
    Metric,
    check_metrics,
)
from nnunet_attention.evaluation.metrics.evaluate import (
    DEFAULT_TOLERANCE_MM,
    add_surface_metrics,
    evaluate_folder,
)
from nnunet_attention.evaluation.metrics.labels import (
    LabelScheme,
    find_dataset_json,
    label_names,
    tolerances_mm,
)
from nnunet_attention.evaluation.statistics.policies import (
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

# Imported on first use: they load scipy, which reading and measuring do without.
_HOME_OF = {
    "Leaderboard": "nnunet_attention.evaluation.leaderboard.building",
    "Request": "nnunet_attention.evaluation.leaderboard.collect",
    "Settings": "nnunet_attention.evaluation.leaderboard.building",
    "build_leaderboard": "nnunet_attention.evaluation.leaderboard.building",
    "Surfaces": "nnunet_attention.evaluation.leaderboard.making",
    "collect_results": "nnunet_attention.evaluation.leaderboard.collect",
    "make_leaderboard": "nnunet_attention.evaluation.leaderboard.making",
    "write_leaderboard": "nnunet_attention.evaluation.leaderboard.outputs",
}

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
    "Leaderboard",
    "Metric",
    "MissingFoldsError",
    "Request",
    "Settings",
    "Surfaces",
    "add_surface_metrics",
    "apply_policy",
    "build_leaderboard",
    "check_metrics",
    "collect_results",
    "common_cases",
    "concatenate",
    "evaluate_folder",
    "find_dataset",
    "find_dataset_json",
    "label_names",
    "make_leaderboard",
    "read_named_results",
    "read_nnunet_results",
    "read_summary",
    "recorded_tolerances",
    "tolerances_mm",
    "write_leaderboard",
]


def __getattr__(name: str):
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
