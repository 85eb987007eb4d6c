"""What evaluation offers is there on first use, and needs neither torch nor nnunetv2."""

import subprocess
import sys

import pytest

import nnunet_attention.evaluation as evaluation
from nnunet_attention.evaluation import api

REPORT = (
    "import sys; print(*sorted({'numpy', 'pandas', 'scipy', 'torch', 'nnunetv2'} & {*sys.modules}))"
)


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{REPORT}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_every_name_is_offered():
    for name in api.__all__:
        assert getattr(evaluation, name) is getattr(api, name)
    assert dir(evaluation) == sorted(api.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = evaluation.nonsense


def test_names_of_policies_and_metrics_cost_nothing():
    code = (
        "import nnunet_attention.evaluation\n"
        "from nnunet_attention.evaluation.statistics.definitions import POLICIES\n"
        "from nnunet_attention.evaluation.metrics.definitions import METRICS"
    )
    assert loaded_by(code) == set()


def test_everything_together_needs_neither_torch_nor_nnunetv2():
    assert loaded_by("from nnunet_attention.evaluation import *") == {"numpy", "pandas", "scipy"}
