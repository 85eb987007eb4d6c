"""What fresh memory costs a training on a CPU, and what settings of allocators gain.

    python -m benchmarks.performance.allocator [--rounds 3] [--steps 4] [-o DIR]

By default glibc takes large tensors from the kernel and gives them back each time, and the kernel
fills every page with zeros again. Processes of their own, one for each setting, take steps of stock
nnU-Net on the Hippocampus plan in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.performance.timing import median, ratio

# Variables of the environment, by what they do.
SETTINGS = {
    "default": {},
    "default again (control)": {},
    "glibc keeps memory": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"},
    "glibc asks for huge pages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "torch asks for huge pages": {"THP_MEM_ALLOC_ENABLE": "1"},
}
VARIABLES = tuple(name for setting in SETTINGS.values() for name in setting)
ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Prints medians and ratios."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.performance.allocator", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="of each process, one more to warm up")
    parser.add_argument("-o", type=Path, dest="output", metavar="DIR")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_steps(arguments.steps)))
        return 0
    from nnunet_attention.files import write_json, write_text

    record = {name: [] for name in SETTINGS}
    for _ in range(arguments.rounds):
        for name, runs in record.items():
            runs.append(_child(arguments.steps, SETTINGS[name]))
    lines = table(record)
    if arguments.output:
        write_json(arguments.output / "allocator.json", record)
        write_text(arguments.output / "allocator.md", lines)
    print(lines)
    same = len({run["loss"] for runs in record.values() for run in runs}) == 1
    print(f"loss after the last step: {'the same' if same else 'NOT THE SAME'} in all processes")
    return 0 if same else 1


def table(record: dict) -> str:
    """Medians, and ratios to the default, as Markdown."""
    lines = [
        "| allocator | step | of the default | memory of the process |",
        "|---|---:|---:|---:|",
    ]
    for name, runs in record.items():
        seconds, peaks = ([run[what] for run in runs] for what in ("seconds", "peak_gib"))
        against = ratio(seconds, [run["seconds"] for run in record["default"]])
        lines.append(
            f"| {name} | {median(seconds).value:.2f} s | {against.value:.3f} "
            f"({against.low:.3f} to {against.high:.3f}) | {median(peaks).value:.2f} GiB |"
        )
    return "\n".join(lines) + "\n"


def _child(steps: int, settings: dict[str, str]) -> dict:
    command = [sys.executable, "-m", "benchmarks.performance.allocator", "--child"]
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    done = subprocess.run(
        [*command, "--steps", str(steps)],
        env={**environment, **settings}, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def _steps(number: int) -> dict:
    import statistics

    import torch

    from benchmarks.performance.cases import HIPPOCAMPUS
    from benchmarks.performance.steps import Model
    from benchmarks.performance.variants import VARIANTS

    device = torch.device("cpu")
    torch.manual_seed(0)
    model = Model(VARIANTS[0], HIPPOCAMPUS, device, compiled=False)
    patch, targets = HIPPOCAMPUS.patch(device), HIPPOCAMPUS.targets(device)
    seconds = []
    for _ in range(number + 1):
        began = time.perf_counter()
        model.train_step(patch, targets)
        seconds.append(time.perf_counter() - began)
    with torch.no_grad():
        loss = model.forward_loss(patch, targets).item()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": statistics.median(seconds[1:]), "peak_gib": peak / 2**30, "loss": loss}


if __name__ == "__main__":
    sys.exit(main())
