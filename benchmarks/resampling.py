"""Measures resampling in torch against nnU-Net's functions, on one thread of a CPU or on a GPU.

    python -m benchmarks.resampling [--device cuda]

Both resample each kind of image and of logits in shuffled rounds; nnU-Net's logits are processed up
to their labels. Times are medians: of processor time on a CPU, which other work on a machine
affects least, and on a GPU of time on the clock, with images and results copied to it and back.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from benchmarks.documents import ROOT
from benchmarks.machine import machine
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.engines.resampling import resample
from nnunet_attention.files import write_json, write_text

OUTPUT = ROOT / "benchmarks" / "results" / "resampling"


@dataclass(frozen=True)
class Kind:
    """Describes what is resampled: an image to the network's grid, or logits to the image's."""

    name: str
    shape: tuple[int, int, int]
    new_shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    classes: int = 0


KINDS = (
    Kind("image, isotropic, finer", (60, 128, 128), (90, 180, 180), (1, 1, 1)),
    Kind("image, isotropic, coarser", (90, 180, 180), (60, 128, 128), (1, 1, 1)),
    Kind("image, coarse slices", (20, 180, 180), (30, 256, 256), (5, 1, 1)),
    Kind("logits of 2 classes, isotropic", (60, 128, 128), (90, 180, 180), (1, 1, 1), 2),
    Kind("logits of 2 classes, coarse slices", (20, 180, 180), (30, 256, 256), (5, 1, 1), 2),
    Kind("logits of 20 classes, isotropic", (48, 64, 64), (72, 96, 96), (1, 1, 1), 20),
)


def main() -> None:
    """Measure, and write a table and its data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", type=Path, default=OUTPUT, dest="output")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(arguments.device)
    rows = [measured(kind, arguments.rounds, arguments.seed, device) for kind in KINDS]
    arguments.output.mkdir(parents=True, exist_ok=True)
    text = table(rows)
    result = {"machine": machine(device), "rows": rows}
    write_json(arguments.output / f"{device.type}.json", result)
    write_text(arguments.output / f"{device.type}.md", text)
    print(text)


def measured(kind: Kind, rounds: int, seed: int, device: torch.device) -> dict:
    """Resample one kind in both ways, and compare the results."""
    generator = np.random.default_rng(seed)
    data = generator.normal(size=(kind.classes or 1, *kind.shape)).astype(np.float32)
    of_logits = kind.classes > 0
    arguments = (data, kind.new_shape, kind.spacing, kind.spacing, False, 1 if of_logits else 3)
    arguments += (0, None)
    names = {"background": 0, **{f"label {n}": n for n in range(1, kind.classes)}}
    labels = LabelManager(names, None) if of_logits else None
    ways: dict[str, Callable[[], np.ndarray]] = {
        "nnunet": partial(_by_nnunet, arguments, labels),
        "torch": partial(resample, *arguments, device=device, labels=labels),
    }
    # The result is an array of the CPU, for which the GPU has to finish.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results = {}
    # Run once first to make the matrices, which later images of equal sizes reuse.
    ways["torch"]()
    for _ in range(rounds):
        for name in generator.permutation(list(ways)):
            start = clock()
            results[name] = ways[name]()
            seconds[name].append(clock() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    differences = results["torch"] != results["nnunet"]
    return {
        **asdict(kind),
        "seconds": seconds,
        "ratio": medians["torch"] / medians["nnunet"],
        "differing_labels": int(differences.sum()) if of_logits else None,
        "largest_difference": None
        if of_logits
        else float(np.abs(results["torch"] - results["nnunet"]).max()),
    }


def _by_nnunet(arguments: tuple, labels: LabelManager | None) -> np.ndarray:
    resampled = resample_data_or_seg_to_shape(*arguments)
    return resampled if labels is None else labels.convert_logits_to_segmentation(resampled)


def table(rows: list[dict]) -> str:
    """Return the rows in Markdown."""
    lines = [
        "| | from | to | nnU-Net, s | torch, s | ratio | differs |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        of_labels, largest = row["differing_labels"], row["largest_difference"]
        differs = f"{largest:.0e}" if of_labels is None else f"{of_labels} labels"
        seconds = " | ".join(
            f"{statistics.median(row['seconds'][name]):.2f}" for name in ("nnunet", "torch")
        )
        shapes = " | ".join("x".join(map(str, row[name])) for name in ("shape", "new_shape"))
        lines.append(f"| {row['name']} | {shapes} | {seconds} | {row['ratio']:.2f} | {differs} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.resampling", main))
