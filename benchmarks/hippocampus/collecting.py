"""Copies from finished folds what a report needs: summaries, progress and pictures, no weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median

import torch
from PIL import Image

from benchmarks.hippocampus.schedules import (
    IDENTITY,
    Schedule,
    training_environment,
)
from benchmarks.hippocampus.training import (
    MACHINE_JSON,
    collected_model,
    folders,
    trained_model,
)
from benchmarks.machine import machine
from benchmarks.preparation import BIN
from nnunet_attention.evaluation.leaderboard.costs import read_cost
from nnunet_attention.files import read_json, write_json
from nnunet_attention.nnunet.checkpoints import FINAL
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.model_folders import fold_folder, validation_summary
from nnunet_attention.nnunet.splits import SPLITS_FILE
from nnunet_attention.nnunet.summary_json import case_name
from nnunet_attention.weights.checkpoint import load_checkpoint

# The values that nnU-Net's log keeps of every epoch.
_LOGGED = ("train_losses", "val_losses", "mean_fg_dice", "ema_fg_dice", "lrs")

_WIDTH = 1200


def collect(schedule: Schedule, work: Path, results: Path) -> int:
    """Add finished folds to results/VARIANT/seed_N/..., with the pictures of one model.

    Results of other runs, collected before, stay. A run whose training noted no machine is taken
    for one of this machine.

    The program ends, with nothing written, if no fold is finished, if a training was of another
    length, or if the results are of another schedule.
    """
    logs = {run: _logs(schedule, trained_model(schedule, work, *run)) for run in schedule.runs}
    if not any(logs.values()):
        sys.exit(
            f"{work} has no finished fold of the schedule {schedule.name}; train one first, or "
            "give the -w and --schedule of the training"
        )
    dataset_json = read_json(work / "nnUNet_raw" / schedule.dataset / DATASET_JSON)
    needed = {key: dataset_json[key] for key in ("labels", "file_ending")}
    known = results / "runs.json"
    collected: dict = read_json(known) if known.is_file() else {"runs": {}}
    if collected["runs"]:
        _check_same_schedule(schedule, collected["schedule"], known)
    runs = collected["runs"]
    labels = _made(results / "labels" / schedule.dataset)
    write_json(labels / DATASET_JSON, needed)
    # From it, the leaderboard's methods section states which split was used.
    preprocessed = work / "nnUNet_preprocessed" / schedule.dataset
    shutil.copyfile(preprocessed / SPLITS_FILE, labels / SPLITS_FILE)
    here = machine(torch.device(schedule.device))
    for (name, seed), folds in logs.items():
        model = trained_model(schedule, work, name, seed)
        target = collected_model(schedule, results, name, seed)
        for fold, log in folds.items():
            record = _fold(model, fold, log, target)
            of_seed = runs.setdefault(name, {}).setdefault(str(seed), {})
            noted = fold_folder(model, fold) / MACHINE_JSON
            if noted.is_file():
                record["machine"] = read_json(noted)
            elif of_seed.get(fold, {}).get("hours") == record["hours"]:
                # The same training, collected before, perhaps elsewhere.
                record["machine"] = of_seed[fold]["machine"]
            else:
                record["machine"] = here
            of_seed[fold] = record
    write_json(known, {"schedule": vars(schedule), "runs": runs})
    first_seed = schedule.runs[0][1]
    if logs.get((IDENTITY.folder, first_seed)):
        _pictures(schedule, work, results, first_seed, dataset_json["file_ending"])
    return 0


def _check_same_schedule(schedule: Schedule, before: Mapping, path: Path) -> None:
    """End the program if the runs collected before are of another schedule."""
    wanted = {**vars(schedule), "folds": list(schedule.folds)}
    for key in sorted(wanted.keys() - {"runs"}):
        if wanted[key] != before[key]:
            sys.exit(
                f"{path} has runs with {key} {before[key]!r}; these have {wanted[key]!r}. Collect "
                "them into another folder, or remove the runs that are there"
            )


def _logs(schedule: Schedule, model: Path) -> dict[str, dict]:
    """Read nnU-Net's logs of the folds that were trained and validated."""
    logs = {}
    for fold in schedule.folds:
        folder = fold_folder(model, fold)
        if validation_summary(folder).is_file():
            logs[fold] = load_checkpoint(folder / FINAL)["logging"]
            epochs = len(logs[fold]["epoch_end_timestamps"])
            if epochs != schedule.epochs:
                sys.exit(
                    f"{folder} was trained for {epochs} epochs; wanted {schedule.epochs}. Give "
                    "--epochs as for the training"
                )
    return logs


