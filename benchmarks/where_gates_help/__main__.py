"""Finds out where attention gates help, on synthetic data where context decides and on real data.

    python -m benchmarks.where_gates_help pilot -w WORK [--data FOLDER] [--only PART ...]
    python -m benchmarks.where_gates_help run -w WORK [--data FOLDER] [--only PART ...]
    python -m benchmarks.where_gates_help collect -w WORK [--only PART ...]
    python -m benchmarks.where_gates_help report
    python -m benchmarks.where_gates_help make -o FOLDER [--foreground .01] [--distractors 3] ...

`pilot` trains stock nnU-Net on some of the data, and says whether the design leaves room; without
that, `run` trains nothing.
`run` makes or copies the data, plans, trains by `nnunet-attention crossval --repeats`, predicts
out-of-domain images, writes maps and ablates gates, all in WORK; run again, it continues where it
stopped. With `--steps trainings` and `--steps predictions` two commands share this. `collect`
copies Dice of every case, times, verdicts and a picture of all finished trainings to results/
beside this file, and `report` makes all tables from these, on any machine. With `--missing`, `run`
leaves out what is collected, so that the study goes on where WORK is not at hand.
`design.py` defines the trainings, and the rules by which they are judged.

`make` makes one data set, in the Decathlon's format: `nnUNetv2_convert_MSD_dataset -i
FOLDER/Task91_...`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.where_gates_help.collected import collected_trainings
from benchmarks.where_gates_help.design import PARTS, STEPS, Part
from benchmarks.where_gates_help.phantom import Recipe, write_distractors_task
from nnunet_attention.cli.exit_codes import exit_code_of

RESULTS = Path(__file__).resolve().parent / "results"


def main(command_line: list[str] | None = None) -> int:
    """Run one of the five commands."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.where_gates_help", description=__doc__.split("\n", 1)[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    pilot = actions.add_parser(
        "pilot", help="train stock nnU-Net on some of the data, first of all"
    )
    run = actions.add_parser("run", help="train what is missing")
    for action in (pilot, run):
        action.add_argument(
            "--data", type=Path, metavar="FOLDER",
            help="of the real data, Dataset051_SoftTissueSarcomaCT and msd/Task04_Hippocampus",
        )  # fmt: skip
        action.add_argument("-np", type=int, default=1, dest="processes", metavar="N")
    run.add_argument(
        "--missing", action="store_true",
        help="train only what results/ beside this file lacks, to go on with a study on another "
        "machine",
    )  # fmt: skip
    run.add_argument("--dry-run", action="store_true", help="only say how much there is to train")
    run.add_argument(
        "--steps", nargs="+", choices=STEPS, default=STEPS, metavar="STEP",
        help="trainings, or predictions, maps and ablations of those that are finished, which can "
        "run beside trainings (default: both)",
    )  # fmt: skip
    collect = actions.add_parser("collect", help="take what is finished")
    for action in (pilot, run, collect):
        action.add_argument("-w", type=Path, required=True, dest="work", metavar="WORK")
    for action in (pilot, run, collect):
        action.add_argument(
            "--only", nargs="+", choices=PARTS, metavar="PART",
            help=f"parts of the study (default: all), of {', '.join(PARTS)}",
        )  # fmt: skip
    actions.add_parser("report", help="make the tables")
    _add_make(actions)
    arguments = parser.parse_args(command_line)
    if arguments.action == "make":
        return _make(parser, arguments)
    if arguments.action == "report":
        from benchmarks.where_gates_help.reporting import report

        return report(RESULTS)
    work = arguments.work.absolute()
    parts = chosen_parts(arguments.only)
    if arguments.action == "pilot":
        from benchmarks.where_gates_help.running import pilot as run_pilot

        return run_pilot(parts, work, arguments.data, arguments.processes)
    if arguments.action == "collect":
        from benchmarks.where_gates_help.collecting import collect as take

        take(parts, work, RESULTS)
        return 0
    if arguments.dry_run:
        for part in parts:
            known = len(collected_trainings(RESULTS, part)) if arguments.missing else 0
            print(
                f"{part.name}: {part.trainings - known} trainings of "
                f"{part.epochs * part.iterations} steps"
            )
        return 0
    from benchmarks.where_gates_help.running import run as run_study

    results = RESULTS if arguments.missing else None
    return run_study(parts, work, arguments.data, arguments.processes, arguments.steps, results)


def chosen_parts(names: list[str] | None) -> list[Part]:
    """Return the parts of these names, None for all, in the study's order."""
    return [part for name, part in PARTS.items() if names is None or name in names]


def _add_make(actions: argparse._SubParsersAction) -> None:
    make = actions.add_parser(
        "make", formatter_class=argparse.ArgumentDefaultsHelpFormatter, help="make one data set"
    )
    usual = Recipe()
    make.add_argument("-o", type=Path, required=True, dest="output", metavar="FOLDER")
    make.add_argument("--number", type=int, default=91, help="of the task")
    make.add_argument("--cases", type=int, default=20, help="for training and validation")
    make.add_argument("--seed", type=int, default=0)
    make.add_argument(
        "--foreground", type=float, default=usual.foreground, help="share of the voxels"
    )
    make.add_argument("--distractors", type=int, default=usual.distractors, help="in every image")
    make.add_argument(
        "--contrast", type=float, default=usual.contrast, help="of the shells; organs have 100"
    )
    make.add_argument("--noise", type=float, default=usual.noise, help="standard deviation")
    make.add_argument(
        "--shape", type=int, nargs=3, default=usual.shape, metavar=("Z", "Y", "X"), help="in voxels"
    )
    make.add_argument("--test_cases", type=int, default=0, help="with labels, in labelsTs")
    make.add_argument("--test_contrast", type=float, help="of these, if it is another")
    make.add_argument("--test_noise", type=float, help="likewise")


def _make(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    try:
        recipe = Recipe(
            arguments.foreground,
            arguments.distractors,
            arguments.contrast,
            arguments.noise,
            tuple(arguments.shape),
        )
        folder = write_distractors_task(
            arguments.output,
            recipe,
            arguments.cases,
            arguments.seed,
            number=arguments.number,
            test_cases=arguments.test_cases,
            test_contrast=arguments.test_contrast,
            test_noise=arguments.test_noise,
        )
    except ValueError as error:
        parser.error(str(error))
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.where_gates_help", main))
