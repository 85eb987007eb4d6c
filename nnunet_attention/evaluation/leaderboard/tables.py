"""Makes the leaderboard's tables, for every output that has tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import inf
from typing import Any

from nnunet_attention.evaluation.leaderboard.building import (
    RANKING_METHODS,
    Leaderboard,
    Pair,
    Row,
    Standing,
)
from nnunet_attention.evaluation.leaderboard.grid import DASH, PLUS_MINUS, Cell, Grid
from nnunet_attention.evaluation.leaderboard.published import PublishedComparison
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.equivalence import CORRELATIONS, FalseClaims

MINUS = "\N{MINUS SIGN}"
# Below this many hours, one decimal would be too coarse.
_FEWEST_HOURS = 0.5
_FINE_DECIMALS = 4
_MOST_NAMED = 4
FOLD_MEANS_EXPLAINED = (
    "As nnU-Net has it in summary.json: mean over folds of the mean over labels of the mean over "
    "cases where the metric is defined."
)
UNDEFINED_EXPLAINED = (
    "Cases with empty masks: both / only the reference / only the prediction; then how many values "
    "the policy set or left out. Compared: cases that count for all models."
)

PUBLISHED_EXPLAINED = (
    "Difference: the model minus the published result. False claim: the probability that the one "
    "with the better mean is in truth not better, from means, SDs and n alone, if the two "
    "correlate so over cases; below 5 % where they correlate more than the last column says. "
    f"{DASH}: n differs, so that the cases are not the same; or no correlation is enough. Each "
    "model as if it had been trained once: what other trainings would give is not in it."
)


def marks_explained(board: Leaderboard) -> str:
    """Explain the main table's numbers and marks, or why there are no marks."""
    text = f"Mean and SD over {units_in_words(board)}; best mean in bold"
    if len(board.models) < 2:
        return f"{text}."
    if has_marks(board):
        text += f"; against it * p < 0.05, ** p < 0.01, *** p < 0.001 ({test_words(board)}, Holm)"
    if board.settings.marks or min(board.fewest_trainings.values()) > 1:
        return f"{text}."
    most = max(board.trainings.values())
    who = "One training each" if most == 1 else "Where a model was trained once"
    return (
        f"{text}. {who}: p-values hold for other {board.settings.unit}s, not for other trainings, "
        "and no marks of significance are set (--marks sets them)."
    )


def disagreements_explained(board: Leaderboard, metric: str) -> str:
    """Name the pairs whose means and ranks disagree, and what follows; empty if there are none."""
    found = [
        f"{pair.first} {DASH} {pair.second} on {board.short_name(row.dataset)}, {row.label}"
        for row, pair in board.disagreements(metric)
    ]
    if not found:
        return ""
    more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return (
        "Mean and ranks disagree: the test is significant, but not in favour of the model with the "
        f"better mean, so that neither is called better: {'; '.join(found[:_MOST_NAMED])}{more}."
    )


def has_marks(board: Leaderboard) -> bool:
    """Tell whether there may be marks of significance.

    At least two models must have been trained repeatedly, or marks been requested.
    """
    several = sum(count > 1 for count in board.trainings.values())
    return len(board.models) > 1 and (board.settings.marks or several > 1)


def test_words(board: Leaderboard) -> str:
    """Name the test that compares two models."""
    over_trainings = f"t test over trainings and {board.settings.unit}s"
    if min(board.fewest_trainings.values()) > 1:
        return over_trainings
    wilcoxon = "two-sided Wilcoxon signed-rank test"
    if max(board.trainings.values()) == 1:
        return wilcoxon
    return f"{over_trainings}, or {wilcoxon}"


def units_in_words(board: Leaderboard) -> str:
    """Name the units that means are taken over."""
    return "cases" if board.settings.groups is None else "groups, each by the mean of its cases"


def trainings_words(board: Leaderboard) -> str:
    """State how often models were trained; empty for a single model that was trained once."""
    counts = board.trainings
    if len(set(counts.values())) > 1:
        text = "trainings: " + ", ".join(f"{model} {count}" for model, count in counts.items())
    else:
        count = next(iter(counts.values()))
        if count == 1:
            return "one training each" if len(counts) > 1 else ""
        text = f"means of {count} trainings{' each' if len(counts) > 1 else ''}"
    return f"{text}{fewer_trainings(board)}"


