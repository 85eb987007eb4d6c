"""docs/metrics.md names every metric, key and policy."""

import re

from repository import DOCS

from nnunet_attention.evaluation import DEFAULT_POLICY, METRICS, POLICIES

TEXT = (DOCS / "metrics.md").read_text(encoding="utf-8")


def test_every_metric_has_a_row_with_its_key_and_direction():
    for metric in METRICS.values():
        better = "higher" if metric.higher_is_better else "lower"
        row = rf"^\| `{metric.name}` \| `{metric.key}` \| .* \| {better} \|$"
        assert re.search(row, TEXT, re.MULTILINE), metric.name


def test_every_policy_has_a_row():
    for policy in POLICIES:
        name = f"`{policy}` (default)" if policy == DEFAULT_POLICY else f"`{policy}`"
        assert f"\n| {name} |" in TEXT
