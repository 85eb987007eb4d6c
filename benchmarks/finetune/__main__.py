"""Fine-tunes on the Decathlon's Hippocampus task, with and without gates, and reports the result.

    python -m benchmarks.finetune train Task04_Hippocampus -w WORK [--bfloat16]
    python -m benchmarks.finetune report -w WORK

`train` converts, divides, plans and trains in WORK; run again, it continues where it stopped.
`report` copies the results, and writes their tables, to benchmarks/results/finetune, from where
`python -m benchmarks.documents` puts them into docs/pretrained.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.documents import ROOT
from benchmarks.finetune import training
from benchmarks.finetune.by_training import by_training_table, trainings_of
from benchmarks.finetune.reporting import table_of
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.files import json_text, read_json, write_all

RESULTS = ROOT / "benchmarks" / "results" / "finetune"


def main(command_line: Sequence[str] | None = None) -> int:
    """Train or report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.finetune", description=__doc__.split("\n", 1)[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train")
    train.add_argument(
        "data",
        type=Path,
        help="folder Task04_Hippocampus of the Decathlon, or Dataset004_Hippocampus",
    )
    train.add_argument("-np", type=int, default=2, dest="processes", metavar="N")
    train.add_argument(
        "--repeats",
        type=int,
        default=2,
        metavar="N",
        help="trainings of each network (default: 2); more can be added later",
    )
    train.add_argument("--bfloat16", action="store_true", help="train in bfloat16")
    report = actions.add_parser("report")
    for action in (train, report):
        action.add_argument("-w", type=Path, required=True, dest="work", metavar="WORK")
    arguments = parser.parse_args(command_line)
    work = arguments.work.absolute()
    if arguments.action == "train":
        return training.train(
            arguments.data, work, arguments.bfloat16, arguments.processes, arguments.repeats
        )
    report_on(work)
    return 0


def report_on(work: Path) -> None:
    """Keep the results of the experiment in a folder, and their tables."""
    record = read_json(training.experiment(work) / "table.json")
    texts = {"table.json": json_text(record, indent=1), "table.md": table_of(record)}
    target = record["results"][0]["setting"].split()[0]
    trainings = trainings_of(work, target)
    texts["trainings.json"] = json_text({"trainings": trainings}, indent=1)
    texts["trainings.md"] = by_training_table(trainings)
    for path in write_all(RESULTS, texts):
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.finetune", main))
