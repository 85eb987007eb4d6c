"""The leaderboard's tables as texts, for every output that has tables."""

from __future__ import annotations

from dataclasses import dataclass

from nnunet_attention.evaluation.leaderboard.building import (
    RANKING_METHODS,
    Leaderboard,
    Pair,
    Row,
    Standing,
)
from nnunet_attention.evaluation.metrics.definitions import METRICS

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
MARKS_EXPLAINED = (
    "Mean and SD over cases; best mean in bold; against it * p < 0.05, ** p < 0.01, *** p < 0.001 "
    "(Wilcoxon signed-rank, Holm)."
)
FOLD_MEANS_EXPLAINED = (
    "As nnU-Net has it in summary.json: mean over folds of the mean over labels of the mean over "
    "cases where the metric is defined."
)
CONSENSUS_EXPLAINED = (
    "In brackets: mean of the ranks on the data sets; bootstrap resamples of cases with rank 1; "
    "95 % interval of the rank."
)
UNDEFINED_EXPLAINED = (
    "Cases with empty masks: both / only the reference / only the prediction; then how many values "
    "the policy set or left out. Compared: cases that count for all models."
)


@dataclass(frozen=True)
class Cell:
    """A model's result in a row of the main table.

    Attributes:
        mean: as text.
        sd: as text; empty for one case.
        best: to be set in bold.
        mark: stars, see `leaderboard.Entry`.
    """

    mean: str
    sd: str
    best: bool
    mark: str


@dataclass(frozen=True)
class MainRow:
    """A row of the main table.

    Attributes:
        dataset: short name; empty below the data set's first row.
        label: name.
        n: cases.
        is_overall: begins a data set.
        cells: by model; None where a model has no results.
    """

    dataset: str
    label: str
    n: int
    is_overall: bool
    cells: tuple[Cell | None, ...]


def main_table(board: Leaderboard, metric: str) -> list[MainRow]:
    """Mean and SD of each model on each data set, and on its labels."""
    return [
        MainRow(
            dataset=board.short_name(row.dataset) if row.is_overall else "",
            label=row.label,
            n=len(row.cases),
            is_overall=row.is_overall,
            cells=tuple(_cell(row, model) for model in board.models),
        )
        for row in board.rows_of(metric)
    ]


def consensus_standings(
    board: Leaderboard, metric: str
) -> tuple[int, list[tuple[str, dict[str, Standing]]]]:
    """How many data sets; then models, best mean first, each with its standings by method."""
    consensus = next(one for one in board.consensus if one.metric == metric)
    if not consensus.standings:
        return 0, []
    models = sorted(board.models, key=lambda model: consensus.standings["mean"][model].rank)
    return len(consensus.datasets), [
        (model, {method: consensus.standings[method][model] for method in RANKING_METHODS})
        for model in models
    ]


def consensus_table(board: Leaderboard, metric: str) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: each model's rank over all data sets by each method."""
    _, found = consensus_standings(board, metric)
    return ["model", *(f"rank by {name}" for name in RANKING_METHODS.values())], [
        [
            model,
            *(
                f"{one.rank} ({one.score:.2f}; {percent(one.first)}; {interval(one.low, one.high)})"
                for one in standings.values()
            ),
        ]
        for model, standings in found
    ]


def pair_table(board: Leaderboard, metric: str) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: each two models on each data set and label."""
    heading = [
        "data set", "label", "models", "n", "difference", "95 % CI", "wins/ties/losses",
        "rank-biserial r", "p", "p (Holm)",
    ]  # fmt: skip
    rows = [
        [
            board.short_name(row.dataset),
            row.label,
            f"{pair.first} {DASH} {pair.second}",
            str(pair.comparison.n),
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
    return heading, rows


def cost_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of what is known; no rows where nothing is."""
    columns = {
        "parameters": ("parameters (millions)", lambda number: f"{number / 1e6:.2f}"),
        "training_hours": ("training (h a fold)", lambda number: f"{number:.1f}"),
        "seconds_per_case": ("validation (s a case)", lambda number: f"{number:.1f}"),
    }
    known = {key: cost for key, cost in board.costs.items() if cost.is_known}
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
    return ["data set", "model", *(title for title, _ in columns.values())], rows


