"""Measures what fresh memory costs a training on a CPU, and what our trainers gain by keeping it.

    python -m benchmarks.performance.allocator [--rounds 3] [--steps 3] [-o DIR]

By default glibc takes the memory of large tensors from the kernel and gives it back each time, and
the kernel fills every page with zeros again. Separate processes, one for each setting, take steps
on the Hippocampus plan in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmarks.machine import machine, told
from benchmarks.performance import cases
from benchmarks.performance.steps import Model
from benchmarks.performance.timing import median, ratio
from benchmarks.performance.variants import ATTENTION, PLAIN, VARIANTS
from nnunet_attention.allocator import KEEPING, keep_freed_memory
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.files import write_json, write_text


@dataclass(frozen=True)
class Setting:
    """Describes what a process trains, and how it allocates.

    Attributes:
        network: name of the variant.
        variables: its environment variables.
        keeps: whether it keeps freed memory, as our trainers do.
    """

    network: str = PLAIN
    variables: dict[str, str] = field(default_factory=dict)
    keeps: bool = False


DEFAULT = "stock nnU-Net"
SETTINGS = {
    DEFAULT: Setting(),
    "stock nnU-Net again (control)": Setting(),
    "stock nnU-Net, glibc keeps memory": Setting(variables=KEEPING),
    "stock nnU-Net, glibc asks for huge pages": Setting(
        variables={"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    ),
    "stock nnU-Net, torch asks for huge pages": Setting(variables={"THP_MEM_ALLOC_ENABLE": "1"}),
    "attention U-Net": Setting(ATTENTION),
    "attention U-Net, as its trainer allocates": Setting(ATTENTION, keeps=True),
}
VARIABLES = tuple(name for setting in SETTINGS.values() for name in setting.variables)
ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.performance.allocator", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="of each process, one more to warm up")
    parser.add_argument("-o", type=Path, dest="output", metavar="DIR")
    parser.add_argument("--child", choices=SETTINGS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_steps(SETTINGS[arguments.child], arguments.steps)))
        return 0
    runs = {name: [] for name in SETTINGS}
    for _ in range(arguments.rounds):
        for name, of_setting in runs.items():
            of_setting.append(_child(arguments.steps, name))
    about = machine(torch.device("cpu"))
    lines = f"{told(about)}.\n\n{table(runs)}"
    if arguments.output:
        write_json(arguments.output / "allocator.json", {"machine": about, "runs": runs})
        write_text(arguments.output / "allocator.md", lines)
    print(lines)
    same = all(
        len(
            {
                run["loss"]
                for name in runs
                for run in runs[name]
                if SETTINGS[name].network == network
            }
        )
        == 1
        for network in (PLAIN, ATTENTION)
    )
    told_same = "the same" if same else "NOT THE SAME"
    print(f"loss after the last step: {told_same} in all processes of a network")
    return 0 if same else 1


def table(record: dict) -> str:
    """Show medians, and ratios to the default, as Markdown."""
    lines = [
        "| network and allocator | step | of stock nnU-Net | memory of the process |",
        "|---|---:|---:|---:|",
    ]
    for name, runs in record.items():
        seconds, peaks = ([run[what] for run in runs] for what in ("seconds", "peak_gib"))
        against = ratio(seconds, [run["seconds"] for run in record[DEFAULT]])
        lines.append(
            f"| {name} | {median(seconds).value:.2f} s | {against.value:.3f} "
            f"({against.low:.3f} to {against.high:.3f}) | {median(peaks).value:.2f} GiB |"
        )
    return "\n".join(lines) + "\n"


def _child(steps: int, name: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.performance.allocator", "--child", name]
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    done = subprocess.run(
        [*command, "--steps", str(steps)],
        env={**environment, **SETTINGS[name].variables},
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def _steps(setting: Setting, number: int) -> dict:
    if setting.keeps and not keep_freed_memory():
        sys.exit(
            "freed memory cannot be kept here: this needs glibc, and no variables that forbid it"
        )
    device = torch.device("cpu")
    torch.manual_seed(0)
    variant = next(each for each in VARIANTS if each.name == setting.network)
    case = cases.HIPPOCAMPUS
    model = Model(variant, case, device, compiled=False)
    patch, targets = case.patch(device), case.targets(device)
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
    sys.exit(exit_code_of("python -m benchmarks.performance.allocator", main))
