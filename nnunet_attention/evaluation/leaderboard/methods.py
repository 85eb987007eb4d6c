"""Describes the methods in text ready for a paper."""

from __future__ import annotations

from collections.abc import Mapping

from nnunet_attention.evaluation.leaderboard.building import MEAN_OF_LABELS, Leaderboard
from nnunet_attention.evaluation.leaderboard.tables import fewer_trainings
from nnunet_attention.evaluation.metrics.definitions import METRICS, SURFACE_DEFINITION
from nnunet_attention.evaluation.statistics.definitions import POLICIES
from nnunet_attention.evaluation.statistics.equivalence import CORRELATIONS
from nnunet_attention.nnunet.known_splits import KnownSplit
from nnunet_attention.nnunet.model_folders import ALL
from nnunet_attention.versions import versions_of

REFERENCES = (
    "Wilcoxon F. Individual comparisons by ranking methods. Biometrics Bulletin 1945. "
    "https://doi.org/10.2307/3001968",
    "Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of "
    "Statistics 1979. https://www.jstor.org/stable/4615733",
    "Efron B. Better bootstrap confidence intervals. Journal of the American Statistical "
    "Association 1987. https://doi.org/10.2307/2289144",
    "Kerby DS. The simple difference formula: an approach to teaching nonparametric correlation. "
    "Comprehensive Psychology 2014. https://doi.org/10.2466/11.IT.3.1",
    "Wiesenfarth M, et al. Methods and open-source toolkit for analyzing and visualizing challenge "
    "results. Scientific Reports 2021. https://doi.org/10.1038/s41598-021-82017-6",
    "Antonelli M, et al. The Medical Segmentation Decathlon. Nature Communications 2022. "
    "https://doi.org/10.1038/s41467-022-30695-9",
    "Demsar J. Statistical comparisons of classifiers over multiple data sets. Journal of Machine "
    "Learning Research 2006. https://jmlr.org/papers/v7/demsar06a.html",
    "Isensee F, et al. nnU-Net: a self-configuring method for deep learning-based biomedical image "
    "segmentation. Nature Methods 2021. https://doi.org/10.1038/s41592-020-01008-z",
)
_REPEATS_REFERENCE = (
    "Searle SR, Casella G, McCulloch CE. Variance components. Wiley 1992. "
    "https://doi.org/10.1002/9780470316856"
)
_MARGIN_REFERENCE = (
    "Schuirmann DJ. A comparison of the two one-sided tests procedure and the power approach for "
    "assessing the equivalence of average bioavailability. Journal of Pharmacokinetics and "
    "Biopharmaceutics 1987. https://doi.org/10.1007/BF01068419"
)
_CLAIMS_REFERENCE = (
    "Christodoulou E, et al. False promises in medical imaging AI? Assessing validity of "
    "outperformance claims. 2025. https://arxiv.org/abs/2505.04720"
)
_LIBRARIES = ("numpy", "scipy", "pandas")


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of all packages that the results depend on."""
    return versions_of(*_LIBRARIES)


def tolerance_in_words(tolerances_mm: Mapping[str, Mapping[str, float | None]]) -> str | None:
    """State the tolerance of the normalised surface Dice in words; None if none is known.

    Args:
        tolerances_mm: by data set and label; if all are equal, a single number is given.
    """
    values = {mm for of_label in tolerances_mm.values() for mm in of_label.values()}
    if values <= {None}:
        return None
    if len(values) == 1:
        return f"{values.pop():g} mm"
    return ", ".join(
        f"{'unknown' if mm is None else f'{mm:g} mm'} for {label} of {dataset}"
        for dataset, of_label in tolerances_mm.items()
        for label, mm in of_label.items()
    )


def references(board: Leaderboard) -> tuple[str, ...]:
    """Return the references that a leaderboard's methods cite, numbered from 1."""
    return (
        *REFERENCES,
        *((_REPEATS_REFERENCE,) if _has_repeats(board) else ()),
        *((_MARGIN_REFERENCE,) if _has_margin(board) else ()),
        *((_CLAIMS_REFERENCE,) if _has_margin(board) or board.published else ()),
    )


