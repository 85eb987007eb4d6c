"""Collects the results of an experiment, and lays out its table as in the paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.evaluation import (
    add_surface_metrics,
    concatenate,
    read_named_results,
    read_nnunet_results,
)
from nnunet_attention.evaluation.leaderboard.building import Settings, build_leaderboard
from nnunet_attention.evaluation.leaderboard.costs import Cost, mean_cost, read_cost
from nnunet_attention.evaluation.metrics.table import REPEAT
from nnunet_attention.experiments.paper_table import PAPER_METRICS, PaperTable
from nnunet_attention.experiments.predicting import ONLY_FOLD
from nnunet_attention.experiments.stages import Arm, Experiment
from nnunet_attention.nnunet.dataset_json import DATASET_JSON
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.model_folders import PLANS_JSON, fold_folder, validation_folder
from nnunet_attention.nnunet.splits import default_folds, read_splits

if TYPE_CHECKING:
    import pandas as pd

    from nnunet_attention.evaluation.leaderboard.collect import CountParameters

# By setting, configuration and method.
Costs = dict[tuple[str, str, str], Cost]


def collect(
    experiment: Experiment,
    folders: Folders,
    processes: int,
    count_parameters: CountParameters | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[pd.DataFrame, Costs]:
    """Read all cases of all arms with the paper's metrics; settings take the place of data sets.

    Where arms are further trainings of a method, the column `REPEAT` numbers them from 0.

    Args:
        experiment: The experiment, whose stages are done.
        folders: nnU-Net's folders.
        processes: How many processes measure surfaces.
        count_parameters: Counts the parameters of a trainer's network, see
            `evaluation.leaderboard.collect`; without it they are not known.
        on_progress: Function that is told how many cases of an arm are measured, and of how many.

    Returns:
        The cases, and the costs of each method in each setting.

    Raises:
        CommandError: If results are missing.
    """
    frames: list[pd.DataFrame] = []
    costs: dict[tuple[str, str, str], list[Cost]] = {}
    is_repeated = any(arm.repeat > 1 for arm in experiment.arms)
    for arm in experiment.arms:
        results = _Results(arm, experiment.configuration, folders.of_repeat(arm.repeat))
        frame = add_surface_metrics(
            results.read(),
            folders.references(arm.dataset),
            results.predictions(),
            folders.dataset_json(arm.dataset),
            processes=processes,
            on_progress=on_progress,
        )
        frame = frame[frame["metric"].isin(PAPER_METRICS)].assign(dataset=arm.setting)
        if is_repeated:
            frame = frame.assign(**{REPEAT: arm.repeat - 1})
            if arm.shares_training:
                # Trainings of different folds count as independent of each other.
                frame = frame.assign(fold=int(ONLY_FOLD))
        frames.append(frame)
        key = (arm.setting, experiment.configuration, arm.method)
        # A method has the same number of parameters in each training.
        costs.setdefault(key, []).append(
            results.cost(count_parameters if arm.repeat == 1 else None)
        )
    return concatenate(frames), {
        key: mean_cost(of_trainings) for key, of_trainings in costs.items()
    }


def paper_table(
    experiment: Experiment, frame: pd.DataFrame, costs: Costs, policy: str, seed: int = 0
) -> PaperTable:
    """Lay out the table of what `collect` returned.

    Args:
        experiment: The experiment.
        frame: The cases.
        costs: The costs.
        policy: Policy for undefined values, one of `evaluation.POLICIES`.
        seed: Seed of the bootstrap.

    Returns:
        The table.
    """
    is_repeated = any(arm.repeat > 1 for arm in experiment.arms)
    settings = Settings(
        PAPER_METRICS,
        policy,
        seed,
        groups=experiment.groups_of_settings,
        paired_repeats=experiment.paired_repeats and is_repeated,
    )
    board = build_leaderboard(frame, settings, costs)
    return PaperTable(board, experiment.layout())


class _Results:
    """The results of an arm, where they are."""

    def __init__(self, arm: Arm, configuration: str, folders: Folders):
        self._arm, self._configuration, self._folders = arm, configuration, folders
        folds = arm.folds
        if folds is None:
            folds = default_folds(read_splits(folders.splits(arm.dataset)))
        self._folds = folds

    @property
    def _model(self) -> Path:
        """The folder that has the folds."""
        arm = self._arm
        if arm.elsewhere is not None:
            return arm.elsewhere.folder / arm.dataset / self._configuration
        return self._folders.model(arm.dataset, arm.trainer, arm.plans, self._configuration)

    @property
    def _network(self) -> Path:
        """The folder of the trained model."""
        elsewhere = self._arm.elsewhere
        if elsewhere is None:
            return self._model
        return self._folders.model(
            elsewhere.dataset, self._arm.trainer, elsewhere.plans, self._configuration
        )

    def read(self) -> pd.DataFrame:
        """Read nnU-Net's metrics of all cases."""
        arm = self._arm
        known = [self._folders.preprocessed, self._folders.raw]
        if arm.elsewhere is not None:
            return read_named_results(
                arm.elsewhere.folder, arm.method, [arm.dataset], [self._configuration],
                self._folds, known,
            )  # fmt: skip
        return read_nnunet_results(
            self._folders.results, arm.dataset, arm.trainer, arm.plans, self._configuration,
            self._folds, arm.method, known,
        )  # fmt: skip

    def predictions(self) -> dict[tuple[str, str, str, int | str], Path]:
        """Return the folders of the predictions by data set, configuration, method and fold."""
        key = (self._arm.dataset, self._configuration, self._arm.method)
        return {
            (*key, int(fold)): validation_folder(fold_folder(self._model, fold))
            for fold in self._folds
        }

    def cost(self, count_parameters: CountParameters | None) -> Cost:
        """Return what the method costs; without a validation there is no time."""
        parameters = None
        if count_parameters is not None:
            plans, described = self._network / PLANS_JSON, self._network / DATASET_JSON
            parameters = count_parameters(self._arm.trainer, plans, described, self._configuration)
        if self._arm.elsewhere is not None:
            return Cost(parameters)
        return read_cost(self._model, self._folds, parameters)
