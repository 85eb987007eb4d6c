"""Computes everything a leaderboard shows, once, from the table of all cases."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.assessing import Assessment, assess
from nnunet_attention.evaluation.leaderboard.costs import Cost
from nnunet_attention.evaluation.leaderboard.published import (
    PublishedComparison,
    PublishedMean,
    check_published,
    compare_published,
)
from nnunet_attention.evaluation.leaderboard.trainings import (
    Trainings,
    apart,
    counts_together,
    folds_of_cases,
    has_repeats,
    layout_of,
    together,
    without_incomplete_models,
)
from nnunet_attention.evaluation.metrics.definitions import METRICS, OVERLAP_METRICS, check_metrics
from nnunet_attention.evaluation.metrics.table import REPEAT
from nnunet_attention.evaluation.statistics.comparisons import (
    INTERVAL_RESAMPLES,
    Comparison,
    Summary,
    bootstrap_interval,
    holm,
    summarise_and_compare,
)
from nnunet_attention.evaluation.statistics.definitions import DEFAULT_POLICY
from nnunet_attention.evaluation.statistics.equivalence import LEVEL
from nnunet_attention.evaluation.statistics.groups import (
    GroupsByDataset,
    LikelyGroups,
    group_interval,
    group_table,
    looks_grouped,
)
from nnunet_attention.evaluation.statistics.policies import apply_policy, common_cases
from nnunet_attention.evaluation.statistics.ranking import (
    RANK_RESAMPLES,
    CriticalDifference,
    Ranking,
    consensus,
    critical_difference,
    rank_cases,
)
from nnunet_attention.evaluation.statistics.repeats import Repeated
from nnunet_attention.nnunet.dataset_names import names_with_number, short_dataset_name
from nnunet_attention.nnunet.known_splits import KnownSplit

MEAN_OF_LABELS = "mean of labels"
RANKING_METHODS = {"mean": "mean", "mean_rank": "mean rank", "test": "test, then rank"}
# A name, or a column of names.
_Text = TypeVar("_Text", str, pd.Series)
_MOST_NAMED = 3
_MARKS = ((0.001, "***"), (0.01, "**"), (LEVEL, "*"))


@dataclass(frozen=True)
class Settings:
    """Holds the settings that the numbers depend on besides the data.

    Attributes:
        metrics: names; tables for paper and terminal begin with the first.
        policy: for undefined values, one of `POLICIES`.
        seed: of all bootstraps.
        interval_resamples: for confidence intervals.
        rank_resamples: for the stability of ranks.
        allow_incomplete: whether models may have different cases; only common ones are compared.
        tolerance_mm: of the normalised surface Dice, in words; None where it is not known.
        missing_distance_mm: ASSD and HD95 where just one mask is empty; None: left out.
        groups: by case, or by data set and case, of cases that belong together, such as the images
            of one patient: a group counts as one, by its mean; None: each case counts.
        paired_repeats: whether trainings of different models with the same number had the same
            seed.
        marks: whether marks of significance are shown even where models were trained once each.
        margin: differences smaller than this do not matter, in metrics whose best value is 1; None:
            equivalence is not tested.
        published: results of which only mean, SD and n are known, to be compared with the models.
    """

    metrics: tuple[str, ...] = OVERLAP_METRICS
    policy: str = DEFAULT_POLICY
    seed: int = 0
    interval_resamples: int = INTERVAL_RESAMPLES
    rank_resamples: int = RANK_RESAMPLES
    allow_incomplete: bool = False
    tolerance_mm: str | None = None
    missing_distance_mm: float | None = None
    groups: Mapping[str, str] | GroupsByDataset | None = None
    paired_repeats: bool = False
    marks: bool = False
    margin: float | None = None
    published: tuple[PublishedMean, ...] = ()

    def margin_of(self, metric: str) -> float | None:
        """Return the margin of a metric; None for a metric in mm or without a bound."""
        return self.margin if METRICS[metric].when_both_empty == 1 else None

    def groups_of(self, dataset: str) -> Mapping[str, str] | None:
        """Return the groups of a data set's cases, by case; None where each case counts."""
        if self.groups is None:
            return None
        groups: dict[str, str] = {}
        for key, value in self.groups.items():
            if isinstance(value, str):
                groups[key] = value
            elif key == dataset:
                groups.update(value)
        return groups

    @property
    def unit(self) -> str:
        """The unit of the statistics: case or group."""
        return "case" if self.groups is None else "group"