def _fold(model: Path, fold: str, log: dict, target: Path) -> dict:
    summary = read_json(validation_summary(fold_folder(model, fold)))
    for case in summary["metric_per_case"]:
        # Folders of the machine on which it was computed say nothing.
        for file in ("prediction_file", "reference_file"):
            case[file] = Path(case[file]).name
    path = validation_summary(fold_folder(target, fold))
    _made(path.parent)
    write_json(path, summary)
    seconds = seconds_of_epochs(log)
    write_json(
        fold_folder(target, fold) / "progress.json",
        {
            "seconds": [round(second, 2) for second in seconds],
            **{name: [float(value) for value in log[name]] for name in _LOGGED},
        },
    )
    return {
        "median_epoch_seconds": median(seconds),
        "hours": sum(seconds) / 3600,
        "validation_seconds_per_case": read_cost(model, [fold]).seconds_per_case,
    }


def _pictures(schedule: Schedule, work: Path, results: Path, seed: int, ending: str) -> None:
    """Draw the evolution of the coefficients, and maps of the best, median and worst case."""
    fold = schedule.folds[0]
    model = trained_model(schedule, work, IDENTITY.folder, seed)
    base = folders(work, seed) | {"PATH": str(BIN)}
    variables = training_environment(schedule, IDENTITY, seed, base)
    trained = fold_folder(model, fold)
    summary = read_json(validation_summary(trained))
    chosen = best_median_worst(summary)
    raw = work / "nnUNet_raw" / schedule.dataset
    for folder in ("maps", "evolution"):
        shutil.rmtree(results / folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        _run(["evolution", str(trained), "-o", scratch], variables)
        for picture in Path(scratch).glob("*.png"):
            small_copy(picture, results / "evolution" / picture.name)
        images = _made(Path(scratch, "images"))
        for case in chosen.values():
            for image in (raw / "imagesTr").glob(f"{case}_[0-9][0-9][0-9][0-9]{ending}"):
                shutil.copy(image, images)
        _run(
            [
                *("maps", "-i", str(images), "-o", str(Path(scratch, "maps")), "-m", str(model)),
                *("-f", fold, "-gt", str(raw / "labelsTr"), "-device", schedule.device),
            ],
            variables,
        )
        for which, case in chosen.items():
            picture = Path(scratch, "maps", "maps", case, f"{case}.png")
            small_copy(picture, results / "maps" / f"{which}_{case}.png")


def seconds_of_epochs(log: Mapping) -> list[float]:
    """Return the seconds of each epoch in a checkpoint's log."""
    begins, ends = log["epoch_start_timestamps"], log["epoch_end_timestamps"]
    return [end - begin for begin, end in zip(begins, ends, strict=True)]


def small_copy(picture: Path, target: Path, width: int = _WIDTH) -> None:
    """Copy a picture for a document, at most so many pixels wide."""
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
    if image.width > width:
        height = round(image.height * width / image.width)
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    image.save(_made(target.parent) / target.name, optimize=True)


def best_median_worst(summary: dict) -> dict[str, str]:
    """Choose cases by their mean Dice over the labels; with an even number, the lower median."""
    dice = {
        case_name(case["prediction_file"]): mean(
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
