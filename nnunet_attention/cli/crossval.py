"""Runs `nnunet-attention crossval`: from data sets to a leaderboard, resuming unfinished work."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.cli.group_arguments import add_groups, groups_reader
from nnunet_attention.cli.leaderboard import show_leaderboard
from nnunet_attention.cli.numbers import not_negative, positive
from nnunet_attention.cli.shared_arguments import (
    FOLDS_OF_SPLITS,
    add_configurations,
    add_datasets,
    add_device,
    add_folds,
    add_npz,
    add_trainers,
    check_folds,
    refuse_ignored,
    trained_models,
)
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.model_folders import ALL

if TYPE_CHECKING:
    from nnunet_attention.crossval import CrossvalPlan, Folders, Outcome, SlurmSettings
    from nnunet_attention.evaluation.statistics.groups import GroupsReader

HELP = (
    "cross-validate models on data sets: make whatever is missing of fingerprint, plans, "
    "preprocessing, splits, folds and accumulation, on this machine or on SLURM, and then a "
    "leaderboard; run it again to continue where it stopped"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is trained, and where; nnU-Net's option letters keep their meaning."""
    add_datasets(parser)
    add_configurations(parser, "configurations; 3d_cascade_fullres also trains 3d_lowres")
    add_trainers(
        parser,
        "trainers, such as nnUNetTrainer AttentionUNetTrainer; TRAINER__PLANS names the plans too",
        required=True,
    )
    add_folds(parser, f"folds, or all by itself (default: {FOLDS_OF_SPLITS})")
    parser.add_argument(
        "-pretrained_weights",
        type=Path,
        metavar="FILE",
        help="checkpoint that every fold starts from",
    )
    add_npz(parser)
    add_repeats(parser)
    parser.add_argument(
        "--seed", type=not_negative, metavar="N",
        help="seed of this package's trainers in the first repeat; each later repeat adds 1 "
        "(default: NNUNET_ATTENTION_SEED, or no seed if it is unset; stock trainers are never "
        "seeded)",
    )  # fmt: skip
    add_groups_of_splits(parser)
    add_execution_arguments(parser)
    parser.add_argument(
        "--no-leaderboard",
        action="store_true",
        help="stop before the leaderboard, for instance if other folds run elsewhere",
    )


def add_repeats(parser: argparse.ArgumentParser) -> None:
    """Add `--repeats`, by default 1."""
    parser.add_argument(
        "--repeats", type=positive, default=1, metavar="N",
        help="train each fold N times (default: 1); later repeats are in "
        "nnUNet_results/repeats/repeat_K, which nnU-Net's commands can take as their "
        "nnUNet_results",
    )  # fmt: skip


def add_groups_of_splits(parser: argparse.ArgumentParser) -> None:
    """Add the options for cases that belong together, and `--keep-splits`; see `grouped`."""
    add_groups(parser)
    parser.add_argument(
        "--keep-splits", action="store_true",
        help="accept a splits_final.json that tears groups apart, which is otherwise refused",
    )  # fmt: skip


