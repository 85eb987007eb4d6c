"""Tells what each single training has learnt, of which the experiment's table has only means.

A network that finds the hippocampus but does not yet tell its two parts apart has a Dice near 0 for
one of them: whether a training is past that point decides its mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path
from statistics import mean

import numpy as np
import SimpleITK

from benchmarks.finetune.training import CONFIGURATION, TRAINERS, folders
from benchmarks.texts import markdown_row
from nnunet_attention.evaluation.leaderboard.tables import value_text
from nnunet_attention.experiments.divided import SIZES
from nnunet_attention.experiments.stages import method_titles
from nnunet_attention.files import read_json
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.folders import RAW_REFERENCES
from nnunet_attention.nnunet.model_folders import ModelName, fold_folder, validation_summary
from nnunet_attention.nnunet.planners import STOCK_PLANS

_DIGITS = 5


def trainings_of(work: Path, target: str) -> list[dict]:
    """Measure the Dice of every finished training, of each part and of all parts as one.

    Args:
        work: the benchmark's folder.
        target: the data set that was fine-tuned on.
    """
    places = folders(work)
    raw = places.raw_dataset(target)
    labels = {
        str(number): name
        for name, number in read_json(raw / DATASET_JSON)["labels"].items()
        if name != "background"
    }
    repeats = list(takewhile(lambda n: (places.of_repeat(n).results / target).is_dir(), count(1)))
    titles = method_titles([(trainer, STOCK_PLANS) for trainer in TRAINERS])
    found = []
    for fold, cases in enumerate(SIZES):
        for (trainer, plans), title in titles.items():
            for repeat in repeats:
                results = places.of_repeat(repeat).results / target
                model = results / ModelName(trainer, plans, CONFIGURATION).folder
                summary = validation_summary(fold_folder(model, str(fold)))
                if not summary.is_file():
                    continue
                means = read_json(summary)["mean"]
                dice = {name: means[number]["Dice"] for number, name in labels.items()}
                merged = mean(merged_dice(summary.parent, raw / RAW_REFERENCES))
                found.append(
                    {
                        **{"cases": cases, "method": title, "repeat": repeat},
                        "dice": {name: round(value, _DIGITS) for name, value in dice.items()},
                        "merged": round(merged, _DIGITS),
                    }
                )
    return found


def merged_dice(predictions: Path, references: Path) -> Iterator[float]:
    """Yield the Dice of each predicted case with all labels as one."""
    for path in sorted(predictions.glob("*.nii.gz")):
        here, there = (
            SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))) > 0
            for file in (path, references / path.name)
        )
        yield 2 * float(np.sum(here & there)) / max(1, int(here.sum() + there.sum()))


def by_training_table(trainings: Sequence[Mapping]) -> str:
    """Show as Markdown the Dice of every training, a row for each setting and method."""
    repeats = sorted({one["repeat"] for one in trainings})
    labels = list(trainings[0]["dice"])
    heading = ["trained", "method"]
    heading += [f"{label}, training {n}" for n in repeats for label in (*labels, "as one")]
    rows: dict[tuple, dict[int, Mapping]] = {}
    for one in trainings:
        rows.setdefault((one["cases"], one["method"]), {})[one["repeat"]] = one
    lines = [heading, ["---", "---", *["---:"] * (len(heading) - 2)]]
    for (cases, method), of_repeats in rows.items():
        cells = [str(cases), method]
        for repeat in repeats:
            one = of_repeats.get(repeat)
            values = [""] * (len(labels) + 1)
            if one is not None:
                values = [value_text(v, "dice") for v in (*one["dice"].values(), one["merged"])]
            cells += values
        lines.append(cells)
    return "\n".join(map(markdown_row, lines)) + "\n"
