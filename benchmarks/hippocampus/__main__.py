"""Trains stock nnU-Net and attention U-Nets on real data, and reports the results.

    python -m benchmarks.hippocampus train Task04_Hippocampus -w WORK [--schedule gpu] [--epochs 50]
    python -m benchmarks.hippocampus collect -w WORK [--schedule gpu] [--epochs 50]
    python -m benchmarks.hippocampus report [--schedule gpu]

`train` converts, plans and trains with nnU-Net's commands in WORK, one run (a variant with a seed)
after the other; run again, it continues where it stopped, and leaves out runs that were collected
before. `collect` copies the summaries, logs and pictures of all finished runs to results/SCHEDULE
beside this file, and `report` makes the leaderboard, the figure and the tables from these, on any
machine.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.hippocampus.schedules import SCHEDULES, VARIANTS, Schedule
from nnunet_attention.cli.exit_codes import exit_code_of

RESULTS = Path(__file__).resolve().parent / "results"


def main(command_line: list[str] | None = None) -> int:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hippocampus", description=__doc__.split("\n", 1)[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train")
    train.add_argument(
        "data",
        type=Path,
        help="folder Task04_Hippocampus of the Decathlon, or a data set in nnU-Net's raw format",
    )
    train.add_argument("-np", type=int, default=8, dest="processes", metavar="N")
    train.add_argument(
        "--variants", nargs="+", choices=VARIANTS, help="only these (default: all of the schedule)"
    )
    train.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="only these")
    train.add_argument(
        "--again", action="store_true", help="train anew what has been collected before"
    )
    collect = actions.add_parser("collect")
    report = actions.add_parser("report")
    for action in (train, collect):
        action.add_argument("-w", type=Path, required=True, dest="work", metavar="WORK")
        action.add_argument("--epochs", type=int, metavar="N", help="instead of the schedule's")
        action.add_argument("-f", nargs="+", dest="folds", metavar="FOLD", help="likewise")
    for action in (train, collect, report):
        action.add_argument("--schedule", choices=SCHEDULES, default="cpu", help="(default: cpu)")
    arguments = parser.parse_args(command_line)
    schedule = SCHEDULES[arguments.schedule]
    results = RESULTS / schedule.name
    if arguments.action == "report":
        from benchmarks.hippocampus.reporting import report as make_report

        return make_report(results)
    if arguments.epochs:
        schedule = replace(schedule, epochs=arguments.epochs)
    if arguments.folds:
        schedule = replace(schedule, folds=tuple(arguments.folds))
    work = arguments.work.absolute()
    if arguments.action == "train":
        from benchmarks.hippocampus.training import train as run

        runs = chosen_runs(schedule, arguments.variants, arguments.seeds)
        if not runs:
            parser.error("the schedule has no such runs")
        # The results hold no trainings of another length.
        is_own = arguments.epochs or arguments.folds or arguments.again
        collected = None if is_own else results
        return run(schedule, arguments.data, work, runs, arguments.processes, collected)
    from benchmarks.hippocampus.collecting import collect as take

    return take(schedule, work, results)


def chosen_runs(
    schedule: Schedule, variants: list[str] | None, seeds: list[int] | None
) -> list[tuple[str, int]]:
    """Return the runs of a schedule that have these variants and seeds; None for all."""
    return [
        (variant, seed)
        for variant, seed in schedule.runs
        if (variants is None or variant in variants) and (seeds is None or seed in seeds)
    ]


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.hippocampus", main))