def fewer_trainings(board: Leaderboard) -> str:
    """Name data sets on which models were trained less often than on others, comma first."""
    most = board.trainings
    parts = []
    for dataset, counts in board.trainings_on.items():
        fewer = [f"{model} {count}" for model, count in counts.items() if count < most[model]]
        if fewer:
            parts.append(f", on {board.short_name(dataset)} {' and '.join(fewer)}")
    return "".join(parts)


def trainings_explained(board: Leaderboard) -> str:
    """Explain the table of trainings."""
    return (
        "Mean over trainings; SD between the means of trainings; SD between "
        f"{board.settings.unit}s, of their means over trainings; interval of the mean over "
        f"trainings and {board.settings.unit}s; the mean of each training."
    )


def trainings_table(board: Leaderboard, metric: str) -> Grid:
    """Return a table of the spreads between trainings and units; no rows without repeats."""
    unit = board.settings.unit
    rows = [
        [
            board.short_name(row.dataset),
            row.label,
            model,
            str(repeated.repeats[0]),
            value_text(entry.summary.mean, metric),
            spread_text(repeated.training_sd, metric),
            spread_text(repeated.unit_sd, metric),
            confidence_interval(entry.summary.low, entry.summary.high, metric),
            " ".join(value_text(mean, metric) for mean in repeated.training_means),
        ]
        for row in board.rows_of(metric)
        for model, entry in row.entries.items()
        if (repeated := entry.repeated) is not None
    ]
    heading = [
        "data set", "label", "model", "trainings", "mean", "SD of trainings", f"SD of {unit}s",
        "95 % CI", "each",
    ]  # fmt: skip
    return Grid.of_texts(
        "Trainings",
        heading,
        rows,
        names=3,
        notes=(trainings_explained(board),),
        folded_heading=("trainings", "number"),
    )


def consensus_explained(board: Leaderboard) -> str:
    """Explain the numbers in brackets in the table of ranks."""
    return (
        "In brackets: mean of the ranks on the data sets; bootstrap resamples of "
        f"{board.settings.unit}s with rank 1; 95 % interval of the rank."
    )


def count_heading(board: Leaderboard) -> str:
    """Return the heading of the column of `count_text`."""
    return "n" if board.settings.groups is None else "n (cases)"


def count_text(board: Leaderboard, row: Row) -> str:
    """Count the cases of a row; or if they are grouped, the groups, with the cases in brackets."""
    units = str(len(row.units))
    return units if board.settings.groups is None else f"{units} ({len(row.cases)})"


def main_table(board: Leaderboard, metric: str) -> Grid:
    """Return a table of the mean and SD of each model on each data set and its labels."""
    rows = board.rows_of(metric)
    return Grid(
        title=_with_trainings(metric_title(metric), board),
        heading=("data set", "label", count_heading(board), *board.models),
        rows=tuple(
            (
                Cell(board.short_name(row.dataset) if row.is_overall else ""),
                Cell(row.label),
                Cell(count_text(board, row)),
                *(_mean_cell(board, row, model) for model in board.models),
            )
            for row in rows
        ),
        names=2,
        groups=frozenset(number for number, row in enumerate(rows) if row.is_overall),
        notes=tuple(filter(None, (marks_explained(board), disagreements_explained(board, metric)))),
        kept=3,
        folded_heading=("model", f"mean {PLUS_MINUS} SD"),
    )


def consensus_standings(
    board: Leaderboard, metric: str
) -> tuple[int, list[tuple[str, dict[str, Standing]]]]:
    """Count the data sets, and return the models, best mean first, with their standings."""
    consensus = next(item for item in board.consensus if item.metric == metric)
    if not consensus.standings:
        return 0, []
    models = sorted(board.models, key=lambda model: consensus.standings["mean"][model].rank)
    return len(consensus.datasets), [
        (model, {method: consensus.standings[method][model] for method in RANKING_METHODS})
        for model in models
    ]


def consensus_table(board: Leaderboard, metric: str) -> Grid:
    """Return a table of each model's rank over all data sets by each method."""
    count, models = consensus_standings(board, metric)
    return Grid.of_texts(
        f"Ranks over {count} data sets" if count > 1 else "Ranks",
        ["model", *(f"rank by {name}" for name in RANKING_METHODS.values())],
        [[model, *map(_standing, standings.values())] for model, standings in models],
        names=1,
        notes=(consensus_explained(board),),
        folded_heading=("ranking", "rank"),
    )


