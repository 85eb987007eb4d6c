"""Cross-validation from a data set to a leaderboard: what is missing, and running it."""

from nnunet_attention.crossval.named import check_names
from nnunet_attention.crossval.running import default_output, run
from nnunet_attention.crossval.runs import CrossvalPlan, Step, all_runs, missing_steps, state_of
from nnunet_attention.jobs.launch import Outcome
from nnunet_attention.jobs.slurm import SlurmSettings
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.folds import FoldRun, FoldState

__all__ = [
    "CrossvalPlan",
    "FoldRun",
    "FoldState",
    "Folders",
    "Outcome",
    "SlurmSettings",
    "Step",
    "all_runs",
    "check_names",
    "default_output",
    "missing_steps",
    "run",
    "state_of",
]
