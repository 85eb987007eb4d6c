"""Measures how many batches per second nnU-Net's data loading and augmentation give.

    python -m benchmarks.gpu.loading DATASET CONFIGURATION --workers 8 --device cuda -o FILE

Nothing is trained. A training step that is faster than the loading of a batch waits for the batch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from nnunet_attention.cli.exit_codes import exit_code_of


def main(command_line: list[str] | None = None) -> int:
    """Measure one number of workers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.loading")
    parser.add_argument("dataset")
    parser.add_argument("configuration")
    parser.add_argument("--workers", type=int, required=True, metavar="N")
    parser.add_argument("--batches", type=int, default=100, metavar="N", help="(default: 100)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("-o", type=Path, dest="output", required=True, metavar="FILE")
    arguments = parser.parse_args(command_line)
    os.environ["nnUNet_n_proc_DA"] = str(arguments.workers)  # noqa: SIM112 nnU-Net's name
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    from nnunet_attention.files import write_json

    trainer = get_trainer_from_args(
        arguments.dataset, arguments.configuration, 0, device=torch.device(arguments.device)
    )
    trainer.initialize()
    training, validation = trainer.get_dataloaders()
    try:
        found = measured(training, arguments.batches, in_advance(arguments.workers))
    finally:
        for loader in (training, validation):
            # With one process, nnU-Net has no worker to end.
            getattr(loader, "_finish", lambda: None)()
    found |= {"workers": arguments.workers, "cpus": len(os.sched_getaffinity(0))}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.output, found)
    return 0


def in_advance(workers: int) -> int:
    """Count the batches that nnU-Net's queues can hold, and those that its workers are making."""
    return 2 * max(6, workers // 2) + 2 * workers


def measured(loader: Iterator, batches: int, made: int, clock=time.perf_counter) -> dict:
    """Measure batches per second once those that were made in advance are used up."""
    for _ in range(made):
        next(loader)
    seconds = []
    began = last = clock()
    for _ in range(batches):
        next(loader)
        now = clock()
        seconds.append(now - last)
        last = now
    return {
        "batches": batches,
        "batches_per_second": batches / (last - began),
        "median_seconds": statistics.median(seconds),
    }


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.gpu.loading", main))
