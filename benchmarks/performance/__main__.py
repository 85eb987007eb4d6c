"""Measures networks with and without gates in turn, and writes JSON and a Markdown table.

    python -m benchmarks.performance [--device cuda] [--cases hippocampus pancreas resenc] [-o DIR]

On a CPU the plans are reduced to steps of a second or two; on a GPU they are nnU-Net's in full,
with mixed precision and torch.compile as nnU-Net trains. Each case is written when it is done; a
restarted command continues with the others.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from nnunet_attention.cli.exit_codes import exit_code_of

RESULTS = Path(__file__).resolve().parents[1] / "results" / "performance"


def main(command_line: list[str] | None = None) -> int:
    """Measure the missing cases, then write the table."""
    arguments = _arguments(command_line)
    # Code that an earlier run has compiled would make the first step look quick.
    os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
    import torch

    from benchmarks.machine import machine
    from benchmarks.performance.allocator import VARIABLES
    from benchmarks.performance.cases import FULL, REDUCED
    from benchmarks.performance.measure import measure_case
    from benchmarks.performance.report import markdown
    from benchmarks.performance.variants import PLAIN, VARIANTS, runnable
    from nnunet_attention.files import read_json, write_json, write_text

    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("--device cuda: torch finds no GPU here; give --device cpu", file=sys.stderr)
        return 2
    folder = arguments.output or RESULTS / device.type
    full = arguments.full or device.type == "cuda"
    variants, reasons = runnable(device)
    unknown = set(arguments.networks or ()) - {variant.name for variant in VARIANTS}
    if unknown:
        names = ", ".join(repr(variant.name) for variant in VARIANTS)
        print(f"--networks {', '.join(sorted(unknown))}: choose from {names}", file=sys.stderr)
        return 2
    for reason in reasons:
        print(f"left out: {reason}", file=sys.stderr)
    if arguments.networks:
        # Ratios need the baselines.
        names = {PLAIN, *arguments.networks}
        names |= {variant.baseline for variant in variants if variant.name in names}
        variants = [variant for variant in variants if variant.name in names]
    words = sys.argv[1:] if command_line is None else command_line
    # They change all times, so the table has to show them.
    settings = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    command = shlex.join([*settings, "python", "-m", "benchmarks.performance", *words])
    folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.cases:
        path = folder / f"{name}.json"
        if path.is_file() and not arguments.again:
            print(f"{path} exists; --again measures it again", file=sys.stderr)
            continue
        case = (FULL if full else REDUCED)[name]
        if arguments.smallest:
            case = case.smallest()
        compiled, gates = device.type == "cuda", not arguments.no_gates
        record = measure_case(case, variants, device, arguments.rounds, compiled, gates)
        write_json(path, {**record, "machine": {**machine(device), "command": command}})
    records = [read_json(path) for name in FULL if (path := folder / f"{name}.json").is_file()]
    table = markdown(records)
    write_text(folder / "table.md", table)
    print(table)
    return 0


def _arguments(command_line: list[str] | None) -> argparse.Namespace:
    cases = ("hippocampus", "pancreas", "resenc")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.performance", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: cpu)")
    parser.add_argument(
        "--cases", nargs="+", choices=cases, default=cases, help="configurations (default: all)"
    )
    parser.add_argument(
        "--networks", nargs="+", metavar="NAME", help="as in the tables (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="(default: 15)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="plans in full size, on a CPU too")
    size.add_argument("--smallest", action="store_true", help="smallest patches, to try it out")
    parser.add_argument("--no-gates", action="store_true", help="networks only")
    parser.add_argument("--again", action="store_true", help="measure again what has been measured")
    parser.add_argument("-o", type=Path, dest="output", metavar="DIR", help="for JSON and table")
    return parser.parse_args(command_line)


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.performance", main))
