"""Handles several trainings of a model: apart for policies and cases, jointly for statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.metrics.table import REPEAT
from nnunet_attention.evaluation.statistics.groups import group_numbers
from nnunet_attention.evaluation.statistics.repeats import (
    Layout,
    Repeated,
    compare_repeats,
    mean_over_repeats,
)

# The columns of the counts of `policies.apply_policy` by which a model's trainings are grouped.
_COUNTED = ["dataset", "configuration", "model", "label", "metric"]


def has_repeats(frame: pd.DataFrame) -> bool:
    """Tell whether some model was trained more than once."""
    return REPEAT in frame and frame[REPEAT].nunique() > 1


def apart(frame: pd.DataFrame, whole: pd.DataFrame | None = None) -> pd.DataFrame:
    """Make each training a model of its own; `together` is the inverse.

    Args:
        frame: with a column `REPEAT`.
        whole: the table that tells which models have several trainings; None: the same.
    """
    counts = (frame if whole is None else whole).groupby("model")[REPEAT].nunique()
    several = frame["model"].map(counts) > 1
    named = frame["model"] + ", training " + (frame[REPEAT] + 1).astype("str")
    return frame.assign(of_model=frame["model"], model=frame["model"].where(~several, named))


def together(apart_frame: pd.DataFrame) -> pd.DataFrame:
    """Give trainings the names of their models again."""
    return apart_frame.assign(model=apart_frame["of_model"]).drop(columns="of_model")


def without_incomplete_models(counted: pd.DataFrame, apart_frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out models with a training in which no case is defined, by data set and metric.

    A case counts only if it is defined in all trainings of a model, so no case of such a model
    counts, even if its other trainings define some.

    Args:
        counted: after `policies.apply_policy`, each training a model of its own.
        apart_frame: of `apart`, with all existing trainings.
    """
    keys = ["dataset", "configuration", "metric", "of_model"]
    there = apart_frame.groupby(keys)["model"].nunique()
    defined = counted.groupby(keys)["model"].nunique().reindex(there.index, fill_value=0)
    complete = (defined == there).rename("complete").reset_index()
    kept = counted.merge(complete, on=keys, how="left")["complete"]
    return counted[kept.to_numpy(dtype=bool)].reset_index(drop=True)


def counts_together(counts: pd.DataFrame, apart_frame: pd.DataFrame) -> pd.DataFrame:
    """Sum the counts over each model's trainings, whose number the column `trainings` gives.

    Args:
        counts: of the policy, by training.
        apart_frame: of `apart`.
    """
    of_training = dict(zip(apart_frame["model"], apart_frame["of_model"], strict=True))
    named = counts.assign(model=counts["model"].map(of_training), trainings=1)
    return named.groupby(_COUNTED, sort=False, as_index=False).sum()


def folds_of_cases(frame: pd.DataFrame) -> dict[str, dict[str, object]]:
    """Return the fold of each case by data set and case.

    Raises:
        CommandError: if trainings have a case in different folds, as the statistics of repeats need
            a common split.
    """
    found: dict[str, dict[str, object]] = {}
    of_case = frame[["dataset", "case", "fold"]].drop_duplicates()
    twice = of_case[of_case.duplicated(["dataset", "case"], keep=False)]
    if len(twice):
        dataset, case = twice.iloc[0][["dataset", "case"]]
        folds = twice.loc[(twice["dataset"] == dataset) & (twice["case"] == case), "fold"]
        raise CommandError(
            f"{dataset}: case {case} is in folds {' and '.join(map(str, folds))} of different "
            "trainings; repeats are compared on one split: train all with the same "
            "splits_final.json, or compare single trainings"
        )
    for row in of_case.itertuples():
        found.setdefault(str(row.dataset), {})[str(row.case)] = row.fold
    return found


def layout_of(
    cases: Sequence[str], folds: Mapping[str, object], groups: Mapping[str, str] | None
) -> Layout:
    """Return the numbers of the folds and groups that cases belong to."""
    numbers = np.unique([str(folds[case]) for case in cases], return_inverse=True)[1]
    return Layout(numbers, None if groups is None else group_numbers(cases, groups)[0])


class Trainings:
    """The values of all trainings on one label, and the statistics of them.

    Attributes:
        values: by model, (trainings, cases).
    """

    def __init__(
        self,
        values: Mapping[str, np.ndarray],
        layout: Layout,
        seed: Sequence[int],
        resamples: int,
        numbers: Mapping[str, Sequence[int]] | None,
    ):
        """Store the values and the parameters of the statistics.

        Args:
            values: by model, (trainings, cases), all defined.
            layout: of the cases.
            seed: of the bootstrap.
            resamples: of the bootstrap.
            numbers: by model, of its trainings, where equal numbers were trained with equal seeds;
                None: trainings are not paired.
        """
        self.values = values
        self._numbers = numbers
        self._layout = layout
        self._seed = seed
        self._resamples = resamples

    def describe(self, model: str) -> Repeated | None:
        """Describe a model; return None if it was trained once."""
        return mean_over_repeats(self.values[model], self._layout, self._seed, self._resamples)

    def compare(self, first: str, second: str) -> Repeated | None:
        """Compare two models; return None if either was trained once.

        Raises:
            CommandError: if trainings are paired, but the models have different ones.
        """
        mine, theirs = self.values[first], self.values[second]
        seeds = None
        if self._numbers is not None:
            seeds = self._numbers[first], self._numbers[second]
            # Of two models that were trained once, nothing is paired but their cases.
            if set(seeds[0]) != set(seeds[1]) and max(map(len, seeds)) > 1:
                raise CommandError(
                    f"--paired-repeats: {first} has {_in_words(seeds[0])}, but {second} has "
                    f"{_in_words(seeds[1])}; give both the same trainings, in the order of their "
                    "seeds, or leave the option out"
                )
        return compare_repeats(mine, theirs, seeds, self._layout, self._seed, self._resamples)


def _in_words(numbers: Sequence[int]) -> str:
    """Name trainings by their numbers, which start at 1 in words."""
    named = ", ".join(str(number + 1) for number in numbers)
    return f"training{'s' if len(numbers) > 1 else ''} {named}"