def methods_paragraphs(board: Leaderboard, all_marks: bool = False) -> list[str]:
    """Return paragraphs from data to software; numbers in brackets refer to `references`.

    Args:
        board: the leaderboard.
        all_marks: whether the text accompanies all marks, including those that tables do not show.
    """
    return [
        _data(board),
        _metrics(board),
        _undefined(board),
        _statistics(board, all_marks or board.settings.marks),
        _rankings(board),
        _software(board),
    ]


def _data(board: Leaderboard) -> str:
    cases = board.cases.groupby("dataset", sort=False)["case"].nunique()
    listed = ", ".join(f"{board.short_name(name)} (n = {count})" for name, count in cases.items())
    alike: dict[str, list[str]] = {}
    for name, rows in board.cases.groupby("dataset", sort=False):
        words = _validation(list(rows["fold"].unique()), board.splits.get(str(name)))
        alike.setdefault(words, []).append(board.short_name(str(name)))
    if len(alike) == 1:
        validated = f"Each case was segmented once, {next(iter(alike))}"
    else:
        validated = "Each case was segmented once: " + "; ".join(
            f"on {_joined(tuple(names))} {words}" for words, names in alike.items()
        )
    text = (
        f"We compared {_joined(board.models)} on {_counted(len(cases), 'data set')}: {listed}. "
        f"{validated}. {_unit(board)}"
    )
    if board.missing:
        text += (
            f" Results of {_counted(len(board.missing), 'fold')} were missing; only cases with "
            "results of all models were compared."
        )
    return " ".join([text, *(f"{note}." for note in board.different_references())])


def _unit(board: Leaderboard) -> str:
    """State the unit of the statistics."""
    groups = board.settings.groups
    if groups is None:
        return "The case is the unit of all statistics."
    counts = ", ".join(
        f"{of_dataset['group'].nunique()} in {board.short_name(str(name))}"
        for name, of_dataset in board.cases.groupby("dataset", sort=False)
    )
    return (
        f"Cases that belong together formed groups ({counts}). The group is the unit of all "
        "statistics: it counts once, by the mean of its cases, in means, intervals, tests and "
        "ranks, and is resampled as a whole."
    )


def _validation(folds: list[int | str], split: KnownSplit | None) -> str:
    """State how the cases of a data set were validated, as far as is known."""
    if folds == [ALL]:
        return "by a model that was trained on all cases, this one included (nnU-Net's fold all)"
    if split is None:
        return (
            "in a cross-validation with a split that is not known here "
            f"({_counted(len(folds), 'fold')})"
        )
    whose = "nnU-Net's own split [8]" if split.is_nnunet else "a split of the project's own"
    which = _counted(split.folds, "fold")
    if len(folds) < split.folds:
        names = sorted(map(str, folds), key=lambda name: (len(name), name))
        numbers = _joined(tuple(names))
        which = f"{'folds' if len(folds) > 1 else 'fold'} {numbers} of {split.folds}"
    return f"by the model that was not trained on it, in a cross-validation with {whose} ({which})"


def _metrics(board: Leaderboard) -> str:
    metrics = [METRICS[name] for name in board.settings.metrics]
    text = " ".join(metric.definition for metric in metrics)
    if any(metric.is_surface for metric in metrics):
        text += f" {SURFACE_DEFINITION}"
    if "nsd" in board.settings.metrics and board.settings.tolerance_mm is not None:
        text += f" The tolerance was {board.settings.tolerance_mm}."
    if any(row.label == MEAN_OF_LABELS for row in board.rows):
        text += (
            " A data set with several labels is represented by each case's mean over those of its "
            "labels that count."
        )
    return text


def _undefined(board: Leaderboard) -> str:
    policy = board.settings.policy
    counts = board.undefined.groupby("metric", sort=False)[["cases", "replaced", "left_out"]].sum()
    numbers = [
        f"{METRICS[name].title}: {int(row.replaced)} set and {int(row.left_out)} left out of "
        f"{int(row.cases)} values"
        for name, row in counts.iterrows()
    ]
    distance = ""
    if any(name in board.settings.metrics for name in ("assd_mm", "hd95_mm")):
        chosen = board.settings.missing_distance_mm
        meaning = "left out" if chosen is None else f"set to {chosen:g} mm"
        distance = f" Distances of cases where just one mask is empty were {meaning}."
    dropped = board.dropped.groupby("metric", sort=False)["dropped"].sum()
    primary = board.settings.metrics[0]
    return (
        f"Undefined values were treated by the policy '{policy}': {POLICIES[policy]}"
        f"{distance} Over all models, labels and cases: {'; '.join(numbers)}. Models were compared "
        "on the same cases, paired by name: where a value was left out for one model, the case was "
        "left out for all "
        f"({METRICS[primary].title}: {_counted(int(dropped.get(primary, 0)), 'case')} of a label)."
    )


