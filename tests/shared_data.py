"""Real data that lies beside the repository and is not part of it."""

import json
import os
from pathlib import Path

import pytest
from repository import REPOSITORY

ROOT = Path(os.environ.get("NNUNET_ATTENTION_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
PLANS = ROOT / "msd_cv_reference" / "plans"
HIPPOCAMPUS = ROOT / "msd" / "Task04_Hippocampus"
NUCLEI = ROOT / "Dataset018_Nuclei2D"
SARCOMA = ROOT / "Dataset051_SoftTissueSarcomaCT"


def needs(folder: Path):
    """Skips a test, with the reason, where a folder of real data is absent."""
    return pytest.mark.skipif(not folder.is_dir(), reason=f"no real data in {folder}")


def reference_configurations() -> list[tuple[Path, str]]:
    """(plans file, configuration) of every configuration of the reference plans; may be empty."""
    return [
        (path, configuration)
        for path in sorted(PLANS.glob("*/*/plans.json"))
        for configuration in json.loads(path.read_text())["configurations"]
    ]
