"""Runs a cross-validation: all that is missing, on this machine or on SLURM."""

from __future__ import annotations

from pathlib import Path

from nnunet_attention.crossval.named import check_names
from nnunet_attention.crossval.plan import CrossvalPlan
from nnunet_attention.crossval.work import CrossvalWork
from nnunet_attention.jobs.launch import Outcome, Runner, Silent, View, launch
from nnunet_attention.jobs.local import LocalRunner, devices
from nnunet_attention.jobs.output import Output
from nnunet_attention.jobs.process import termination_as_interrupt
from nnunet_attention.jobs.slurm import SlurmRunner, SlurmSettings
from nnunet_attention.nnunet.dataset_names import number_of_dataset
from nnunet_attention.nnunet.folders import Folders


def run(
    plan: CrossvalPlan,
    *,
    folders: Folders | None = None,
    output: Path | None = None,
    at_once: int = 1,
    slurm: SlurmSettings | None = None,
    view: View | None = None,
) -> Outcome:
    """Run the missing steps of a cross-validation, and return the outcome.

    No finished work is done again: called after a failure, a kill or an interruption, it resumes.
    Failures are reported at the end, while all steps that do not need a failed one go on.

    Args:
        plan: says which models are trained on which data sets and folds.
        folders: nnU-Net's; by default those that its variables name.
        output: the folder for logs and the manifest; by default the one of `default_output`.
        at_once: folds that are trained side by side where the device is not a GPU. On GPUs, one
            fold runs on each of those that CUDA_VISIBLE_DEVICES has.
        slurm: what jobs ask for; with it every step becomes a job, and `at_once` is not used.
        view: shows what happens, such as `with nnunet_attention.jobs.view.Status() as view`; by
            default nothing is shown.

    Returns:
        The names of the steps that were done, that failed, and that need a failed one. Check
        `Outcome.ok`: steps that fail raise nothing.

    Raises:
        CommandError: if nothing can be begun: a name is unknown, a data set is missing, plans have
            changed since a model's training began, or a folder cannot be written.
        LockedError: if another process is running one of the steps; it is a CommandError too.
        KeyboardInterrupt: after Ctrl-C or SIGTERM. All that was started here has been stopped,
            without harm to a checkpoint; jobs of SLURM go on.

    Examples:
        >>> plan = CrossvalPlan(
        ...     datasets=("Dataset004_Hippocampus",),
        ...     configurations=("3d_fullres",),
        ...     models=(("nnUNetTrainer", "nnUNetPlans"), ("AttentionUNetTrainer", "nnUNetPlans")),
        ...     folds=("0",),
        ... )
        >>> outcome = run(plan)  # doctest: +SKIP
        >>> outcome.ok  # doctest: +SKIP
        True
    """
    folders = Folders.from_environment() if folders is None else folders
    check_names(plan, folders)
    place = Output((default_output(plan, folders) if output is None else output).absolute())
    runner: Runner
    if slurm is None:
        runner = LocalRunner(place, devices(plan.device, plan.num_gpus, at_once))
    else:
        gpus = plan.num_gpus if plan.device == "cuda" else 0
        runner = SlurmRunner(place, slurm, "crossval", gpus)
    work = CrossvalWork(plan, folders)
    with termination_as_interrupt():
        return launch(work, place, runner, Silent() if view is None else view)


def default_output(plan: CrossvalPlan, folders: Folders) -> Path:
    """Return the folder for logs and the manifest: beside the results, named by data sets."""
    name = plan.datasets[0]
    if len(plan.datasets) > 1:
        name = f"Datasets_{'_'.join(map(number_of_dataset, plan.datasets))}"
    return folders.results / "crossval" / name