def _statistics(board: Leaderboard, all_marks: bool) -> str:
    settings = board.settings
    unit = settings.unit
    stretched = ""
    if settings.groups is not None:
        stretched = (
            "; its distances from the mean were stretched by the quantile of the t distribution "
            "over that of the normal one, and by the root of G / (G - 1), for G groups"
        )
    text = (
        f"We report mean, standard deviation and median over {unit}s, and a 95 % confidence "
        "interval of the mean by the bias-corrected and accelerated bootstrap over "
        f"{unit}s [3] ({settings.interval_resamples} resamples{stretched})."
    )
    if len(board.models) < 2:
        return f"{text}{_over_trainings(board)}{_published(board)}"
    primary = board.rows_of(settings.metrics[0])
    families = [
        _counted(sum(len(row.pairs) for row in primary if row.is_overall is overall), "test")
        for overall in (True, False)
    ]
    return (
        f"{text} Each two models were compared by the two-sided Wilcoxon signed-rank test [1] on "
        f"paired {unit}s; {unit}s without a difference were left out of the test and counted as "
        f"ties. P-values were exact for at most 50 differing {unit}s without ties among the "
        "differences, and for at most 13 in any event, and else from the normal approximation. "
        "They were corrected by Holm's method [2] for all tests of a metric at one level: over "
        f"all pairs of models and data sets ({families[0]}), and apart from these over "
        f"all pairs of models and labels of data sets with several labels ({families[1]}). Metrics "
        f"were not corrected for one another. {_marks(board, all_marks)}"
        f"{_disagreements(board)} The effect size is the "
        f"matched-pairs rank-biserial correlation [4].{_over_trainings(board)}{_margin(board)}"
        f"{_published(board)}"
    )


def _disagreements(board: Leaderboard) -> str:
    """State what was done where mean and ranks disagreed; return nothing if they nowhere did."""
    found = len(board.disagreements())
    if not found:
        return ""
    return (
        f" In {_counted(found, 'comparison')} mean and ranks disagreed: the test was significant, "
        "but not in favour of the model with the better mean; there, neither model was called "
        "better, and no mark was set."
    )


def _marks(board: Leaderboard, all_marks: bool) -> str:
    explained = (
        "Marks are against the model with the best mean: * p < 0.05, ** p < 0.01, *** p < 0.001 "
        "after correction."
    )
    if all_marks or min(board.fewest_trainings.values()) > 1:
        return explained
    once = "Each model was trained once"
    if _has_repeats(board):
        once = "; ".join(_trained_once(board))
    withheld = (
        f"{once}: such a p-value says whether a difference would hold for other "
        f"{board.settings.unit}s, not whether it would for other trainings, so that no mark of "
        "significance is set."
    )
    return f"{explained} {withheld}" if _has_repeats(board) else withheld


def _trained_once(board: Leaderboard) -> list[str]:
    """List the models trained once, and where, if not everywhere; the first begins a sentence."""
    most = board.trainings
    everywhere = tuple(model for model, count in most.items() if count == 1)
    parts = [f"{_joined(everywhere)} {_was(everywhere)} trained once"] if everywhere else []
    for dataset, counts in board.trainings_on.items():
        here = tuple(model for model, count in counts.items() if count == 1 < most[model])
        if here:
            on = "on" if parts else "On"
            name = board.short_name(dataset)
            parts.append(f"{on} {name} {_joined(here)} {_was(here)} trained once")
    return parts


def _was(names: tuple[str, ...]) -> str:
    return "was" if len(names) == 1 else "were"


