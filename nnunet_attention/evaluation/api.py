"""Gathers the public API of evaluation; `nnunet_attention.evaluation` loads it on first use."""

from nnunet_attention.evaluation.leaderboard.building import (
    Leaderboard,
    Settings,
    build_leaderboard,
)
from nnunet_attention.evaluation.leaderboard.collect import Request, collect_results
from nnunet_attention.evaluation.leaderboard.making import Surfaces, make_leaderboard
from nnunet_attention.evaluation.leaderboard.outputs import write_leaderboard
from nnunet_attention.evaluation.leaderboard.published import PublishedMean, read_published
from nnunet_attention.evaluation.leaderboard.reading import (
    MissingFoldsError,
    find_dataset,
    read_named_results,
    read_nnunet_results,
    read_summary,
)
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
    find_label_scheme,
    label_names,
    tolerances_mm,
)
from nnunet_attention.evaluation.metrics.table import COLUMNS, concatenate, recorded_tolerances
from nnunet_attention.evaluation.statistics.definitions import DEFAULT_POLICY, POLICIES
from nnunet_attention.evaluation.statistics.groups import (
    groups_by_pattern,
    groups_by_pattern_and_dataset,
    read_groups,
    read_groups_by_dataset,
)
from nnunet_attention.evaluation.statistics.policies import apply_policy, common_cases

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
    "PublishedMean",
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
    "find_label_scheme",
    "groups_by_pattern",
    "groups_by_pattern_and_dataset",
    "label_names",
    "make_leaderboard",
    "read_groups",
    "read_groups_by_dataset",
    "read_named_results",
    "read_nnunet_results",
    "read_published",
    "read_summary",
    "recorded_tolerances",
    "tolerances_mm",
    "write_leaderboard",
]