@dataclass(frozen=True)
class Standing:
    """Holds a model's place in a ranking.

    Attributes:
        score: see `ranking.Ranking`.
        rank: 1 is best.
        first: share of the resamples in which the model has rank 1.
        low: best rank in the 95 % interval over resamples.
        high: worst rank in it.
        distribution: share of the resamples in which it has rank 1, 2, ...
    """

    score: float
    rank: int
    first: float
    low: int
    high: int
    distribution: tuple[float, ...]


@dataclass(frozen=True)
class Entry:
    """Holds the results of one model in a row.

    Attributes:
        summary: of its values.
        best: whether no model of the row has a better mean.
        mark: of significance against the row's best model, by adjusted p: * < 0.05, ** < 0.01,
            *** < 0.001; empty for the best, where nothing is significant, and where mean and ranks
            disagree.
        standings: by method, see `RANKING_METHODS`.
        repeated: mean and spread over several trainings; None for a model that was trained once.
    """

    summary: Summary
    best: bool
    mark: str
    standings: dict[str, Standing]
    repeated: Repeated | None = None


@dataclass(frozen=True)
class Pair:
    """Holds the comparison of two models in a row.

    Attributes:
        first: name.
        second: name.
        comparison: first against second, by means over trainings where there are several.
        adjusted_p_value: by Holm over all pairs of all rows of this metric and level: data sets are
            one level, their labels another.
        repeated: the comparison over trainings, whose test and interval `comparison` then has; None
            where one of the models was trained once.
        assessment: against the margin; None without one, or for a single case.
        ranks_disagree: whether the test, of ranks, is significant in favour of the model that does
            not have the better mean, so that neither is called better.
    """

    first: str
    second: str
    comparison: Comparison
    adjusted_p_value: float
    repeated: Repeated | None = None
    assessment: Assessment | None = None
    ranks_disagree: bool = False

    @property
    def is_significant(self) -> bool:
        """Whether the adjusted p-value is below 5 %."""
        return self.adjusted_p_value < LEVEL


@dataclass(frozen=True)
class Row:
    """Holds the results of all models on one label of one data set, by one metric, on equal cases.

    Attributes:
        dataset: full name.
        label: name, or `MEAN_OF_LABELS`: each case's mean over those of its labels that count.
        is_overall: whether it stands for the data set, as a data set's only label does.
        metric: name.
        cases: names, in order.
        values: (models, cases), means over trainings where there are several.
        units: the units of the statistics: the names of the cases, or of the groups.
        of_units: (models, units), means over the cases of a group.
        entries: by model.
        pairs: each pair of models once.
        critical: Nemenyi's test over the cases; None for one model or one case.
        rankings: by method, for the consensus.
    """

    dataset: str
    label: str
    is_overall: bool
    metric: str
    cases: tuple[str, ...]
    values: np.ndarray
    units: tuple[str, ...]
    of_units: np.ndarray
    entries: dict[str, Entry]
    pairs: tuple[Pair, ...]
    critical: CriticalDifference | None
    rankings: dict[str, Ranking] = field(repr=False)


@dataclass(frozen=True)
class Consensus:
    """Holds the models' ranking over all data sets that every model has, by one metric.

    Attributes:
        metric: name.
        datasets: full names.
        standings: by method and model.
        critical: Nemenyi's test over the data sets' means; None for one model or one data set.
    """

    metric: str
    datasets: tuple[str, ...]
    standings: dict[str, dict[str, Standing]]
    critical: CriticalDifference | None


