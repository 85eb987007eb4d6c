"""Cross-validation from a data set to gathered results: what is missing, and running it."""

from nnunet_attention.crossval.groups import notes, with_groups
from nnunet_attention.crossval.missing import all_runs, missing_steps
from nnunet_attention.crossval.named import check_names
from nnunet_attention.crossval.plan import CrossvalPlan
from nnunet_attention.crossval.running import default_output, run
from nnunet_attention.crossval.steps import CrossvalStep, FoldStep
from nnunet_attention.crossval.steps.base import command_text
from nnunet_attention.crossval.steps.fold import state_of
from nnunet_attention.jobs.launch import Outcome
from nnunet_attention.jobs.slurm import SlurmSettings
from nnunet_attention.nnunet.fold_state import FoldRun, FoldState
from nnunet_attention.nnunet.folders import Folders

__all__ = [
    "CrossvalPlan",
    "CrossvalStep",
    "FoldRun",
    "FoldState",
    "FoldStep",
    "Folders",
    "Outcome",
    "SlurmSettings",
    "all_runs",
    "check_names",
    "command_text",
    "default_output",
    "missing_steps",
    "notes",
    "run",
    "state_of",
    "with_groups",
]