def add_execution_arguments(
    parser: argparse.ArgumentParser,
    output: str = "folder for logs, manifest.json and leaderboard (default: crossval/DATASETS in "
    "nnUNet_results)",
) -> None:
    """Add where to run, and how much at a time; the same for all commands that cross-validate.

    Args:
        parser: the parser that gets the arguments.
        output: the help text of `-o`.
    """
    add_device(parser)
    parser.add_argument(
        "-num_gpus", type=positive, default=1, metavar="N",
        help="GPUs per fold (default: 1). Each GPU in CUDA_VISIBLE_DEVICES, or each group of N "
        "GPUs, trains one fold at a time",
    )  # fmt: skip
    parser.add_argument(
        "--at-once", type=positive, metavar="N",
        help="folds to run in parallel if the device is not a GPU (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "-np", type=positive, default=8, metavar="N", dest="processes",
        help="processes for fingerprint and preprocessing (default: 8)",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run", action="store_true", help="print what is missing, in order, and do nothing"
    )
    parser.add_argument("-o", type=Path, metavar="DIR", dest="output", help=output)
    slurm = parser.add_argument_group("SLURM", "needs the extra `slurm` of nnunet-attention")
    slurm.add_argument(
        "--slurm", action="store_true", help="submit everything as jobs, folds as a job array"
    )
    slurm.add_argument("--partition", metavar="NAME", help="partition for the jobs")
    slurm.add_argument(
        "--time", type=positive, metavar="MINUTES",
        help="time limit of each job; a fold that takes longer is requeued and continues (default: "
        "1440)",
    )  # fmt: skip
    slurm.add_argument(
        "--mem", type=positive, metavar="GB", help="memory of each job (default: 32)"
    )
    slurm.add_argument("--cpus", type=positive, metavar="N", help="cores of each job (default: 12)")
    slurm.add_argument(
        "--gres",
        metavar="GRES",
        help="devices of a fold's job (default: gpu:N with -num_gpus N on cuda)",
    )
    slurm.add_argument(
        "--jobs-at-once", type=positive, metavar="N",
        help="folds of a job array that run at the same time (default: 256)",
    )  # fmt: skip
    slurm.add_argument(
        "--sbatch", nargs="+", action="extend", default=[], metavar="NAME=VALUE",
        help="further sbatch options, such as account=lab qos=long",
    )  # fmt: skip
    slurm.add_argument(
        "--signal-seconds", type=positive, metavar="S",
        help="seconds before its time limit at which a job is told to stop, so that training ends "
        "cleanly (default: 120)",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Make what is missing, then the leaderboard."""
    from nnunet_attention.crossval import Folders, check_names, default_output

    check_execution_arguments(arguments)
    folders = Folders.from_environment()
    plan = grouped(repeated(plan_of(arguments), arguments), arguments, folders)
    root = arguments.output or default_output(plan, folders)
    if arguments.dry_run:
        check_names(plan, folders)
        print_missing(plan, folders, root, not arguments.no_leaderboard, group_options(arguments))
        return 0
    code = execute(arguments, plan, folders, root)
    if code == 0 and not arguments.no_leaderboard:
        make_leaderboard(plan, folders, root)
    return code


def check_execution_arguments(arguments: argparse.Namespace) -> None:
    """Refuse options of `add_execution_arguments` that would change nothing.

    Raises:
        CommandError: naming them; otherwise somebody might train on the login node, for instance.
    """
    if not arguments.slurm:
        refuse_ignored(
            {
                "--partition": arguments.partition,
                "--time": arguments.time,
                "--mem": arguments.mem,
                "--cpus": arguments.cpus,
                "--gres": arguments.gres,
                "--jobs-at-once": arguments.jobs_at_once,
                "--sbatch": arguments.sbatch,
                "--signal-seconds": arguments.signal_seconds,
            },
            "without --slurm, and everything would run on this machine; add --slurm, or leave them "
            "out",
        )
    at_once = {"--at-once": arguments.at_once}
    if arguments.slurm:
        refuse_ignored(at_once, "with --slurm; give --jobs-at-once instead")
    if arguments.device == "cuda":
        refuse_ignored(
            at_once,
            "with -device cuda, where each GPU in CUDA_VISIBLE_DEVICES, or each group of "
            "-num_gpus, runs one fold; leave it out",
        )
    elif arguments.num_gpus > 1:
        raise CommandError(
            f"-num_gpus {arguments.num_gpus} cannot be combined with -device {arguments.device}; "
            "leave one out"
        )


def plan_of(arguments: argparse.Namespace) -> CrossvalPlan:
    """Return the plan that the arguments ask for, with full names of data sets.

    Raises:
        CommandError: if a data set is unknown, a fold is not one, or something is given twice.
    """
    from nnunet_attention.crossval import CrossvalPlan
    from nnunet_attention.nnunet.datasets import dataset_name
    from nnunet_attention.nnunet.model_folders import model_title

    folds = None if arguments.folds is None else tuple(arguments.folds)
    check_folds(folds)
    if folds is not None and folds != (ALL,):
        folds = tuple(str(int(fold)) for fold in folds)
    weights = arguments.pretrained_weights
    if weights is not None:
        _check_weights(weights)
    plan = CrossvalPlan(
        datasets=tuple(dataset_name(text) for text in arguments.datasets),
        configurations=tuple(arguments.configurations),
        models=trained_models(arguments.trainers, arguments.plans),
        folds=folds,
        npz=arguments.npz,
        num_gpus=arguments.num_gpus,
        device=arguments.device,
        processes=arguments.processes,
        pretrained_weights=None if weights is None else weights.absolute(),
    )
    for letter, values in (
        ("-d", plan.datasets),
        ("-c", plan.configurations),
        ("-tr", tuple(model_title(*model) for model in plan.models)),
        ("-f", plan.folds or ()),
    ):
        twice = [value for value in dict.fromkeys(values) if values.count(value) > 1]
        if twice:
            raise CommandError(f"{letter}: {', '.join(twice)} given twice")
    return plan


def _check_weights(path: Path) -> None:
    """Refuse weights that nnU-Net's command, which checks nothing, could not or must not load.

    Raises:
        CommandError: if the file is missing, damaged, unsafe to load or no checkpoint of nnU-Net.
    """
    if not path.is_file():
        raise CommandError(f"-pretrained_weights {path}: there is no such file")
    # Imported late: it imports torch.
    from nnunet_attention.weights.checkpoint import load_safely

    if "network_weights" not in load_safely(path):
        raise CommandError(
            f"-pretrained_weights {path} has no network_weights; give a checkpoint of nnU-Net, or "
            "make one that fits the plans with nnunet-attention upgrade -d"
        )


def repeated(plan: CrossvalPlan, arguments: argparse.Namespace) -> CrossvalPlan:
    """Return the plan with the repeats and the seed that the arguments name.

    Raises:
        CommandError: if the seed would change nothing.
    """
    from nnunet_attention.nnunet.lookups import stock_trainer_names

    if all(trainer in stock_trainer_names() for trainer, _ in plan.models):
        refuse_ignored(
            {"--seed": arguments.seed}, "as nnU-Net's own trainers cannot be seeded; leave it out"
        )
    return replace(plan, repeats=arguments.repeats, seed=arguments.seed)


def grouped(
    plan: CrossvalPlan,
    arguments: argparse.Namespace,
    folders: Folders,
    datasets: Sequence[str] | None = None,
) -> CrossvalPlan:
    """Return the plan with the groups that the arguments name, if any.

    Args:
        plan: a plan without groups.
        arguments: those of `add_groups_of_splits`.
        folders: nnU-Net's folders.
        datasets: the data sets that are divided into folds; None for all of the plan.

    Raises:
        CommandError: if the groups cannot be read, or would change nothing.
    """
    from nnunet_attention.crossval import with_groups

    options = {"--groups": arguments.groups, "--group-by": arguments.group_by}
    if plan.folds == (ALL,):
        refuse_ignored(options, "with -f all, which uses no splits; leave them out")
    reader = groups_reader(arguments.groups, arguments.group_by)
    if reader is None:
        refuse_ignored(
            {"--keep-splits": arguments.keep_splits},
            "without --groups or --group-by, as existing splits are then always kept; leave it out",
        )
        return plan
    plan = replace(plan, keep_splits=arguments.keep_splits)
    return with_groups(plan, folders, reader, datasets)


def print_missing(
    plan: CrossvalPlan,
    folders: Folders,
    root: Path,
    with_leaderboard: bool = True,
    group_options: Sequence[str] = (),
) -> None:
    """Print a line for each missing step, with its command."""
    from nnunet_attention.crossval import command_text, missing_steps, notes

    steps = missing_steps(plan, folders)
    for note in notes(plan, folders):
        print(f"note: {note}", file=sys.stderr)
    for number, step in enumerate(steps, 1):
        command = "(written by this command)"
        if step.command:
            command = command_text(step.command, step.folders, folders)
        remark = f" [{step.remark}]" if step.remark else ""
        print(f"{number:3d}  {step.name}{remark}\n     {command}")
    if not with_leaderboard:
        if not steps:
            print("nothing is missing")
        return
    leaderboard = shlex.join(
        ["nnunet-attention", *leaderboard_arguments(plan, folders, root, group_options)]
    )
    print(f"{len(steps) + 1:3d}  leaderboard\n     {leaderboard}")


def execute(arguments: argparse.Namespace, plan: CrossvalPlan, folders: Folders, root: Path) -> int:
    """Run all missing steps where the arguments say, and return the exit code."""
    from nnunet_attention.crossval import run as run_crossval
    from nnunet_attention.jobs.view import Status

    slurm = slurm_settings(arguments) if arguments.slurm else None
    try:
        with Status() as view:
            outcome = run_crossval(
                plan,
                folders=folders,
                output=root,
                at_once=arguments.at_once or 1,
                slurm=slurm,
                view=view,
            )
    except KeyboardInterrupt:
        where = "the jobs keep running; watch them again" if arguments.slurm else "continue"
        print(f"stopped; finished work is kept; {where} with: {_this_command()}", file=sys.stderr)
        return 130
    if outcome.ok:
        return 0
    _print_failures(outcome, root, arguments.command)
    return 1


def slurm_settings(arguments: argparse.Namespace) -> SlurmSettings:
    """Return what the jobs ask for, as the arguments say.

    Raises:
        CommandError: if an option for sbatch has no value.
    """
    from nnunet_attention.crossval import SlurmSettings

    options = {}
    for text in arguments.sbatch:
        name, separator, value = text.partition("=")
        if not (name and separator):
            raise CommandError(f"--sbatch {text}: give NAME=VALUE, such as account=lab")
        options[name.lstrip("-").replace("-", "_")] = value
    given = {
        "partition": arguments.partition,
        "minutes": arguments.time,
        "memory_gb": arguments.mem,
        "cpus": arguments.cpus,
        "gres": arguments.gres,
        "jobs_at_once": arguments.jobs_at_once,
        "signal_seconds": arguments.signal_seconds,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return SlurmSettings(**chosen, options=options)


def leaderboard_arguments(
    plan: CrossvalPlan, folders: Folders, root: Path, group_options: Sequence[str] = ()
) -> list[str]:
    """Return the arguments with which `nnunet-attention` makes the leaderboard.

    Args:
        plan: says what was trained.
        folders: nnU-Net's folders.
        root: the folder that holds the leaderboard's folder.
        group_options: the result of `group_options`.
    """
    from nnunet_attention.nnunet.model_folders import model_title

    models = [model_title(*model) for model in plan.models]
    later = _later_results(plan, folders)
    return [
        *("leaderboard", "-d", *plan.datasets, "-c", *plan.configurations, "-tr", *models),
        *(("-f", *plan.folds) if plan.folds else ()),
        *(("--repeats", *map(str, later)) if later else ()),
        *group_options,
        *("-o", str(root / "leaderboard")),
    ]


def group_options(arguments: argparse.Namespace) -> list[str]:
    """Return the options that say which cases belong together, for another command."""
    if arguments.groups is not None:
        return ["--groups", str(arguments.groups)]
    return [] if arguments.group_by is None else ["--group-by", arguments.group_by]


def make_leaderboard(plan: CrossvalPlan, folders: Folders, root: Path) -> None:
    """Make the leaderboard of all models from their finished folds, as that command would."""
    from nnunet_attention.evaluation import Request

    request = Request(
        plan.datasets,
        plan.configurations,
        plan.folds,
        plan.models,
        repeats=_later_results(plan, folders),
    )
    show_leaderboard(request, root / "leaderboard", groups=_groups_of(plan))


def _groups_of(plan: CrossvalPlan) -> GroupsReader | None:
    """Return a reader of the groups that the plan was made with; their file may have changed."""
    known = plan.groups
    if known is None:
        return None
    return lambda cases: {
        dataset: {case: known[dataset][case] for case in some} for dataset, some in cases.items()
    }


def _later_results(plan: CrossvalPlan, folders: Folders) -> tuple[Path, ...]:
    """Return the results folders of all repeats but the first."""
    return tuple(folders.of_repeat(repeat).results for repeat in range(2, plan.repeats + 1))


def _print_failures(outcome: Outcome, root: Path, command: str) -> None:
    """Print the steps that failed, and those that could not be done without them."""
    for message in outcome.failed.values():
        # Its log's last lines were shown when it failed.
        print(f"nnunet-attention {command}: {message.splitlines()[0]}", file=sys.stderr)
    if outcome.left:
        print(f"not run, as a step they need failed: {', '.join(outcome.left)}", file=sys.stderr)
    print(
        f"{len(outcome.failed)} step(s) failed, {len(outcome.done)} done; the logs are in "
        f"{root / 'logs'}. Finished work is kept; continue with: {_this_command()}",
        file=sys.stderr,
    )


def _this_command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
