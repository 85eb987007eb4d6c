"""Writes the leaderboard as LaTeX tables to paste into a paper."""

from __future__ import annotations

from nnunet_attention.evaluation.leaderboard.building import RANKING_METHODS, Leaderboard
from nnunet_attention.evaluation.leaderboard.grid.latex import escaped, latex_line, latex_table
from nnunet_attention.evaluation.leaderboard.methods import methods_paragraphs, references
from nnunet_attention.evaluation.leaderboard.tables import (
    PUBLISHED_EXPLAINED,
    assessment_explained,
    assessment_table,
    consensus_standings,
    disagreements_explained,
    has_marks,
    main_table,
    published_table,
    ranks_table,
    test_words,
    trainings_explained,
    trainings_table,
    trainings_words,
)
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.definitions import POLICIES


def latex(board: Leaderboard) -> str:
    """Return a table of means and a table of ranks for each metric, and the methods as comments."""
    parts = ["% Needs \\usepackage{booktabs} in the preamble.\n"]
    for metric in board.settings.metrics:
        parts.append(_main_table(board, metric))
        trainings = trainings_table(board, metric)
        if trainings.rows:
            caption = f"{escaped(METRICS[metric].title)}. {escaped(trainings_explained(board))}"
            parts.append(latex_table(trainings, caption, f"tab:trainings-{_key(metric)}"))
        if len(board.models) > 1:
            parts.append(_ranks_table(board, metric))
        assessed = assessment_table(board, metric)
        if assessed.rows:
            caption = f"{escaped(METRICS[metric].title)}. {escaped(assessment_explained(board))}"
            parts.append(latex_table(assessed, caption, f"tab:equivalence-{_key(metric)}"))
        published = published_table(board, metric)
        if published.rows:
            caption = f"{escaped(METRICS[metric].title)}. {escaped(PUBLISHED_EXPLAINED)}"
            parts.append(latex_table(published, caption, f"tab:published-{_key(metric)}"))
    parts.append("% Methods, for the text of the paper:\n")
    parts += [f"% {line}\n" for line in methods_paragraphs(board)]
    parts += [f"% [{number}] {line}\n" for number, line in enumerate(references(board), 1)]
    return "\n".join(parts)


def _main_table(board: Leaderboard, metric: str) -> str:
    way = "higher" if METRICS[metric].higher_is_better else "lower"
    policy = POLICIES[board.settings.policy].split(":")[0].split(";")[0].split(",")[0]
    count = "$n$" if board.settings.groups is None else "$n$ (cases)"
    words = trainings_words(board)
    head = f"; {escaped(words)}" if words else ""
    marks = (
        "Significantly worse than it: $^{*}\\,p<0.05$, $^{**}\\,p<0.01$, $^{***}\\,p<0.001$ "
        f"({escaped(test_words(board))}, Holm). "
        if has_marks(board)
        else ""
    )
    if disagree := escaped(disagreements_explained(board, metric)):
        marks += f"{disagree} "
    caption = (
        f"{escaped(METRICS[metric].title)} (mean $\\pm$ standard deviation over "
        f"{board.settings.unit}s; {way} is better{head}). Best mean in bold. {marks}"
        f"Undefined values: {escaped(board.settings.policy)} ({escaped(_uncapitalised(policy))})."
    )
    return latex_table(
        main_table(board, metric),
        caption,
        f"tab:leaderboard-{_key(metric)}",
        latex_line(["Data set", "Label", count, *map(escaped, board.models)]),
        between_groups="\\addlinespace\n",
    )


def _ranks_table(board: Leaderboard, metric: str) -> str:
    count, models = consensus_standings(board, metric)
    if not models:
        return ""
    first = "".join(f" & \\multicolumn{{3}}{{c}}{{{name}}}" for name in RANKING_METHODS.values())
    rules = "".join(
        f"\\cmidrule(lr){{{start}-{start + 2}}}"
        for start in range(2, 2 + 3 * len(RANKING_METHODS), 3)
    )
    heading = latex_line(["Model", *(["rank", "$P(1)$", "95\\,\\%"] * len(RANKING_METHODS))])
    caption = (
        f"Ranks by {escaped(METRICS[metric].title)}"
        f"{f' over {count} data sets' if count > 1 else ''}, by three methods: rank, share of "
        f"{board.settings.rank_resamples} bootstrap resamples of the {board.settings.unit}s with "
        "rank 1, and 95\\,\\% interval of the rank."
    )
    return latex_table(
        ranks_table(board, metric),
        caption,
        f"tab:ranks-{_key(metric)}",
        f"{first} \\\\\n{rules}\n{heading}",
    )


def _key(metric: str) -> str:
    return metric.replace("_", "-")


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