@dataclass(frozen=True)
class Leaderboard:
    """Holds a finished leaderboard.

    Attributes:
        settings: see `Settings`.
        datasets: full names.
        models: names.
        rows: by metric, then data set; each data set's overall row before its labels.
        consensus: one per metric.
        fold_means: nnU-Net's own figure by data set, metric and model: the mean over folds of the
            mean over labels of the nanmean over cases.
        undefined: for each data set, model, label and metric, the counts of the policy; see
            `policies.apply_policy`.
        dropped: for each data set, label and metric, how many cases not all models had.
        cases: the input table, with a column `used`: the value that counted, or NaN; if cases are
            grouped, also with a column `group`.
        costs: by data set and model; empty if nothing is known.
        missing: requested folds without results.
        splits: by data set, if it is known which split the results were validated with.
        published: comparisons of each model with each published result of a row's data set and
            label.
    """

    settings: Settings
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    rows: tuple[Row, ...]
    consensus: tuple[Consensus, ...]
    fold_means: dict[str, dict[str, dict[str, float | None]]]
    undefined: pd.DataFrame
    dropped: pd.DataFrame
    cases: pd.DataFrame
    costs: dict[tuple[str, str], Cost]
    missing: tuple[str, ...] = ()
    splits: Mapping[str, KnownSplit] = field(default_factory=dict)
    published: tuple[PublishedComparison, ...] = ()

    @property
    def trainings(self) -> dict[str, int]:
        """How often each model was trained, on the data set where it was trained most often."""
        counts = self.trainings_on.values()
        return {model: max(of.get(model, 0) for of in counts) for model in self.models}

    @property
    def fewest_trainings(self) -> dict[str, int]:
        """How often each model was trained, on the data set where it was trained least often."""
        counts = self.trainings_on.values()
        return {model: min(of[model] for of in counts if model in of) for model in self.models}

    @property
    def trainings_on(self) -> dict[str, dict[str, int]]:
        """How often each model was trained, by data set."""
        table = self.cases if REPEAT in self.cases else self.cases.assign(**{REPEAT: 0})
        numbers = table.groupby(["dataset", "model"], sort=False)[REPEAT].nunique()
        counts: dict[str, dict[str, int]] = {dataset: {} for dataset in self.datasets}
        for (dataset, model), number in numbers.items():
            counts[dataset][model] = int(number)
        return counts

    def copied_trainings(self) -> list[str]:
        """Name trainings of a model whose values are equal everywhere: they may be the same one."""
        if REPEAT not in self.cases:
            return []
        notes = []
        for (dataset, model), rows in self.cases.groupby(["dataset", "model"], sort=False):
            keys = ["configuration", "case", "label", "metric"]
            values = rows.pivot(index=keys, columns=REPEAT, values="value")
            for first, second in combinations(values, 2):
                if values[first].equals(values[second]):
                    notes.append(
                        f"{dataset}: trainings {first + 1} and {second + 1} of {model} have equal "
                        "values in all cases; if they are the same training, name it only once"
                    )
        return notes

    def different_references(self) -> list[str]:
        """Name data sets whose results were evaluated against references of different sizes.

        Cases are paired by name, so nothing else would show that two models' values are of
        different annotations.
        """
        notes = []
        for dataset, rows in self.cases.groupby("dataset", sort=False):
            sizes = rows.groupby(["case", "label"], sort=False)["reference_voxels"]
            differs = sizes.transform("nunique") > 1
            if not differs.any():
                continue
            case, label = rows.loc[differs, ["case", "label"]].iloc[0]
            of_case = rows[(rows["case"] == case) & (rows["label"] == label)]
            first = of_case.iloc[0]
            other = of_case[of_case["reference_voxels"] != first["reference_voxels"]].iloc[0]
            told = [
                f"{_training_in_words(row, REPEAT in rows)} with {row['reference_voxels']} voxels"
                for row in (first, other)
            ]
            notes.append(
                f"{dataset}: in {rows.loc[differs, 'case'].nunique()} of "
                f"{rows['case'].nunique()} cases models were evaluated against different "
                f"references (case {case}, label {label}: {told[0]}, {told[1]}), so they are "
                "compared on different tasks; evaluate all of them against the same references"
            )
        return notes

    def shows_mark(self, row: Row, model: str) -> bool:
        """Tell whether a model's mark is shown: if trainings were compared, or on demand."""
        if self.settings.marks:
            return True
        best = next(name for name, entry in row.entries.items() if entry.best)
        pair = next(
            (pair for pair in row.pairs if {pair.first, pair.second} == {best, model}), None
        )
        return pair is not None and pair.repeated is not None

    def disagreements(self, metric: str | None = None) -> list[tuple[Row, Pair]]:
        """List the pairs, by one metric or any, whose means and ranks disagree."""
        rows = self.rows if metric is None else self.rows_of(metric)
        return [(row, pair) for row in rows for pair in row.pairs if pair.ranks_disagree]

    def rows_of(self, metric: str) -> list[Row]:
        """List the rows of a metric, in order."""
        return [row for row in self.rows if row.metric == metric]

    def likely_groups(self) -> dict[str, LikelyGroups]:
        """Return the groups that case names suggest, by data set; empty if groups are known."""
        if self.settings.groups is not None:
            return {}
        found = {
            str(dataset): looks_grouped(of_dataset["case"])
            for dataset, of_dataset in self.cases.groupby("dataset", sort=False)
        }
        return {dataset: likely for dataset, likely in found.items() if likely is not None}

    def short_name(self, dataset: str) -> str:
        """Shorten `Dataset003_Liver` to Liver, unless another data set has the same short name."""
        short = short_dataset_name(dataset)
        alike = [name for name in self.datasets if short_dataset_name(name) == short]
        return short if len(alike) == 1 else dataset


