"""Runs one of two benchmarks: `time`, see commands.py, or `plans`, see plans.py."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.documents import ROOT
from benchmarks.engines import commands, plans
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.files import read_json, write_json, write_text


def main() -> None:
    """Measure, and write a table and its data."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_subparsers(dest="what", required=True)
    timing = what.add_parser("time")
    timing.add_argument("model_folder", type=Path)
    timing.add_argument("images", type=Path)
    timing.add_argument("-f", nargs="+", default=["0"], dest="folds")
    timing.add_argument("-l", type=Path, dest="labels", help="label images, for Dice")
    timing.add_argument("--rounds", type=int, default=3)
    timing.add_argument("--seed", type=int, default=0)
    timing.add_argument("--disable_tta", action="store_true")
    timing.add_argument(
        "--only",
        nargs="+",
        choices=commands.VARIANTS,
        default=list(commands.VARIANTS),
        metavar="COMMAND",
        help=f"of {', '.join(map(repr, commands.VARIANTS))} (default: all)",
    )
    timing.add_argument("--name", default="commands", help="of the files that are written")
    every = what.add_parser("plans")
    every.add_argument("folder", type=Path)
    for command in (timing, every):
        command.add_argument(
            "-o", type=Path, default=ROOT / "benchmarks" / "results" / "engines", dest="output"
        )
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.what == "time":
        result = commands.measured(
            arguments.model_folder,
            arguments.images,
            arguments.folds,
            arguments.rounds,
            arguments.labels,
            arguments.seed,
            ("--disable_tta",) if arguments.disable_tta else (),
            arguments.only,
        )
        name, text = arguments.name, commands.table(result)
        write(arguments.output, name, result, text)
    else:
        path = arguments.output / "plans.json"
        rows: list[dict] = read_json(path)["rows"] if path.is_file() else []
        text = plans.table(rows)
        # Written after each network: a run takes long, and resumes where it stopped.
        for row in plans.all_compared(arguments.folder, rows.copy()):
            rows.append(row)
            text = plans.table(rows)
            write(arguments.output, "plans", {"rows": rows}, text)
    print(text)


def write(folder: Path, name: str, result: dict, text: str) -> None:
    """Write the numbers and their table."""
    write_json(folder / f"{name}.json", result)
    write_text(folder / f"{name}.md", text)


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.engines", main))
