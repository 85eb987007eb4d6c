"""The numbers of a finished demo, from nnU-Net's summaries and plans."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunet_attention.demo.figure import write_comparison
from nnunet_attention.demo.folder import DemoFolder
from nnunet_attention.demo.settings import MODELS, DemoSettings
from nnunet_attention.demo.table import caption, markdown_table
from nnunet_attention.files import write_json, write_text
from nnunet_attention.msd.task_folder import MsdTask


@dataclass(frozen=True)
class Dice:
    """A mean over cases.

    Attributes:
        mean: over the cases where Dice is defined; None if there is none.
        cases: how many cases that are: nnU-Net leaves Dice undefined where reference and
            prediction are both empty.
    """

    mean: float | None
    cases: int


@dataclass(frozen=True)
class ModelResults:
    """One column of the table.

    Attributes:
        name: for people.
        trainer: as given to `nnUNetv2_train -tr`.
        dice: by organ.
        foreground_dice: mean of the organs' means; None if one is undefined.
        dice_of_case: mean over a case's organs; None where all are undefined.
        parameters: trainable numbers of the network.
        training_seconds: of all folds, start and validation included.
        prediction_seconds_per_case: the command's start included.
    """

    name: str
    trainer: str
    dice: dict[str, Dice]
    foreground_dice: float | None
    dice_of_case: dict[str, float | None]
    parameters: int
    training_seconds: float
    prediction_seconds_per_case: float


@dataclass(frozen=True)
class Results:
    """A finished demo.

    Attributes:
        data: the data set's name.
        settings: see `DemoSettings.as_stored`.
        training_cases: how many.
        held_out_cases: their names.
        models: in the order of `MODELS`.
        comparison: path of the picture.
    """

    data: str
    settings: dict
    training_cases: int
    held_out_cases: tuple[str, ...]
    models: tuple[ModelResults, ...]
    comparison: str


def collect_results(folder: DemoFolder, task: MsdTask, settings: DemoSettings) -> Results:
    """Reads what nnU-Net has written and counts the networks' parameters."""
    from nnunet_attention.cost.parameters import count_parameters

    held_out = tuple(
        sorted(Path(entry).name.removesuffix(".nii.gz") for entry in task.description["test"])
    )
    models = []
    for model in MODELS:
        summary_path = folder.predictions(model.trainer) / "summary.json"
        summary = json.loads(summary_path.read_text(encoding="utf-8"))
        dice, foreground_dice, dice_of_case = read_summary(summary, task.organs)
        training = [folder.seconds[f"train {model.trainer} fold {f}"] for f in settings.folds]
        models.append(
            ModelResults(
                name=model.name,
                trainer=model.trainer,
                dice=dice,
                foreground_dice=foreground_dice,
                dice_of_case=dice_of_case,
                parameters=count_parameters(
                    model.trainer,
                    folder.read_plans(task.dataset_name),
                    folder.raw / task.dataset_name / "dataset.json",
                    settings.configuration,
                ),
                training_seconds=round(sum(training), 1),
                prediction_seconds_per_case=round(
                    folder.seconds[f"predict {model.trainer}"] / len(held_out), 1
                ),
            )
        )
    return Results(
        data=task.folder_name,
        settings=settings.as_stored(),
        training_cases=len(task.cases),
        held_out_cases=held_out,
        models=tuple(models),
        comparison=str(folder.comparison),
    )


def read_summary(
    summary: dict, organs: dict[int, str]
) -> tuple[dict[str, Dice], float | None, dict[str, float | None]]:
    """Dice by organ, their mean, and Dice by case, from nnU-Net's summary.json."""
    of_case = {
        Path(entry["prediction_file"]).name.removesuffix(".nii.gz"): {
            organ: entry["metrics"][str(label)]["Dice"] for label, organ in organs.items()
        }
        for entry in summary["metric_per_case"]
    }
    dice = {}
    for organ in organs.values():
        defined = _defined(scores[organ] for scores in of_case.values())
        dice[organ] = Dice(_mean(defined), len(defined))
    means = [one.mean for one in dice.values()]
    return (
        dice,
        None if None in means else _mean(means),
        {case: _mean(_defined(scores.values())) for case, scores in of_case.items()},
    )


def write_results(folder: DemoFolder, task: MsdTask, results: Results) -> None:
    """Writes results.json, results.md and comparison.png."""
    write_json(folder.results_json, asdict(results))
    write_text(
        folder.results_md,
        f"# {results.data}\n\n{markdown_table(results)}\n{caption(results)}\n\n"
        f"![Reference and predictions]({folder.comparison.name})\n",
    )
    write_comparison(
        folder.comparison,
        task,
        results,
        {model.trainer: folder.predictions(model.trainer) for model in results.models},
    )


def _defined(values) -> list[float]:
    return [value for value in values if value is not None and not math.isnan(value)]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
