"""The benchmarks stand beside the package, in the repository only."""

import sys
from pathlib import Path

# Imported first, and the root last in line: in it, the package lacks its trainers and plans.
import nnunet_attention  # noqa: F401

sys.path.append(str(Path(__file__).resolve().parents[2]))
