"""Trains stock, wide and attention U-Net on MSD Task04 Hippocampus, and reports what came out.

    python -m benchmarks.hippocampus train Task04_Hippocampus -w WORK [--schedule gpu] [--epochs 50]
    python -m benchmarks.hippocampus collect -w WORK [--schedule gpu] [--epochs 50]
    python -m benchmarks.hippocampus report [--schedule gpu]

`train` converts, plans and cross-validates with nnU-Net's commands in WORK; started again, it goes
on. `collect` takes summaries, logs and pictures into results/SCHEDULE beside this file, and
`report` makes the leaderboard, the figure and the tables from these, on any machine.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.hippocampus.schedules import SCHEDULES

RESULTS = Path(__file__).resolve().parent / "results"


def main(command_line: list[str] | None = None) -> int:
    """Does one of the three."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hippocampus", description=__doc__.split("\n", 1)[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train")
    train.add_argument("data", type=Path, help="folder Task04_Hippocampus of the Decathlon")
    train.add_argument("-np", type=int, default=8, dest="processes", metavar="N")
    collect = actions.add_parser("collect")
    report = actions.add_parser("report")
    for one in (train, collect):
        one.add_argument("-w", type=Path, required=True, dest="work", metavar="WORK")
        one.add_argument("--epochs", type=int, metavar="N", help="instead of the schedule's")
        one.add_argument("-f", nargs="+", dest="folds", metavar="FOLD", help="likewise")
    for one in (train, collect, report):
        one.add_argument("--schedule", choices=SCHEDULES, default="cpu", help="(default: cpu)")
    arguments = parser.parse_args(command_line)
    schedule = SCHEDULES[arguments.schedule]
    results = RESULTS / schedule.name
    if arguments.action == "report":
        from benchmarks.hippocampus.reporting import report as tell

        return tell(results)
    if arguments.epochs:
        schedule = replace(schedule, epochs=arguments.epochs)
    if arguments.folds:
        schedule = replace(schedule, folds=tuple(arguments.folds))
    work = arguments.work.absolute()
    if arguments.action == "train":
        from benchmarks.hippocampus.training import train as run

        return run(schedule, arguments.data, work, arguments.processes)
    from benchmarks.hippocampus.collecting import collect as take

    return take(schedule, work, results)


if __name__ == "__main__":
    sys.exit(main())
