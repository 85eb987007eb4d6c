"""Measures whole commands that predict a folder: nnU-Net's, and ours with each engine.

    python -m benchmarks.engines time MODEL_FOLDER IMAGES [-f 0] [-l LABELS] [-o FOLDER]

Each round runs all commands in an order of its own; nnU-Net's runs twice in a round, as a control:
any difference there is noise. By default it starts three processes each for preprocessing and for
export; it is run with one of each, too, which takes less memory. Before the first round nnU-Net's
command and each of ours run once, so that files are in memory and networks exported. Run nothing
else on the machine.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import SimpleITK
import torch

from benchmarks.machine import machine, told
from nnunet_attention.nnunet.dataset_json import DATASET_JSON, read_dataset_json
from nnunet_attention.versions import versions_of

BIN = Path(sys.executable).parent
STOCK, CONTROL = "nnUNetv2_predict", "nnUNetv2_predict again (control)"
LEAN = "nnUNetv2_predict -npp 1 -nps 1"
VARIANTS: dict[str, tuple[str, ...]] = {
    STOCK: (),
    CONTROL: (),
    LEAN: ("-npp", "1", "-nps", "1"),
    "torch": ("--engine", "torch"),
    "onnxruntime": ("--engine", "onnxruntime"),
    "openvino": ("--engine", "openvino"),
    "torch bf16": ("--engine", "torch", "--precision", "bf16"),
    "openvino bf16": ("--engine", "openvino", "--precision", "bf16"),
}
_SAMPLE_SECONDS = 0.5


def measured(
    model_folder: Path,
    images: Path,
    folds: list[str],
    rounds: int,
    labels: Path | None = None,
    seed: int = 0,
    flags: tuple[str, ...] = (),
    chosen: Sequence[str] = tuple(VARIANTS),
) -> dict:
    """Run all commands, and return their seconds, peaks of memory and differences.

    Args:
        model_folder: the model.
        images: the folder of images.
        folds: the folds.
        rounds: how often each command runs, besides the first time.
        labels: label images, for Dice; None for none.
        seed: seed of the order in each round.
        flags: options for all commands, such as --disable_tta.
        chosen: the commands; nnU-Net's, which the others are compared with, comes by itself.
    """
    variants = [name for name in VARIANTS if name in (STOCK, CONTROL, *chosen)]
    common = ["-i", str(images), "-m", str(model_folder), "-f", *folds, "-device", "cpu"]
    common += ["--disable_progress_bar", *flags]
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    peaks: dict[str, list[float]] = {name: [] for name in variants}
    shuffle = random.Random(seed)
    with tempfile.TemporaryDirectory() as work:
        outputs = {name: Path(work, str(number)) for number, name in enumerate(variants)}
        order = list(variants)
        for round_number in range(rounds + 1):
            shuffle.shuffle(order)
            for name in order:
                if name in (CONTROL, LEAN) and not round_number:
                    continue
                output = outputs[name]
                taken, peak = _run(_command(name), [*common, "-o", str(output)])
                print(f"round {round_number}: {name} {taken:.1f} s", file=sys.stderr, flush=True)
                if round_number:
                    seconds[name].append(taken)
                    peaks[name].append(peak)
        ending = read_dataset_json(model_folder / DATASET_JSON)["file_ending"]
        compared = {
            name: compare(outputs[STOCK], outputs[name], labels, ending) for name in variants
        }
    return {
        "cases": len(list(outputs_of(images))),
        "rounds": rounds,
        "seconds": seconds,
        "peak_bytes": peaks,
        "compared": compared,
        "model": f"{model_folder.parent.name}, {model_folder.name}",
        "flags": list(flags),
        "machine": machine(torch.device("cpu")),
        "versions": versions_of("openvino", "onnxruntime", "onnx", "onnxscript"),
    }


def outputs_of(folder: Path):
    """Go through the first channel of each case."""
    return folder.glob("*_0000.*")


def compare(reference: Path, predicted: Path, labels: Path | None, ending: str) -> dict:
    """Compare segmentations with those of the reference, and their Dice if there are labels.

    Cases whose truth holds background only, which have no Dice, count as voxels.
    """
    differing = voxels = 0
    differences = []
    paths = sorted(reference.glob(f"*{ending}"))
    if not paths:
        raise RuntimeError(f"{reference} holds no segmentation *{ending} to compare with")
    for path in paths:
        expected, segmentation = _read(path), _read(predicted / path.name)
        differing += int((expected != segmentation).sum())
        voxels += expected.size
        if labels is not None:
            truth = _read(labels / path.name)
            if not (truth > 0).any():
                continue
            differences.append(mean_dice(segmentation, truth) - mean_dice(expected, truth))
    result: dict = {"differing_voxels": differing, "voxels": voxels}
    if differences:
        result["dice_difference"] = float(np.mean(differences))
        result["dice_interval"] = bootstrap_interval(differences)
    return result


def mean_dice(segmentation: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean Dice over the labels of the truth."""
    values = []
    for label in np.unique(truth[truth > 0]):
        first, second = segmentation == label, truth == label
        values.append(2 * float((first & second).sum()) / float(first.sum() + second.sum()))
    return float(np.mean(values))


