"""Measures what our start-up file adds to every start of Python, in milliseconds.

    python benchmarks/startup.py [ROUNDS]

Prints medians: what importing our modules takes (`python -X importtime -c pass`), and a whole start
with the trainers registered and with NNUNET_ATTENTION_AUTOREGISTER=0, in turn (A B A B).
"""

import os
import re
import statistics
import subprocess
import sys
import time

from nnunet_attention.cli.exit_codes import exit_code_of

# Cumulative microseconds, including those of the package, which is imported within.
DOORWAY = re.compile(r"\|\s+(\d+) \|\s+nnunet_attention\.doorway$", re.MULTILINE)


def start(prefix: tuple[str, ...] = (), **variables: str) -> tuple[float, str]:
    """Return the milliseconds of one start, and what it wrote to stderr."""
    began = time.perf_counter()
    command = [sys.executable, *prefix, "-c", "pass"]
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return 1000 * (time.perf_counter() - began), done.stderr


def main(rounds: int = 40) -> None:
    """Print the table."""
    modules, switched_on, switched_off = [], [], []
    for _ in range(rounds):
        match = DOORWAY.search(start(("-X", "importtime"))[1])
        if match is None:
            sys.exit("the start-up file is not active here; run pip install . first")
        modules.append(int(match[1]) / 1000)
        switched_on.append(start()[0])
        switched_off.append(start(NNUNET_ATTENTION_AUTOREGISTER="0")[0])
    print(f"python {sys.version.split()[0]}, {rounds} rounds, medians")
    print(f"our modules at start-up        {statistics.median(modules):8.2f} ms")
    print(f"whole start, registering       {statistics.median(switched_on):8.2f} ms")
    print(f"whole start, opted out         {statistics.median(switched_off):8.2f} ms")


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.startup", lambda: main(*map(int, sys.argv[1:]))))
