"""Damages files in thousands of ways and runs the commands that read them, in this process.

    python -m benchmarks.fuzz -n 2000 --seed 0 -o FILE.json

After each input, nothing in the file may have been executed, the command must have succeeded or
failed with a one-line message, and no file may have been changed or left half written. Otherwise
the exit code is 1, and FILE.json says what happened, by cause. `tests/fuzz/` holds the damages and
the checks, and each test runs a few of them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fuzz.harness import Fuzzer, counted
from tqdm import tqdm

from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.files import write_json
from nnunet_attention.versions import versions_of


def main(command_line: list[str] | None = None) -> int:
    """Run all inputs, and print and write the counts."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("-n", type=int, default=2000, dest="count", help="(default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("-o", type=Path, dest="output", metavar="FILE.json")
    arguments = parser.parse_args(command_line)
    begin = time.monotonic()
    # Output of the commands and of libraries is captured; this copy still writes to the terminal.
    with os.fdopen(os.dup(2), "w") as terminal, tempfile.TemporaryDirectory() as root:
        fuzzer = Fuzzer(Path(root), arguments.seed)
        fuzzer.check_undamaged()
        with tqdm(total=arguments.count, unit="input", file=terminal) as bar:
            failures = fuzzer.run(arguments.count, bar.update)
    causes = counted(failures)
    record = {
        "inputs": arguments.count,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - begin),
        "runs": {" ".join(key): count for key, count in fuzzer.runs.items()},
        "refused": dict(fuzzer.refused),
        "failures": len(failures),
        "causes": causes,
        "versions": versions_of("nnunetv2", "numpy", "SimpleITK", "torch"),
    }
    if arguments.output is not None:
        write_json(arguments.output, record)
    for command in sorted(fuzzer.refused):
        runs = sum(count for (name, _), count in fuzzer.runs.items() if name == command)
        print(f"{command}: {runs} runs, {fuzzer.refused[command]} refused")
    for cause in causes:
        print(
            f"{cause['count']:5d}  {cause['kind']} in {cause['detail']}: "
            f"{', '.join(cause['commands'])} of {', '.join(cause['files'])}; "
            f"input {cause['example']['number']}: {cause['example']['damage']}"
        )
    print(f"{arguments.count} inputs, {len(failures)} failures, {record['seconds']} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.fuzz", main))