def build_leaderboard(
    frame: pd.DataFrame,
    settings: Settings,
    costs: Mapping[tuple[str, str, str], Cost] | None = None,
    missing: tuple[str, ...] = (),
    splits: Mapping[str, KnownSplit] | None = None,
) -> Leaderboard:
    """Compute all statistics and rankings.

    Args:
        frame: with the columns of `COLUMNS`. If it has several configurations, each is a model of
            its own. If it has a column `REPEAT`, models have several trainings.
        settings: see `Settings`.
        costs: by data set, configuration and model.
        missing: missing folds, to be named in the outputs.
        splits: by data set, where known; the methods name them.

    Raises:
        CommandError: if the margin cannot be used; there is nothing to compare with a margin, marks
            or paired trainings; models have different labels, or different cases without
            `allow_incomplete`; a metric is missing, or, without `allow_incomplete`, missing in
            part; a case has no group although there are groups;
            repeats have different splits; nothing is left to compare; or a published result cannot
            be compared with a row.
    """
    check_metrics(settings.metrics)
    _check_margin(settings)
    _refuse_published_beside_groups(settings)
    several = frame["configuration"].nunique() > 1
    if several:
        frame = frame.assign(model=_contestant(frame["model"], frame["configuration"]))
    known = {
        (dataset, _contestant(model, configuration) if several else model): cost
        for (dataset, configuration, model), cost in (costs or {}).items()
    }
    _check_metrics_are_there(frame, settings.metrics)
    models = tuple(frame["model"].unique())
    if len(models) == 1:
        _refuse_comparing(settings, models[0])
    frame = frame[frame["metric"].isin(settings.metrics)].reset_index(drop=True)
    frame = _with_absent_values(frame, settings)
    if has_repeats(frame):
        folds = folds_of_cases(frame)
        apart_frame = apart(frame)
    else:
        _refuse_pairing(settings)
        folds = {}
        frame = frame.drop(columns=REPEAT, errors="ignore")
        apart_frame = frame
    _check_same_labels_and_cases(apart_frame, settings.allow_incomplete)
    _check_groups(frame, settings)
    counted, undefined = apply_policy(apart_frame, settings.policy, settings.missing_distance_mm)
    if folds:
        counted = without_incomplete_models(counted, apart_frame)
    shared, dropped = common_cases(counted)
    if folds:
        undefined, shared = counts_together(undefined, apart_frame), together(shared)
    if shared.empty:
        raise CommandError(
            "no case is left to compare: the models have none in common under the policy "
            f"{settings.policy}; check the folds (-f) and the policy (--undefined)"
        )
    datasets = tuple(frame["dataset"].unique())
    rows = _adjusted(
        [
            _row(table, settings, folds.get(dataset))
            for metric in settings.metrics
            for dataset in datasets
            for table in _tables(shared, frame, dataset, metric, models)
        ],
        settings,
    )
    return Leaderboard(
        settings=settings,
        datasets=datasets,
        models=models,
        rows=tuple(rows),
        consensus=tuple(
            _consensus(metric, [row for row in rows if row.metric == metric], models)
            for metric in settings.metrics
        ),
        fold_means=_fold_means(frame),
        undefined=undefined,
        dropped=dropped,
        cases=_with_used(frame, shared, settings),
        costs=known,
        missing=missing,
        splits=splits or {},
        published=_beside_published(rows, settings, models),
    )


def _training_in_words(row: pd.Series, several: bool) -> str:
    return f"{row['model']}, training {row[REPEAT] + 1}" if several else str(row["model"])


def mark_of(p_value: float) -> str:
    """Return the stars of a p-value."""
    return next((mark for limit, mark in _MARKS if p_value < limit), "")


