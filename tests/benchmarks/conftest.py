"""The benchmarks stand beside the package, in the repository only."""

import sys

from repository import REPOSITORY

# Imported first, and the root last in line: in it, the package lacks its trainers and plans.
import nnunet_attention  # noqa: F401

sys.path.append(str(REPOSITORY))
