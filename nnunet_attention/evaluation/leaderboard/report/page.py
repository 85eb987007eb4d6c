"""Fills the page's template with tables, text, data, style and script."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from nnunet_attention import __version__
from nnunet_attention.evaluation.leaderboard.building import (
    RANKING_METHODS,
    Leaderboard,
    Pair,
    Row,
)
from nnunet_attention.evaluation.leaderboard.grid import DASH, Cell, Grid, html_table
from nnunet_attention.evaluation.leaderboard.grid.html import html_cell
from nnunet_attention.evaluation.leaderboard.methods import methods_paragraphs, references
from nnunet_attention.evaluation.leaderboard.report.data import page_data
from nnunet_attention.evaluation.leaderboard.tables import (
    FOLD_MEANS_EXPLAINED,
    PUBLISHED_EXPLAINED,
    UNDEFINED_EXPLAINED,
    assessment_explained,
    assessment_table,
    confidence_interval,
    consensus_explained,
    consensus_table,
    cost_table,
    count_heading,
    count_text,
    disagreements_explained,
    fold_mean_table,
    interval,
    marks_explained,
    p_text,
    pair_table,
    percent,
    published_table,
    trainings_explained,
    trainings_table,
    trainings_words,
    undefined_table,
    value_text,
)
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.pages import filled_page


def report_page(board: Leaderboard) -> str:
    """Return the text of leaderboard.html."""
    return filled_page(
        "nnunet_attention.evaluation.leaderboard.report",
        page_data(board),
        title=escape(f"Leaderboard: {', '.join(board.models)}"),
        subtitle=escape(_subtitle(board)),
        findings=_findings(board),
        results=_results(board),
        results_note=escape(" ".join([marks_explained(board), *_disagreements(board)])),
        consensus=_by_metric(board, consensus_table) if len(board.models) > 1 else "",
        consensus_note=escape(consensus_explained(board)),
        trainings=_trainings(board),
        pairs=_by_metric(board, pair_table) if len(board.models) > 1 else "",
        assessed=_assessed(board),
        published=_published(board),
        training_dots=(
            " Ringed dots beside them: means of single trainings."
            if max(board.trainings.values()) > 1
            else ""
        ),
        undefined=_by_metric(board, undefined_table) or "<p>There are none.</p>",
        undefined_note=escape(UNDEFINED_EXPLAINED),
        fold_means=_by_metric(board, fold_mean_table),
        fold_means_note=escape(FOLD_MEANS_EXPLAINED),
        costs=_costs(board),
        missing=_missing(board),
        methods="".join(f"<p>{escape(text)}</p>" for text in methods_paragraphs(board)),
        references="".join(f"<li>{_linked(text)}</li>" for text in references(board)),
        version=escape(__version__),
        unit=board.settings.unit,
        count=escape(count_heading(board)),
        one_model="one-model" if len(board.models) < 2 else "",
    )


def _subtitle(board: Leaderboard) -> str:
    datasets = len(board.datasets)
    cases = board.cases.groupby("dataset")["case"].nunique().sum()
    names = ", ".join(board.short_name(name) for name in board.datasets)
    words = trainings_words(board)
    head = f"; {words}" if words else ""
    groups = ""
    if board.settings.groups is not None:
        groups = f" in {board.cases.groupby('dataset')['group'].nunique().sum():,} groups"
    return (
        f"{len(board.models)} model{'s' if len(board.models) > 1 else ''} on {datasets} data "
        f"set{'s' if datasets > 1 else ''} ({names}), {cases:,} cases{groups}{head}"
    )


def _findings(board: Leaderboard) -> str:
    """Return the main findings, one sentence each."""
    metric = board.settings.metrics[0]
    title = METRICS[metric].title
    overall = [row for row in board.rows_of(metric) if row.is_overall]
    consensus = next(item for item in board.consensus if item.metric == metric)
    sentences = []
    if consensus.standings and len(board.models) > 1:
        standings = consensus.standings["mean"]
        leaders = [model for model in board.models if standings[model].rank == 1]
        first = standings[leaders[0]]
        if len(leaders) > 1:
            sentences.append(f"By mean {title}, first {_share(leaders)}.")
        else:
            over = f" over {len(consensus.datasets)} data sets" if len(overall) > 1 else ""
            sentences.append(
                f"{leaders[0]} ranks first by mean {title}{over}, and does so in "
                f"{percent(first.first)} of the bootstrap resamples of the {board.settings.unit}s."
            )
        for method, name in RANKING_METHODS.items():
            by_method = consensus.standings[method]
            firsts = [model for model in board.models if by_method[model].rank == 1]
            if firsts != leaders:
                sentences.append(f"By {name}, first {_share(firsts)}.")
    pairs = [(row, pair) for row in overall for pair in row.pairs]
    if pairs:
        once = ""
        if any(pair.repeated is None for _, pair in pairs):
            once = ", which for models that were trained once holds for other "
            once += f"{board.settings.unit}s, not of other trainings"
        significant = [(row, pair) for row, pair in pairs if pair.is_significant]
        sentences.append(
            f"{len(significant)} of {len(pairs)} paired differences between models on data sets "
            f"{'is' if len(significant) == 1 else 'are'} significant after Holm's correction"
            f"{_where(board, significant)}{once}."
        )
    return "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)


def _where(board: Leaderboard, significant: list[tuple[Row, Pair]]) -> str:
    if not 0 < len(significant) <= 4:
        return ""
    better = [
        f"{_better(row, pair)} on {board.short_name(row.dataset)}" for row, pair in significant
    ]
    return f": {', '.join(better)}"


def _better(row: Row, pair: Pair) -> str:
    if pair.ranks_disagree:
        return f"mean and ranks of {pair.first} and {pair.second} disagree"
    # The test's direction is that of the mean, as otherwise both would disagree.
    is_first = (pair.comparison.mean_difference > 0) == METRICS[row.metric].higher_is_better
    return f"{pair.first if is_first else pair.second} better"


def _disagreements(board: Leaderboard) -> list[str]:
    texts = {metric: disagreements_explained(board, metric) for metric in board.settings.metrics}
    return [f"{METRICS[metric].title}: {text}" for metric, text in texts.items() if text]


def _results(board: Leaderboard) -> str:
    """Return the rows of the sortable table, one for each metric, data set, label and model."""
    return "".join(
        _result(board, row, model)
        for metric in board.settings.metrics
        for row in board.rows_of(metric)
        for model in row.entries
    )


def _result(board: Leaderboard, row: Row, model: str) -> str:
    entry = row.entries[model]
    summary, by_mean = entry.summary, entry.standings["mean"]
    sd = "" if summary.sd is None else value_text(summary.sd, row.metric)
    shown_mark = entry.mark if board.shows_mark(row, model) else ""
    mean = Cell(value_text(summary.mean, row.metric), sd, entry.best, shown_mark)
    p_value = _p_against_best(row, model)
    ranks = " / ".join(str(entry.standings[method].rank) for method in RANKING_METHODS)
    # Each cell that is not a name has the number by which it is sorted.
    columns: list[tuple[str, Cell, float | None]] = [
        ("dataset", Cell(board.short_name(row.dataset)), None),
        ("label", Cell(row.label), None),
        ("model", Cell(model), None),
        ("n", Cell(count_text(board, row)), summary.n),
        ("mean", mean, summary.mean),
        ("median", Cell(value_text(summary.median, row.metric)), summary.median),
        (
            "ci",
            Cell(confidence_interval(summary.low, summary.high, row.metric)),
            summary.low,
        ),
        (
            "p",
            Cell(DASH if p_value is None else p_text(p_value)),
            2 if p_value is None else p_value,
        ),
        ("rank", Cell(ranks), by_mean.rank),
        ("first", Cell(percent(by_mean.first)), by_mean.first),
        ("range", Cell(interval(by_mean.low, by_mean.high)), by_mean.low),
    ]
    cells = []
    for name, cell, number in columns:
        key = "" if number is None else f' data-value="{number!r}"'
        cells.append(f'<td class="{name}"{key}>{html_cell(cell)}</td>')
    level = "overall" if row.is_overall else "single"
    return f'<tr class="{level}" data-metric="{escape(row.metric)}">{"".join(cells)}</tr>\n'


def _p_against_best(row: Row, model: str) -> float | None:
    best = next(name for name, entry in row.entries.items() if entry.best)
    for pair in row.pairs:
        if {pair.first, pair.second} == {best, model}:
            return pair.adjusted_p_value
    return None


def _by_metric(board: Leaderboard, table: Callable[[Leaderboard, str], Grid]) -> str:
    """Return a table for each metric; the page shows that of the chosen metric."""
    parts = []
    for metric in board.settings.metrics:
        grid = table(board, metric)
        if grid.rows:
            parts.append(
                f'<div data-metric="{escape(metric)}"><h4>{escape(METRICS[metric].title)}</h4>'
                f"{html_table(grid)}</div>"
            )
    return "".join(parts)


def _assessed(board: Leaderboard) -> str:
    tables = _by_metric(board, assessment_table)
    if not tables:
        return ""
    note = escape(assessment_explained(board))
    return (
        "<details><summary>Equivalence and power as a table</summary>"
        f'{tables}<p class="note">{note}</p></details>'
    )


def _published(board: Leaderboard) -> str:
    tables = _by_metric(board, published_table)
    if not tables:
        return ""
    note = escape(PUBLISHED_EXPLAINED)
    return (
        '\n\n<section id="published"><h2>Beside published results</h2>'
        f'{tables}<p class="note">{note}</p></section>'
    )


def _trainings(board: Leaderboard) -> str:
    tables = _by_metric(board, trainings_table)
    if not tables:
        return ""
    note = escape(trainings_explained(board))
    return f'<section id="trainings"><h2>Trainings</h2>{tables}<p class="note">{note}</p></section>'


def _costs(board: Leaderboard) -> str:
    grid = cost_table(board)
    return f"<h3>{escape(grid.title)}</h3>{html_table(grid)}" if grid.rows else ""


def _missing(board: Leaderboard) -> str:
    if not board.missing:
        return ""
    listed = "".join(f"<li>{escape(path)}</li>" for path in board.missing)
    return (
        f'<details class="warning" open><summary>Missing folds</summary><ul>{listed}</ul></details>'
    )


def _linked(reference: str) -> str:
    text, _, address = reference.rpartition(" ")
    return f'{escape(text)} <a href="{escape(address)}">{escape(address)}</a>'


def _share(names: list[str]) -> str:
    if len(names) == 1:
        return f"is {names[0]}"
    return f"are {', '.join(names[:-1])} and {names[-1]} alike"