def _contestant(model: _Text, configuration: _Text) -> _Text:
    """Name a model by its configuration too, where each configuration is a model of its own."""
    return model + " " + configuration


def _check_metrics_are_there(frame: pd.DataFrame, metrics: tuple[str, ...]) -> None:
    measured = frame.groupby(["dataset", "model"], sort=False)["metric"].agg(set)
    for (dataset, model), present in measured.items():
        absent = [metric for metric in metrics if metric not in present]
        if absent:
            remedy = (
                "measure them with --surface"
                if any(METRICS[metric].is_surface for metric in absent)
                else "leave them out of --metrics"
            )
            raise CommandError(f"{model}, {dataset}: no {', '.join(absent)}; {remedy}")
    if measured.empty:
        raise CommandError("there are no results to compare; check -d, -c, -f and -tr")


def _with_absent_values(frame: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Give each case and label a row for every metric; where there was none, it is undefined.

    Folds may have been evaluated by different programs. Without such rows their cases would be
    left out without being counted.

    Raises:
        CommandError: if a metric is missing in part, and incomplete results are not allowed.
    """
    trained = [REPEAT] if REPEAT in frame else []
    keys = ["dataset", "configuration", "model", *trained, "fold", "case", "label"]
    metrics = pd.DataFrame({"metric": settings.metrics})
    voxels = ["reference_voxels", "prediction_voxels"]
    wanted = frame[[*keys, *voxels]].drop_duplicates(keys).merge(metrics, how="cross")
    there = frame[[*keys, "metric"]].drop_duplicates()
    is_absent = wanted.merge(there, how="left", indicator=True)["_merge"] == "left_only"
    if not is_absent.any():
        return frame
    absent = wanted[is_absent.to_numpy()]
    if not settings.allow_incomplete:
        raise CommandError(_absent_in_words(absent, wanted))
    if "tolerance_mm" in frame:
        # Unmeasured values have no tolerance of their own, which would look like a different one.
        of_label = frame[frame["metric"] == "nsd"].groupby(["dataset", "label"])["tolerance_mm"]
        absent = absent.merge(of_label.first().reset_index(), how="left")
        absent["tolerance_mm"] = absent["tolerance_mm"].where(absent["metric"] == "nsd")
    return pd.concat([frame, absent.assign(value=np.nan)], ignore_index=True)[list(frame)]


def _absent_in_words(absent: pd.DataFrame, wanted: pd.DataFrame) -> str:
    """Name the models, trainings and folds that lack a metric in part, and the remedy."""
    metrics = list(absent["metric"].unique())
    if has_repeats(wanted):
        absent, wanted = apart(absent, wanted), apart(wanted)
    cases = wanted.groupby(["model", "dataset"])["case"].nunique()
    places = []
    for (model, dataset), rows in absent.groupby(["model", "dataset"], sort=False):
        folds = ", ".join(map(str, rows["fold"].unique()))
        number = rows["case"].nunique()
        places.append(
            f"{model}, {dataset}: fold {folds} ({number} of {cases[model, dataset]} cases)"
        )
    more = f" and {len(places) - _MOST_NAMED} more" if len(places) > _MOST_NAMED else ""
    measured = any(METRICS[metric].is_surface for metric in metrics)
    return (
        f"no {', '.join(metrics)} in part of the results: {'; '.join(places[:_MOST_NAMED])}{more}; "
        + ("measure all with --surface, or write " if measured else "write ")
        + "these summaries again with nnunet-attention evaluate, or give --allow-incomplete to "
        "leave these cases out"
    )


def _check_same_labels_and_cases(frame: pd.DataFrame, allow_incomplete: bool) -> None:
    for dataset, of_dataset in frame.groupby("dataset", sort=False):
        by_model = of_dataset.groupby("model", sort=False)
        for what, column, remedy in (
            ("labels", "label", "give all of them results with the same dataset.json"),
            ("cases", "case", "use the same folds and split, or give --allow-incomplete"),
        ):
            sets = by_model[column].agg(set)
            if column == "case" and allow_incomplete:
                continue
            (first, expected), *others = sets.items()
            for model, there in others:
                if there != expected:
                    only = ", ".join(
                        f"only {name} has {_few(more)}"
                        for name, more in ((first, expected - there), (model, there - expected))
                        if more
                    )
                    raise CommandError(
                        f"{dataset}: {first} and {model} have different {what} ({only}); {remedy}"
                    )


def _check_margin(settings: Settings) -> None:
    margin = settings.margin
    if margin is None:
        return
    if not 0 < margin < 1:
        raise CommandError(f"--margin {margin:g}: give a difference between 0 and 1, such as 0.01")
    if all(settings.margin_of(metric) is None for metric in settings.metrics):
        raise CommandError(
            f"--margin {margin:g} would be ignored: it is for metrics whose best value is 1, such "
            "as dice; compare one, or leave it out"
        )


def _refuse_comparing(settings: Settings, model: str) -> None:
    given = {
        "--margin": settings.margin is not None,
        "--paired-repeats": settings.paired_repeats,
        "--marks": settings.marks,
    }
    ignored = [option for option, is_given in given.items() if is_given]
    if ignored:
        raise CommandError(
            f"{' and '.join(ignored)} would be ignored, as {model} is the only model; name "
            f"another, or leave {'it' if len(ignored) == 1 else 'them'} out"
        )


def _refuse_pairing(settings: Settings) -> None:
    if settings.paired_repeats:
        raise CommandError(
            "--paired-repeats would be ignored, as every model was trained once; name further "
            "trainings with --results NAME=DIR or --repeats, or leave it out"
        )


def _check_groups(frame: pd.DataFrame, settings: Settings) -> None:
    for dataset, of_dataset in frame.groupby("dataset", sort=False):
        groups = settings.groups_of(str(dataset))
        if groups is None:
            return
        without = set(of_dataset["case"]) - set(groups)
        if without:
            raise CommandError(
                f"cases without a group: {_few(without)}; give every case of the results a group"
            )


class _Table(NamedTuple):
    """Holds the values of a row: cases by models, or cases by models and trainings."""

    dataset: str
    label: str
    is_overall: bool
    metric: str
    values: pd.DataFrame


def _tables(
    shared: pd.DataFrame, frame: pd.DataFrame, dataset: str, metric: str, models: tuple[str, ...]
) -> Iterator[_Table]:
    """Yield the values of each row of a data set, by one metric."""
    rows = shared[(shared["dataset"] == dataset) & (shared["metric"] == metric)]
    if rows.empty:
        return
    there = [model for model in models if (rows["model"] == model).any()]
    columns = ["model", REPEAT] if REPEAT in rows else "model"
    values = rows.pivot(index=["label", "case"], columns=columns, values="value")[there]
    labels = frame.loc[frame["dataset"] == dataset, "label"].unique()
    if len(labels) > 1:
        yield _Table(dataset, MEAN_OF_LABELS, True, metric, values.groupby("case").mean())
    for label in labels:
        if label in values.index.get_level_values("label"):
            is_overall = len(labels) == 1
            yield _Table(dataset, label, is_overall, metric, values.xs(label, level="label"))


def _row(table: _Table, settings: Settings, folds: Mapping[str, object] | None) -> Row:
    """Compute a row.

    Args:
        table: its values.
        settings: see `Settings`.
        folds: by case, where models have several trainings.
    """
    dataset, label, is_overall, metric, frame = table
    of_trainings = frame
    if folds is not None:
        names = list(dict.fromkeys(frame.columns.get_level_values(0)))
        frame = pd.DataFrame({name: of_trainings[name].mean(axis=1) for name in names})
    higher = METRICS[metric].higher_is_better
    # The cases of a group count as one unit, by their mean.
    groups = settings.groups_of(dataset)
    of_units = frame if groups is None else group_table(frame, groups)
    values = of_units.to_numpy().T
    models = list(frame.columns)
    # Each row has its own seed, so that it does not depend on the rest of the leaderboard.
    seed = (settings.seed, zlib.crc32("\0".join((dataset, label, metric)).encode()))
    rankings = rank_cases(values, higher, seed, settings.rank_resamples)
    summaries, comparisons = summarise_and_compare(
        values,
        higher,
        seed,
        settings.interval_resamples,
        bootstrap_interval if groups is None else group_interval,
    )
    standings = {method: _standings(ranking, models) for method, ranking in rankings.items()}
    pairs = tuple(
        Pair(models[first], models[second], comparison, comparison.p_value)
        for (first, second), comparison in comparisons.items()
    )
    described: dict[str, Repeated | None] = {}
    if folds is not None:
        trainings = Trainings(
            {model: of_trainings[model].to_numpy().T for model in models},
            layout_of(list(frame.index), folds, groups),
            seed,
            settings.interval_resamples,
            {model: list(of_trainings[model].columns) for model in models}
            if settings.paired_repeats
            else None,
        )
        described = {model: trainings.describe(model) for model in models}
        pairs = tuple(_over_trainings(pair, trainings) for pair in pairs)
    entries = {
        model: Entry(
            _with_interval(summaries[number], described.get(model)),
            standings["mean"][model].rank == 1,
            "",
            {method: standings[method][model] for method in standings},
            described.get(model),
        )
        for number, model in enumerate(models)
    }
    critical = None
    if min(values.shape) > 1:
        critical = critical_difference(values if higher else -values)
    return Row(
        dataset=dataset,
        label=label,
        is_overall=is_overall,
        metric=metric,
        cases=tuple(frame.index),
        values=frame.to_numpy().T,
        units=tuple(of_units.index),
        of_units=values,
        entries=entries,
        pairs=pairs,
        critical=critical,
        rankings=rankings,
    )


def _over_trainings(pair: Pair, trainings: Trainings) -> Pair:
    """Give a pair the test and interval over trainings, if both models have several."""
    repeated = trainings.compare(pair.first, pair.second)
    if repeated is None:
        return pair
    p_value = repeated.estimate.p_value
    comparison = replace(pair.comparison, low=repeated.low, high=repeated.high, p_value=p_value)
    return replace(pair, comparison=comparison, adjusted_p_value=p_value, repeated=repeated)


def _with_interval(summary: Summary, repeated: Repeated | None) -> Summary:
    if repeated is None:
        return summary
    return replace(summary, low=repeated.low, high=repeated.high)


def _standings(ranking: Ranking, models: list[str] | tuple[str, ...]) -> dict[str, Standing]:
    distribution = ranking.distribution
    low, high = ranking.interval()
    return {
        model: Standing(
            score=float(ranking.scores[number]),
            rank=int(ranking.ranks[number]),
            first=float(distribution[number, 0]),
            low=int(low[number]),
            high=int(high[number]),
            distribution=tuple(distribution[number].tolist()),
        )
        for number, model in enumerate(models)
    }


def _adjusted(rows: list[Row], settings: Settings) -> list[Row]:
    """Give rows marks and p-values adjusted by Holm's method, each family by itself."""
    adjusted: dict[int, np.ndarray] = {}
    for family in sorted({(row.metric, row.is_overall) for row in rows}):
        members = [
            number for number, row in enumerate(rows) if (row.metric, row.is_overall) == family
        ]
        p_values = holm([pair.comparison.p_value for n in members for pair in rows[n].pairs])
        ends = np.cumsum([len(rows[number].pairs) for number in members])
        adjusted.update(zip(members, np.split(p_values, ends[:-1]), strict=True))
    return [_with_marks(row, adjusted[number], settings) for number, row in enumerate(rows)]


def _with_marks(row: Row, adjusted: np.ndarray, settings: Settings) -> Row:
    pairs = tuple(
        _assessed(_corrected(pair, float(p_value), row.metric), row, settings)
        for pair, p_value in zip(row.pairs, adjusted, strict=True)
    )
    best = next(model for model, entry in row.entries.items() if entry.best)
    marks = {
        (pair.second if pair.first == best else pair.first): (
            "" if pair.ranks_disagree else mark_of(pair.adjusted_p_value)
        )
        for pair in pairs
        if best in (pair.first, pair.second)
    }
    entries = {
        model: replace(entry, mark="" if entry.best else marks[model])
        for model, entry in row.entries.items()
    }
    return Row(**{**vars(row), "pairs": pairs, "entries": entries})


def _corrected(pair: Pair, p_value: float, metric: str) -> Pair:
    pair = replace(pair, adjusted_p_value=p_value)
    # The test over trainings is of the mean itself.
    agree = pair.repeated is not None or pair.comparison.ranks_agree(
        METRICS[metric].higher_is_better
    )
    return replace(pair, ranks_disagree=pair.is_significant and not agree)


def _assessed(pair: Pair, row: Row, settings: Settings) -> Pair:
    margin = settings.margin_of(row.metric)
    if margin is None:
        return pair
    values = dict(zip(row.entries, row.of_units, strict=True))
    assessment = assess(
        values[pair.first] - values[pair.second],
        pair.repeated,
        margin,
        METRICS[row.metric].higher_is_better,
        pair.adjusted_p_value,
        pair.ranks_disagree,
    )
    return replace(pair, assessment=assessment)


def _refuse_published_beside_groups(settings: Settings) -> None:
    if settings.published and settings.groups is not None:
        raise CommandError(
            "--published: mean and SD of published results are over cases, but here the cases are "
            "grouped and a group counts as one; leave out --published, or the groups"
        )


def _beside_published(
    rows: list[Row], settings: Settings, models: tuple[str, ...]
) -> tuple[PublishedComparison, ...]:
    if not settings.published:
        return ()
    places = [(_row_of(result, rows, settings.metrics), result) for result in settings.published]
    named = [
        (row, replace(result, dataset=row.dataset, label=row.label, metric=row.metric))
        for row, result in places
    ]
    check_published([result for _, result in named], models)
    return tuple(
        compare_published(model, entry.summary, result)
        for row in rows
        for place, result in named
        if place is row
        for model, entry in row.entries.items()
    )


def _row_of(result: PublishedMean, rows: list[Row], metrics: tuple[str, ...]) -> Row:
    """Return the row that a published result is compared with."""
    where = f"--published: {result.model}"
    metric = result.metric or metrics[0]
    if metric not in metrics:
        raise CommandError(
            f"{where}: {metric} is not compared here; add it to --metrics, or remove the row"
        )
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    number = names_with_number(datasets, result.dataset)
    alike = [
        name for name in datasets if result.dataset in (name, short_dataset_name(name))
    ] or number
    if len(alike) != 1:
        raise CommandError(
            f"{where}: {'several' if alike else 'no'} data sets {result.dataset} are compared "
            f"here; give one of: {', '.join(alike or datasets)}"
        )
    there = [row for row in rows if (row.dataset, row.metric) == (alike[0], metric)]
    for row in there:
        if row.label == result.label or (not result.label and row.is_overall):
            return row
    raise CommandError(
        f"{where}, {alike[0]}: no label {result.label or 'stands for the data set'}; give one of: "
        f"{', '.join(row.label for row in there) or 'none'}"
    )


def _consensus(metric: str, rows: list[Row], models: tuple[str, ...]) -> Consensus:
    complete = [row for row in rows if row.is_overall and len(row.entries) == len(models)]
    if not complete:
        return Consensus(metric, (), {}, None)
    standings = {
        method: _standings(consensus([row.rankings[method] for row in complete]), models)
        for method in RANKING_METHODS
    }
    means = np.array([[row.entries[model].summary.mean for row in complete] for model in models])
    critical = None
    if min(means.shape) > 1:
        critical = critical_difference(means if METRICS[metric].higher_is_better else -means)
    return Consensus(metric, tuple(row.dataset for row in complete), standings, critical)


def _fold_means(frame: pd.DataFrame) -> dict[str, dict[str, dict[str, float | None]]]:
    keys = ["dataset", "metric", "model"]
    finite = frame.assign(value=frame["value"].replace([np.inf, -np.inf], np.nan))
    trained = ["fold", *([REPEAT] if REPEAT in frame else [])]
    of_labels = finite.groupby([*keys, *trained, "label"], sort=False)["value"].mean()
    means = of_labels.groupby([*keys, *trained], sort=False).mean().groupby(keys, sort=False).mean()
    by_dataset: dict[str, dict[str, dict[str, float | None]]] = {}
    for (dataset, metric, model), mean in means.items():
        of_metric = by_dataset.setdefault(dataset, {}).setdefault(metric, {})
        of_metric[model] = None if np.isnan(mean) else float(mean)
    return by_dataset


def _with_used(frame: pd.DataFrame, shared: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    keys = ["dataset", "model", "case", "label", "metric", *([REPEAT] if REPEAT in frame else [])]
    used = shared[[*keys, "value"]].rename(columns={"value": "used"})
    # The tolerance is dropped, as the settings hold it in words.
    cases = frame.drop(columns="tolerance_mm", errors="ignore")
    if settings.groups is not None:
        found = {name: settings.groups_of(name) or {} for name in cases["dataset"].unique()}
        of_rows = [
            found[dataset][case]
            for dataset, case in zip(cases["dataset"], cases["case"], strict=True)
        ]
        cases.insert(cases.columns.get_loc("case") + 1, "group", of_rows)
    return cases.merge(used, on=keys, how="left", validate="one_to_one")


def _few(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