def undefined_table(board: Leaderboard, metric: str) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: labels with empty masks or undefined values, and what became of them."""
    heading = ["data set", "label", "compared", *board.models]
    counts = board.undefined[board.undefined["metric"] == metric]
    common = {
        (one.dataset, one.label): one.common
        for one in board.dropped[board.dropped["metric"] == metric].itertuples()
    }
    rows = []
    for dataset in board.datasets:
        of_dataset = counts[counts["dataset"] == dataset]
        for label in of_dataset["label"].unique():
            found = {one.model: one for one in of_dataset.itertuples() if one.label == label}
            cells = [_undefined_cell(found.get(model)) for model in board.models]
            cases = max(one.cases for one in found.values())
            compared = int(common.get((dataset, label), 0))
            if compared != cases or any(cell not in ("", DASH) for cell in cells):
                cells = [cell or "none" for cell in cells]
                compared_text = f"{compared} of {cases}"
                rows.append([board.short_name(dataset), label, compared_text, *cells])
    return heading, rows


def fold_mean_table(board: Leaderboard, metric: str) -> tuple[list[str], list[list[str]]]:
    """Heading and rows: nnU-Net's own figure, as its users know it."""
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
    return ["data set", *board.models], rows


def value_text(value: float, metric: str) -> str:
    """Three decimals, two for millimetres."""
    return f"{value:.{_decimals(metric)}f}"


def signed(value: float, metric: str) -> str:
    """As `value_text`, with a sign unless it is zero when rounded."""
    text = f"{value:+.{_decimals(metric)}f}"
    if not text.strip("+-0."):
        return text[1:]
    return text.replace("-", MINUS)


def confidence_interval(low: float | None, high: float | None, metric: str, text=value_text) -> str:
    """Two ends in brackets; a dash where there is none."""
    return DASH if low is None else f"[{text(low, metric)}, {text(high, metric)}]"


def p_text(p_value: float) -> str:
    """Three decimals, or the bound that journals print."""
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def percent(share: float) -> str:
    """Whole percents, with 0 and 100 for nothing and all only."""
    if 0 < share < 0.005:
        return "<1 %"
    if 0.995 <= share < 1:
        return ">99 %"
    return f"{share:.0%}".replace("%", " %")


def interval(low: int, high: int) -> str:
    """Of ranks."""
    return str(low) if low == high else f"{low}{DASH}{high}"


def wins_ties_losses(pair: Pair) -> str:
    """Of the first model."""
    comparison = pair.comparison
    return f"{comparison.wins}/{comparison.zeros}/{comparison.losses}"


def metric_title(metric: str) -> str:
    """With an arrow to where it is better."""
    arrow = "\N{UPWARDS ARROW}" if METRICS[metric].higher_is_better else "\N{DOWNWARDS ARROW}"
    return f"{METRICS[metric].title} {arrow}"


def _undefined_cell(counts) -> str:
    if counts is None:
        return DASH
    kinds = (counts.both_empty, counts.prediction_only, counts.reference_only)
    parts = ["/".join(map(str, kinds))] if any(kinds) else []
    parts += [f"{counts.replaced} set"] if counts.replaced else []
    parts += [f"{counts.left_out} left out"] if counts.left_out else []
    return ", ".join(parts)


def _decimals(metric: str) -> int:
    return 2 if metric.endswith("_mm") else 3


def _cell(row: Row, model: str) -> Cell | None:
    entry = row.entries.get(model)
    if entry is None:
        return None
    sd = entry.summary.sd
    return Cell(
        mean=value_text(entry.summary.mean, row.metric),
        sd="" if sd is None else value_text(sd, row.metric),
        best=entry.best,
        mark=entry.mark,
    )