def ranks_table(board: Leaderboard, metric: str) -> Grid:
    """Return the content of `consensus_table` without scores, each number in its own column."""
    _, models = consensus_standings(board, metric)
    return Grid.of_texts(
        "Ranks",
        ["model", *(name for _ in RANKING_METHODS for name in ("rank", "P(1)", "95 %"))],
        [
            [
                model,
                *(
                    text
                    for standing in standings.values()
                    for text in (
                        str(standing.rank),
                        percent(standing.first),
                        interval(standing.low, standing.high),
                    )
                ),
            ]
            for model, standings in models
        ],
        names=1,
    )


def pair_table(board: Leaderboard, metric: str) -> Grid:
    """Return a table that compares each pair of models on each data set and label."""
    heading = [
        "data set", "label", "models", count_heading(board), "difference", "95 % CI",
        "wins/ties/losses", "rank-biserial r", "p", "p (Holm)",
    ]  # fmt: skip
    rows = [
        [
            board.short_name(row.dataset),
            row.label,
            f"{pair.first} {DASH} {pair.second}",
            count_text(board, row),
            signed(pair.comparison.mean_difference, metric),
            confidence_interval(pair.comparison.low, pair.comparison.high, metric, signed),
            wins_ties_losses(pair),
            f"{pair.comparison.effect_size:+.2f}".replace("-", MINUS),
            p_text(pair.comparison.p_value),
            p_text(pair.adjusted_p_value),
        ]
        for row in board.rows_of(metric)
        for pair in row.pairs
    ]
    return Grid.of_texts("Paired comparisons", heading, rows, names=3)


def assessment_explained(board: Leaderboard) -> str:
    """Explain the table of `assessment_table`."""
    unit = board.settings.unit
    once = ""
    if min(board.fewest_trainings.values()) == 1:
        once = (
            f" Where a model was trained once, all this holds for other {unit}s, not for other "
            "trainings."
        )
    return (
        f"Margin {board.settings.margin:g}. Not worse: one-sided t tests that the first model, and "
        "the second, is not worse by the margin. Equivalent: both are small (TOST, 5 %), which is "
        "that the 90 % interval lies within the margin; from: the margin from which on they are. "
        f"Detectable: the smallest difference that so many {unit}s and trainings find with 80 % "
        f"power. Needed: {unit}s, or trainings of each fold, to find a difference of the margin. "
        "False claim: the probability that the model with the better mean is in truth not better. "
        "Verdict on the first model: equivalence comes first; better or worse by p (Holm)."
        f"{once}"
    )


def assessment_table(board: Leaderboard, metric: str) -> Grid:
    """Return a table of each difference's assessment against the margin; no rows without one."""
    unit = board.settings.unit
    found = [
        (row, pair, pair.assessment)
        for row in board.rows_of(metric)
        for pair in row.pairs
        if pair.assessment is not None
    ]
    several = any(pair.repeated is not None for _, pair, _ in found)
    heading = [
        "data set", "label", "models", "verdict", "difference", "90 % CI",
        "first not worse, p", "second not worse, p", "equivalent from", "detectable",
        f"{unit}s needed", *(["trainings needed"] if several else []), "false claim",
    ]  # fmt: skip
    rows = [
        [
            board.short_name(row.dataset),
            row.label,
            f"{pair.first} {DASH} {pair.second}",
            _verdict_text(pair, item.verdict),
            _fine(pair.comparison.mean_difference),
            f"[{_fine(item.equivalence.low)}, {_fine(item.equivalence.high)}]",
            _small_p_text(item.not_worse_p_value),
            _small_p_text(item.not_better_p_value),
            f"{item.equivalence.smallest_margin:.{_FINE_DECIMALS}f}",
            f"{item.detectable_difference:.{_FINE_DECIMALS}f}",
            _number(item.units_needed),
            *([_number(item.trainings_needed)] if several else []),
            _small_p_text(item.false_claim_probability),
        ]
        for row, pair, item in found
    ]
    return Grid.of_texts(
        "Equivalence and power",
        heading,
        rows,
        names=3,
        notes=(assessment_explained(board),) if found else (),
        folded_heading=("against the margin", "result"),
    )


def published_table(board: Leaderboard, metric: str) -> Grid:
    """Return a table of models beside published results; no rows if none were given."""
    comparisons = [
        comparison for comparison in board.published if comparison.published.metric == metric
    ]
    return published_grid(comparisons, board.short_name)


