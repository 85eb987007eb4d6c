"""Runs missing tests, tables and trainings on a GPU, the most valuable first, until time is up.

    python -m benchmarks.gpu run -w WORK [--data Task04_Hippocampus] [--minutes N]
    python -m benchmarks.gpu report -w WORK
    python -m benchmarks.gpu pack -o FOLDER [--data Task04_Hippocampus] [--python 3.12]
    python -m benchmarks.gpu install FOLDER -w WORK

`run` works in WORK and resumes where it stopped, however it was stopped; at its end it reports.
`report` puts the results into the documents; for a CPU it writes WORK/report.md instead. `pack`
gathers everything that a machine without network needs, and `install` installs it there.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from nnunet_attention.cli.exit_codes import exit_code_of

_TRAINING_MINUTES = 120.0
# Reserved, out of the given minutes, for the final report.
_REPORT_SECONDS = 15.0
_SHARE_OF_TIME_FOR_TRAININGS = 0.9


def main(command_line: list[str] | None = None) -> int:
    """Run one of the four commands."""
    arguments = _arguments(command_line)
    try:
        if arguments.action == "run":
            return _run(arguments)
        if arguments.action == "report":
            from benchmarks.gpu.reporting import report
            from benchmarks.gpu.work import Work

            return report(Work(arguments.work.absolute()))
        if arguments.action == "pack":
            from benchmarks.gpu.packing import pack

            return pack(arguments)
        from benchmarks.gpu.installing import install

        return install(arguments.folder, arguments.work, arguments.pip_options)
    except KeyboardInterrupt:
        print("stopped; run it again to continue where it stopped", file=sys.stderr)
        return 130


def _arguments(command_line: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__.split("\n", 1)[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="measure what is missing")
    report = actions.add_parser("report", help="write tables of what was measured")
    for one in (run, report):
        one.add_argument(
            *("-w", "--work"), type=Path, default=Path("gpu"), metavar="WORK",
            help="folder for everything (default: gpu)",
        )  # fmt: skip
    run.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="(default: cuda)")
    run.add_argument(
        "--minutes", type=_positive, metavar="N", help="stop within N minutes (default: no limit)"
    )
    run.add_argument(
        "--training-minutes", type=_positive, metavar="N",
        help="for the first two trainings together, which choose the epochs of all "
        f"(default: what is left of --minutes; without, {_TRAINING_MINUTES:.0f})",
    )  # fmt: skip
    run.add_argument(
        "--data", type=Path, metavar="FOLDER",
        help="task folder of the Medical Segmentation Decathlon, such as Task04_Hippocampus",
    )  # fmt: skip
    from benchmarks.gpu.installing import add_install_arguments
    from benchmarks.gpu.packing import add_pack_arguments

    add_pack_arguments(actions.add_parser("pack", help="gather what an offline machine needs"))
    add_install_arguments(actions.add_parser("install", help="install what was packed"))
    return parser.parse_args(command_line)


def _positive(text: str) -> float:
    from nnunet_attention.cli.numbers import number_or_nan

    minutes = number_or_nan(text)
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return minutes


def _run(arguments: argparse.Namespace) -> int:
    import time

    began = time.monotonic()
    from benchmarks.gpu.probing import probe
    from benchmarks.gpu.reporting import report
    from benchmarks.gpu.running import run_stages
    from benchmarks.gpu.stages import ROOT, all_stages, on_gpu, reduced
    from benchmarks.gpu.work import Work
    from nnunet_attention.errors import CommandError

    work = Work(arguments.work.absolute())
    data = arguments.data.absolute() if arguments.data else None
    if data and not (data / "dataset.json").is_file():
        raise CommandError(f"--data {data}: there is no dataset.json in it")
    # The commands of the stages find `benchmarks` there.
    os.chdir(ROOT)
    machine = probe(arguments.device)
    others = {one["machine"]["device"] for one in work.finished().values()} - {arguments.device}
    if others:
        raise CommandError(
            f"-w {work.root}: its results were measured with --device {others.pop()}; give that "
            "device, or another folder"
        )
    cpus = len(os.sched_getaffinity(0))
    settings = on_gpu(cpus) if arguments.device == "cuda" else reduced(cpus)

    def seconds_left() -> float:
        if arguments.minutes is None:
            return float("inf")
        return 60 * arguments.minutes - _REPORT_SECONDS - (time.monotonic() - began)

    def training_seconds() -> float:
        if arguments.training_minutes is not None:
            return 60 * arguments.training_minutes
        if arguments.minutes is None:
            return 60 * _TRAINING_MINUTES
        return _SHARE_OF_TIME_FOR_TRAININGS * seconds_left()

    def say(text: str) -> None:
        print(f"[{(time.monotonic() - began) / 60:5.1f} min] {text}", flush=True)

    complete = run_stages(
        work,
        lambda finished: all_stages(work, settings, finished, training_seconds(), data),
        machine,
        seconds_left,
        say,
    )
    say("everything is done" if complete else "not everything is done; run it again to continue")
    return report(work)


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.gpu", main))
