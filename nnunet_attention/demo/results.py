"""Collects the results of a finished demo as a leaderboard, and writes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nnunet_attention.cost.parameters import count_parameters
from nnunet_attention.demo.division import names_of_folds
from nnunet_attention.demo.figure import ShownCase, write_comparison
from nnunet_attention.demo.folder import DemoFolder
from nnunet_attention.demo.settings import MODELS, PLANS, DemoSettings
from nnunet_attention.evaluation.leaderboard.building import (
    Leaderboard,
    Settings,
    build_leaderboard,
)
from nnunet_attention.evaluation.leaderboard.collect import Request
from nnunet_attention.evaluation.leaderboard.collect import collect_results as collect_results_of
from nnunet_attention.evaluation.leaderboard.markdown import markdown
from nnunet_attention.evaluation.leaderboard.outputs import write_leaderboard
from nnunet_attention.evaluation.leaderboard.records import leaderboard_record
from nnunet_attention.evaluation.metrics.definitions import OVERLAP_METRICS
from nnunet_attention.files import read_json, write_json, write_text
from nnunet_attention.msd import MsdTask
from nnunet_attention.nnunet.model_folders import validation_folder

_DICE = "dice"


@dataclass(frozen=True)
class Results:
    """The results of a finished demo.

    Attributes:
        task: The task folder with the demo's cases.
        settings: The demo's settings.
        training_cases: How many cases each fold trained on.
        held_out: The cases that were tested.
        board: The leaderboard, with readable names of the models.
        comparison: The picture.
        page: The leaderboard's web page.
    """

    task: MsdTask
    settings: DemoSettings
    training_cases: tuple[int, ...]
    held_out: tuple[ShownCase, ...]
    board: Leaderboard
    comparison: Path
    page: Path

    @property
    def caption(self) -> str:
        """A sentence on what the numbers can be used for."""
        settings = self.settings
        training = " or ".join(map(str, sorted(set(self.training_cases))))
        memory_gb = settings.planned_memory_gb
        patches = "" if memory_gb is None else f", patches planned for {memory_gb} GB instead of 8"
        return (
            f"Mean over {_counted(len(self.held_out), 'held-out case')} of "
            f"{self.task.folder_name}; {training} cases for training (fold "
            f"{', '.join(settings.folds)}), {_counted(settings.epochs, 'epoch')} of "
            f"{_counted(settings.iterations, 'step')} where nnU-Net takes 1000 of 250{patches}. "
            "These short runs show that everything works; differences between the two networks "
            f"mean nothing. Full length: nnUNetv2_train DATASET {settings.configuration} FOLD "
            "-tr AttentionUNetTrainer"
        )


def collect_results(
    folder: DemoFolder, task: MsdTask, splits: list[dict], settings: DemoSettings
) -> Results:
    """Read the results of nnU-Net's validations, and compare the networks.

    Args:
        folder: The demo's folder; nnU-Net's variables must point to the folders in it.
        task: The task folder in it.
        splits: The cases of each fold.
        settings: The demo's settings.

    Returns:
        The results.

    Raises:
        CommandError: If a file is missing or damaged.
    """
    folds = names_of_folds(settings.folds)
    request = Request(
        datasets=(task.dataset_name,),
        configurations=(settings.configuration,),
        folds=folds,
        trained=tuple((model.trainer, PLANS) for model in MODELS),
        named={},
    )
    collected = collect_results_of(request, folder.nnunet.results, _parameters)
    names = {model.trainer: model.name for model in MODELS}
    board = build_leaderboard(
        collected.frame.assign(model=collected.frame["model"].map(names)),
        Settings(metrics=OVERLAP_METRICS, seed=settings.seed),
        {(data, c, names[model]): cost for (data, c, model), cost in collected.costs.items()},
    )
    return Results(
        task=task,
        settings=settings,
        training_cases=tuple(len(splits[int(fold)]["train"]) for fold in folds),
        held_out=_held_out(folder, task, splits, settings, board),
        board=board,
        comparison=folder.comparison,
        page=folder.leaderboard / "leaderboard.html",
    )


def write_results(folder: DemoFolder, results: Results) -> None:
    """Write the leaderboard's files, results.json, results.md and comparison.png."""
    write_comparison(
        folder.comparison, results.held_out, [model.name for model in MODELS], results.task
    )
    write_leaderboard(results.board, folder.leaderboard)
    write_json(
        folder.results_json,
        {
            "comparison": str(results.comparison),
            "data": results.task.folder_name,
            "held_out_cases": [case.name for case in results.held_out],
            "leaderboard": leaderboard_record(results.board),
            "settings": results.settings.as_stored(),
            "training_cases": results.training_cases,
        },
    )
    # The leaderboard's own files hold the other metrics.
    board = replace(results.board, settings=replace(results.board.settings, metrics=(_DICE,)))
    write_text(
        folder.results_md,
        f"![Reference and predictions]({folder.comparison.name})\n\n{results.caption}\n\n"
        f"{markdown(board)}",
    )


def dice_by_case(board: Leaderboard, model: str) -> dict[str, float]:
    """Return a model's mean Dice over the labels, for each case where it is defined."""
    rows = [row for row in board.rows_of(_DICE) if row.is_overall]
    if not rows:
        return {}
    values = rows[0].values[list(rows[0].entries).index(model)]
    return dict(zip(rows[0].cases, values.tolist(), strict=True))


def _held_out(
    folder: DemoFolder,
    task: MsdTask,
    splits: list[dict],
    settings: DemoSettings,
    board: Leaderboard,
) -> tuple[ShownCase, ...]:
    """Find the image, reference, predictions and Dice of every tested case."""
    dice = {model.trainer: dice_by_case(board, model.name) for model in MODELS}
    cases = []
    for fold in names_of_folds(settings.folds):
        validations = [
            validation_folder(
                folder.nnunet.fold(
                    task.dataset_name, model.trainer, PLANS, settings.configuration, fold
                )
            )
            for model in MODELS
        ]
        cases += [
            ShownCase(
                name=case,
                image=task.image(case),
                reference=task.label(case),
                predictions=tuple(task.label_file(place, case) for place in validations),
                dice=tuple(dice[model.trainer].get(case) for model in MODELS),
            )
            for case in splits[int(fold)]["val"]
        ]
    return tuple(sorted(cases, key=lambda case: case.name))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _parameters(trainer: str, plans: Path, dataset_json: Path, configuration: str) -> int:
    return count_parameters(trainer, read_json(plans), dataset_json, configuration)