def published_grid(
    comparisons: Iterable[PublishedComparison], name_of: Callable[[str], str]
) -> Grid:
    """Return the table of models beside published results.

    Args:
        comparisons: by one metric.
        name_of: returns the displayed name of a data set from its full name.
    """
    heading = [
        "data set", "label", "published", "mean", "SD", "n", "beside", "difference",
        *(f"false claim, r = {correlation:g}" for correlation in CORRELATIONS), "below 5 % from r",
    ]  # fmt: skip
    rows = [
        [
            name_of(published.dataset),
            published.label,
            published.model,
            value_text(published.mean, published.metric),
            value_text(published.sd, published.metric),
            str(published.n),
            comparison.model,
            _fine(comparison.difference),
            *_false_claim_texts(comparison.claims),
        ]
        for comparison in comparisons
        for published in [comparison.published]
    ]
    return Grid.of_texts(
        "Beside published results",
        heading,
        rows,
        names=3,
        notes=(PUBLISHED_EXPLAINED,),
        folded_heading=("what", "value"),
    )


def cost_table(board: Leaderboard) -> Grid:
    """Return a table of the known costs; no rows if none are known."""
    known = {key: cost for key, cost in board.costs.items() if cost.is_known}
    columns: dict[str, tuple[str, Callable[[float], str]]] = {
        "parameters": ("parameters (millions)", lambda number: f"{number / 1e6:.2f}"),
        "training_hours": _training_column(cost.training_hours for cost in known.values()),
        "seconds_per_case": ("validation (s a case)", lambda number: f"{number:.1f}"),
    }
    columns = {
        name: column
        for name, column in columns.items()
        if any(getattr(cost, name) is not None for cost in known.values())
    }
    rows = []
    for (dataset, model), cost in known.items():
        numbers = [(getattr(cost, name), text) for name, (_, text) in columns.items()]
        rows.append(
            [
                board.short_name(dataset),
                model,
                *(DASH if number is None else text(number) for number, text in numbers),
            ]
        )
    heading = ["data set", "model", *(title for title, _ in columns.values())]
    return Grid.of_texts("Costs", heading, rows, names=2, folded_heading=("cost", "number"))


def _training_column(hours: Iterable[float | None]) -> tuple[str, Callable[[float], str]]:
    """Return the heading and formatter of training times: in minutes if any is short."""
    if min((number for number in hours if number is not None), default=inf) < _FEWEST_HOURS:
        return "training (min a fold)", lambda number: f"{number * 60:.1f}"
    return "training (h a fold)", lambda number: f"{number:.1f}"