def bootstrap_interval(values: list[float], draws: int = 10_000) -> list[float]:
    """Return the 95 % interval of the mean, over cases drawn with replacement."""
    generator = np.random.default_rng(0)
    means = generator.choice(values, (draws, len(values))).mean(1)
    return [float(bound) for bound in np.percentile(means, (2.5, 97.5))]


def table(result: dict) -> str:
    """Draw the medians, and each round's share of nnU-Net's seconds, as a table in Markdown."""
    seconds, peaks = result["seconds"], result["peak_bytes"]
    stock, stock_peak = seconds[STOCK], statistics.median(peaks[STOCK])
    cases = f"{result['cases']} case{'s' * (result['cases'] != 1)}"
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        f"{result['model']}: {cases}{''.join(f', {flag}' for flag in result['flags'])}, "
        f"{result['rounds']} rounds. {told(result['machine'])}; {versions}.",
        "",
        "| | s per case | share of nnU-Net's | by round | peak memory | differing voxels | Dice |",
        "|---|---:|---:|---|---:|---:|---|",
    ]
    for name, taken in seconds.items():
        compared = result["compared"][name]
        dice = ""
        if "dice_difference" in compared:
            low, high = compared["dice_interval"]
            dice = f"{compared['dice_difference']:+.5f} ({low:+.5f} to {high:+.5f})"
        # In a round all commands met the same machine.
        shares = [one / reference for one, reference in zip(taken, stock, strict=True)]
        lines.append(
            f"| {name} | {statistics.median(taken) / result['cases']:.2f} | "
            f"{statistics.median(shares):.2f} | "
            f"{', '.join(f'{share:.2f}' for share in shares)} | "
            f"{statistics.median(peaks[name]) / stock_peak:.2f} | "
            f"{compared['differing_voxels'] / compared['voxels']:.1e} | {dice} |"
        )
    return "\n".join(lines) + "\n"


def _command(name: str) -> list[str]:
    if name in (STOCK, CONTROL, LEAN):
        return [str(BIN / "nnUNetv2_predict_from_modelfolder"), *VARIANTS[name]]
    return [str(BIN / "nnunet-attention"), "predict", *VARIANTS[name]]


def _run(command: list[str], arguments: list[str]) -> tuple[float, float]:
    """Run a command; return its seconds and its peak memory, including that of its children."""
    with tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, *arguments], stdout=subprocess.DEVNULL, stderr=errors, text=True
        )
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SAMPLE_SECONDS)
        seconds = time.perf_counter() - began
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{errors.read()[-2000:]}")
    return seconds, peak


def _memory(pid: int) -> float:
    """Sum the proportional set sizes of a process and its children, which share pages."""
    total = 0.0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total


def _read(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
