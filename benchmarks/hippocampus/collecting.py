"""Takes from finished folds what a report needs, and no weights: summaries, progress, pictures."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

import torch
from PIL import Image

from benchmarks.hippocampus.schedules import (
    ATTENTION,
    COMPARED,
    CONTROLS,
    DATASET,
    Schedule,
    environment,
    folder_of,
)
from benchmarks.hippocampus.training import BIN, folders
from benchmarks.machine import machine
from nnunet_attention.evaluation.costs import read_cost
from nnunet_attention.files import read_json, write_json
from nnunet_attention.weights.checkpoint import load_checkpoint

# What nnU-Net's log keeps of every epoch.
_LOGGED = ("train_losses", "val_losses", "mean_fg_dice", "ema_fg_dice", "lrs")

_WIDTH = 1200


def collect(schedule: Schedule, work: Path, results: Path) -> int:
    """Writes results/MODEL/..., results/maps and results/evolution; on the machine of the run.

    Ends the program, with nothing written, if a training was of another length.
    """
    logs = {name: _logs(schedule, model_folder(schedule, work, name)) for name in COMPARED}
    dataset_json = read_json(work / "nnUNet_raw" / DATASET / "dataset.json")
    needed = {key: dataset_json[key] for key in ("labels", "file_ending")}
    write_json(_made(results / "labels" / DATASET) / "dataset.json", needed)
    runs: dict[str, dict] = {}
    for name in filter(logs.get, COMPARED):
        model = model_folder(schedule, work, name)
        target = results / folder_of(name) / DATASET / schedule.configuration
        runs[name] = {fold: _fold(model, fold, log, target) for fold, log in logs[name].items()}
    record = {"schedule": vars(schedule), "machine": machine(torch.device(schedule.device))}
    write_json(results / "runs.json", {**record, "runs": runs})
    _pictures(schedule, work, results)
    return 0


def model_folder(schedule: Schedule, work: Path, name: str) -> Path:
    """nnU-Net's folder of one of the models that are compared."""
    trained = Path(folders(work, controls=name in CONTROLS)["nnUNet_results"], DATASET)
    return trained / f"{COMPARED[name]}__nnUNetPlans__{schedule.configuration}"


def _logs(schedule: Schedule, model: Path) -> dict[str, dict]:
    """nnU-Net's logs of the folds that were trained and validated."""
    logs = {}
    for fold in schedule.folds:
        folder = model / f"fold_{fold}"
        if (folder / "validation" / "summary.json").is_file():
            logs[fold] = load_checkpoint(folder / "checkpoint_final.pth")["logging"]
            epochs = len(logs[fold]["epoch_end_timestamps"])
            if epochs != schedule.epochs:
                sys.exit(
                    f"{folder} was trained for {epochs} epochs; wanted {schedule.epochs}. Give "
                    "--epochs as for the training"
                )
    return logs


def _fold(model: Path, fold: str, log: dict, target: Path) -> dict:
    source = model / f"fold_{fold}"
    summary = read_json(source / "validation" / "summary.json")
    for case in summary["metric_per_case"]:
        # Folders of the machine that it was computed on tell nothing.
        for file in ("prediction_file", "reference_file"):
            case[file] = Path(case[file]).name
    write_json(_made(target / f"fold_{fold}" / "validation") / "summary.json", summary)
    begins, ends = log["epoch_start_timestamps"], log["epoch_end_timestamps"]
    seconds = [end - begin for begin, end in zip(begins, ends, strict=True)]
    write_json(
        target / f"fold_{fold}" / "progress.json",
        {
            "seconds": [round(one, 2) for one in seconds],
            **{name: [float(value) for value in log[name]] for name in _LOGGED},
        },
    )
    return {
        "median_epoch_seconds": median(seconds),
        "hours": sum(seconds) / 3600,
        "validation_seconds_per_case": read_cost(model, [fold]).seconds_per_case,
    }


def _pictures(schedule: Schedule, work: Path, results: Path) -> None:
    """The evolution of the coefficients, and the maps of the best, median and worst case."""
    fold = schedule.folds[0]
    model = model_folder(schedule, work, ATTENTION)
    variables = environment(schedule, folders(work) | {"PATH": str(BIN)})
    chosen = best_median_worst(read_json(model / f"fold_{fold}" / "validation" / "summary.json"))
    raw = work / "nnUNet_raw" / DATASET
    with tempfile.TemporaryDirectory() as scratch:
        _run(["evolution", str(model / f"fold_{fold}"), "-o", scratch], variables)
        for picture in Path(scratch).glob("*.png"):
            small_copy(picture, results / "evolution" / picture.name)
        images = _made(Path(scratch, "images"))
        for case in chosen.values():
            shutil.copy(raw / "imagesTr" / f"{case}_0000.nii.gz", images)
        _run(
            [
                *("maps", "-i", str(images), "-o", str(Path(scratch, "maps")), "-m", str(model)),
                *("-f", fold, "-gt", str(raw / "labelsTr"), "-device", schedule.device),
            ],
            variables,
        )
        for which, case in chosen.items():
            found = next(Path(scratch, "maps").rglob(f"{case}*.png"))
            small_copy(found, results / "maps" / f"{which}_{case}.png")


def small_copy(picture: Path, target: Path) -> None:
    """A picture for a document, at most 1200 pixels wide."""
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    if image.width > _WIDTH:
        height = round(image.height * _WIDTH / image.width)
        image = image.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    image.save(_made(target.parent) / target.name, optimize=True)


def best_median_worst(summary: dict) -> dict[str, str]:
    """Cases by their mean Dice over the labels; of an even number the lower median."""
    dice = {
        Path(case["prediction_file"]).name.removesuffix(".nii.gz"): mean(
            values["Dice"] for values in case["metrics"].values()
        )
        for case in summary["metric_per_case"]
    }
    ordered: Sequence[str] = sorted(dice, key=lambda case: (dice[case], case))
    return {
        "best": ordered[-1],
        "median": ordered[(len(ordered) - 1) // 2],
        "worst": ordered[0],
    }


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(arguments: list[str], variables: dict[str, str]) -> None:
    subprocess.run([BIN / "nnunet-attention", *arguments], env=variables, check=True)