def undefined_table(board: Leaderboard, metric: str) -> Grid:
    """Return a table of labels with empty masks or undefined values, and how they were treated."""
    counts = board.undefined[board.undefined["metric"] == metric]
    common = {
        (item.dataset, item.label): item.common
        for item in board.dropped[board.dropped["metric"] == metric].itertuples()
    }
    rows = []
    for dataset in board.datasets:
        of_dataset = counts[counts["dataset"] == dataset]
        for label in of_dataset["label"].unique():
            of_model = {item.model: item for item in of_dataset.itertuples() if item.label == label}
            cells = [_undefined_text(of_model.get(model)) for model in board.models]
            # For repeats, the counts are over all trainings.
            cases = max(item.cases // getattr(item, "trainings", 1) for item in of_model.values())
            compared = int(common.get((dataset, label), 0))
            if compared != cases or any(cell not in ("", DASH) for cell in cells):
                cells = [cell or "none" for cell in cells]
                compared_text = f"{compared} of {cases}"
                rows.append([board.short_name(dataset), label, compared_text, *cells])
    return replace(
        Grid.of_texts(
            f"Undefined values of {METRICS[metric].title}: {board.settings.policy}",
            ["data set", "label", "compared", *board.models],
            rows,
            names=2,
            notes=(UNDEFINED_EXPLAINED,),
        ),
        kept=3,
        folded_heading=("model", "undefined"),
    )


def fold_mean_table(board: Leaderboard, metric: str) -> Grid:
    """Return a table of nnU-Net's own figure, the one its users know."""
    rows = []
    for dataset in board.datasets:
        means = board.fold_means[dataset].get(metric, {})
        numbers = [means.get(model) for model in board.models]
        rows.append(
            [
                board.short_name(dataset),
                *(DASH if number is None else f"{number:.4f}" for number in numbers),
            ]
        )
    return Grid.of_texts(
        "nnU-Net's means",
        ["data set", *board.models],
        rows,
        names=1,
        notes=(FOLD_MEANS_EXPLAINED,),
    )


def value_text(value: float, metric: str) -> str:
    """Write a value with three decimals, two for millimetres."""
    decimals = _decimals(metric)
    # Adding 0 turns a negative zero, the result of rounding, into a positive one.
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def spread_text(sd: float, metric: str) -> str:
    """Write a spread between trainings, which is small, with one more decimal than a value."""
    return f"{sd:.{_decimals(metric) + 1}f}"


def signed(value: float, metric: str) -> str:
    """Write a value as `value_text` does, with a sign unless it is zero when rounded."""
    return _signed(value, _decimals(metric))


def confidence_interval(
    low: float | None,
    high: float | None,
    metric: str,
    text: Callable[[float, str], str] = value_text,
) -> str:
    """Write both ends in brackets; a dash if there is no interval."""
    if low is None or high is None:
        return DASH
    return f"[{text(low, metric)}, {text(high, metric)}]"


def p_text(p_value: float) -> str:
    """Write a p-value with three decimals, or the bound that journals print."""
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def percent(share: float) -> str:
    """Write a share in whole percent, with 0 and 100 reserved for none and all."""
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 <= share < 1:
        return ">99 %"
    return f"{share:.0%}".replace("%", " %")


def interval(low: int, high: int) -> str:
    """Write an interval of ranks."""
    return str(low) if low == high else f"{low}{DASH}{high}"


def wins_ties_losses(pair: Pair) -> str:
    """Count the cases in which a pair's first model is better, equally good, and worse."""
    comparison = pair.comparison
    return f"{comparison.wins}/{comparison.zeros}/{comparison.losses}"


def metric_title(metric: str) -> str:
    """Name a metric, with an arrow in the direction that is better."""
    arrow = "\N{UPWARDS ARROW}" if METRICS[metric].higher_is_better else "\N{DOWNWARDS ARROW}"
    return f"{METRICS[metric].title} {arrow}"


def _signed(value: float, decimals: int) -> str:
    text = f"{value:+.{decimals}f}"
    if not text.strip("+-0."):
        return text[1:]
    return text.replace("-", MINUS)


def _verdict_text(pair: Pair, verdict: str) -> str:
    """Write a verdict, with the reason if only the ranks' direction left it open."""
    is_open = pair.ranks_disagree and verdict == "undecided"
    return f"{verdict} (mean and ranks disagree)" if is_open else verdict


def _fine(value: float) -> str:
    """Write a difference with a sign, and with one more decimal than a value."""
    return _signed(value, _FINE_DECIMALS)


def _small_p_text(p_value: float) -> str:
    """Write a p-value with three decimals, or a small one by its order of magnitude."""
    return f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.0e}".replace("-", MINUS)


def _false_claim_texts(claims: FalseClaims | None) -> list[str]:
    """Write the probabilities by correlation, and the needed correlation."""
    if claims is None:
        return [DASH] * (len(CORRELATIONS) + 1)
    probabilities = map(_small_p_text, claims.by_correlation)
    return [*probabilities, _correlation_text(claims.needed_correlation)]


def _correlation_text(needed: float | None) -> str:
    if needed is None:
        return DASH
    if needed == -1:
        return "any"
    # 1.00 would look unreachable.
    return ">0.99" if needed >= 0.995 else f"{needed:.2f}".replace("-", MINUS)


def _number(needed: int | None) -> str:
    return DASH if needed is None else f"{needed}"


def _with_trainings(title: str, board: Leaderboard) -> str:
    words = trainings_words(board)
    return f"{title}, {words}" if words else title


def _standing(standing: Standing) -> str:
    details = (
        f"{standing.score:.2f}",
        percent(standing.first),
        interval(standing.low, standing.high),
    )
    return f"{standing.rank} ({'; '.join(details)})"


def _undefined_text(counts: Any) -> str:
    if counts is None:
        return DASH
    kinds = (counts.both_empty, counts.prediction_only, counts.reference_only)
    parts = ["/".join(map(str, kinds))] if any(kinds) else []
    parts += [f"{counts.replaced} set"] if counts.replaced else []
    parts += [f"{counts.left_out} left out"] if counts.left_out else []
    return ", ".join(parts)


def _decimals(metric: str) -> int:
    return 2 if metric.endswith("_mm") else 3


def _mean_cell(board: Leaderboard, row: Row, model: str) -> Cell:
    entry = row.entries.get(model)
    if entry is None:
        return Cell(DASH)
    sd = entry.summary.sd
    return Cell(
        value_text(entry.summary.mean, row.metric),
        "" if sd is None else value_text(sd, row.metric),
        entry.best,
        entry.mark if board.shows_mark(row, model) else "",
    )