def _over_trainings(board: Leaderboard) -> str:
    """State how several trainings were compared; return nothing if there are none."""
    if not _has_repeats(board):
        return ""
    unit = board.settings.unit
    counts = _joined(tuple(f"{count} of {model}" for model, count in board.trainings.items()))
    counts += fewer_trainings(board)
    paired = "paired by their seeds" if board.settings.paired_repeats else "not paired"
    return (
        f" Of each fold there were several trainings ({counts}), and values are means over them. "
        "Two models with several trainings each were compared, instead of by Wilcoxon's test, by "
        f"a t test over trainings and {unit}s: the variance of a mean is that between trainings "
        f"of a fold, summed over folds, plus that between {unit}s, less what both share, with "
        f"Satterthwaite's degrees of freedom [{len(REFERENCES) + 1}]; trainings were {paired}. "
        "Intervals of such means and differences are from a two-level bootstrap, of trainings "
        f"within folds and of {unit}s, scaled to the test's standard error and widened from the "
        "normal to the t distribution. Ranks and their stability are those of the means over "
        "trainings."
    )


def _margin(board: Leaderboard) -> str:
    """State how equivalence was tested; return nothing if it was not."""
    if not _has_margin(board):
        return ""
    schuirmann, false_claims = (
        _number_of(reference, board) for reference in (_MARGIN_REFERENCE, _CLAIMS_REFERENCE)
    )
    unit = board.settings.unit
    once = ""
    if min(board.fewest_trainings.values()) == 1:
        once = (
            f" Where a model was trained once, all of these speak of other {unit}s, not of other "
            "trainings."
        )
    return (
        f" Differences smaller than {board.settings.margin:g} were taken not to matter. Two models "
        "were called equivalent where two one-sided t tests at the 5 % level "
        f"[{schuirmann}], not corrected for their number, showed the mean difference to lie within "
        "that margin; else better or worse where the corrected p-value was below 0.05; else "
        "undecided. Non-inferiority is one of these two tests alone. Power is that of the "
        "two-sided t test of the mean difference at the 5 % level, with the variance observed "
        f"between {unit}s and, where there are several, between trainings. The probability of a "
        "false claim is that of the model with the better mean not being better in truth, with "
        f"flat priors of mean and log standard deviation [{false_claims}].{once}"
    )


def _published(board: Leaderboard) -> str:
    """State how published results were compared; return nothing if there are none."""
    if not board.published:
        return ""
    names = dict.fromkeys(comparison.published.model for comparison in board.published)
    correlations = _joined(tuple(f"{correlation:g}" for correlation in CORRELATIONS))
    return (
        f" Of {_joined(tuple(names))} only published means, standard deviations and numbers of "
        "cases are known. The probability that the model with the better mean is in truth not "
        "better is that of a t distribution of the mean difference with n - 1 degrees of freedom "
        f"[{_number_of(_CLAIMS_REFERENCE, board)}]. It depends on the models' correlation over "
        f"cases, which is not known: we report it for correlations of {correlations}, and the "
        "correlation above which it is below 5 %. It takes the cases to be the same and "
        "independent, and says nothing of other trainings."
    )


def _number_of(reference: str, board: Leaderboard) -> int:
    return references(board).index(reference) + 1


def _has_margin(board: Leaderboard) -> bool:
    return board.settings.margin is not None and len(board.models) > 1


def _has_repeats(board: Leaderboard) -> bool:
    return max(board.trainings.values()) > 1


def _rankings(board: Leaderboard) -> str:
    if len(board.models) < 2:
        return "With a single model there is no ranking."
    unit = board.settings.unit
    return (
        f"Models were ranked on each data set by three methods [5]: by the mean over {unit}s; by "
        f"the mean of the ranks within each {unit}; and by the number of models that are "
        "significantly worse in one-sided Wilcoxon signed-rank tests at the 5 % level, not "
        "corrected, as in the Medical Segmentation Decathlon [6]. Equals share the smallest "
        "rank. Over data sets the ranks were averaged and ranked again. Stability is the share of "
        f"{board.settings.rank_resamples} bootstrap resamples of the {unit}s in which a model "
        "has a rank, with a 95 % percentile interval of the rank. Mean ranks were compared by "
        "Friedman's test (for three models or more) and Nemenyi's critical difference at the "
        "5 % level [7]."
    )


def _software(board: Leaderboard) -> str:
    listed = ", ".join(f"{name} {number}" for name, number in versions().items())
    return f"Computed with {listed}; random seed {board.settings.seed}."


def _joined(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
