"""Cross-validation from a data set to a leaderboard: what is missing, and running it."""

from nnunet_attention.crossval.named import check_names
from nnunet_attention.crossval.runs import CrossvalPlan, Step, all_runs, missing_steps, state_of
from nnunet_attention.nnunet.fold_state import FoldRun, FoldState
from nnunet_attention.nnunet.folders import Folders

__all__ = [
    "CrossvalPlan",
    "FoldRun",
    "FoldState",
    "Folders",
    "Step",
    "all_runs",
    "check_names",
    "missing_steps",
    "state_of",
]
