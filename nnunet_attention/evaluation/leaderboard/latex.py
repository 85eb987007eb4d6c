"""The leaderboard as LaTeX tables to paste into a paper."""

from __future__ import annotations

import re

from nnunet_attention.evaluation.leaderboard.building import RANKING_METHODS, Leaderboard
from nnunet_attention.evaluation.leaderboard.methods import REFERENCES, methods_paragraphs
from nnunet_attention.evaluation.leaderboard.tables import (
    Cell,
    consensus_standings,
    interval,
    main_table,
    percent,
)
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.definitions import POLICIES

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{EN DASH}": "--",
}
_PATTERN = re.compile("|".join(map(re.escape, _SPECIAL)))


def latex(board: Leaderboard) -> str:
    """A table of means and one of ranks for each metric, and the methods as comments."""
    parts = ["% Needs \\usepackage{booktabs} in the preamble.\n"]
    for metric in board.settings.metrics:
        parts.append(_main_table(board, metric))
        if len(board.models) > 1:
            parts.append(_ranks_table(board, metric))
    parts.append("% Methods, for the text of the paper:\n")
    parts += [f"% {line}\n" for line in methods_paragraphs(board)]
    parts += [f"% [{number}] {line}\n" for number, line in enumerate(REFERENCES, 1)]
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return _PATTERN.sub(lambda match: _SPECIAL[match[0]], " ".join(text.split()))


def _main_table(board: Leaderboard, metric: str) -> str:
    lines = [_line(["Data set", "Label", "$n$", *map(escaped, board.models)]), "\\midrule\n"]
    rows = main_table(board, metric)
    widths = [
        max(len(row.cells[column].mark) if row.cells[column] else 0 for row in rows)
        for column in range(len(board.models))
    ]
    for number, row in enumerate(rows):
        if number and row.is_overall:
            lines.append("\\addlinespace\n")
        cells = [_cell(cell, width) for cell, width in zip(row.cells, widths, strict=True)]
        lines.append(_line([escaped(row.dataset), escaped(row.label), str(row.n), *cells]))
    way = "higher" if METRICS[metric].higher_is_better else "lower"
    policy = POLICIES[board.settings.policy].split(":")[0].split(";")[0].split(",")[0]
    caption = (
        f"{escaped(METRICS[metric].title)} (mean $\\pm$ standard deviation over cases; {way} is "
        "better). Best mean in bold. Significantly worse than it: $^{*}\\,p<0.05$, "
        "$^{**}\\,p<0.01$, $^{***}\\,p<0.001$ (two-sided Wilcoxon signed-rank test, Holm). "
        f"Undefined values: {escaped(board.settings.policy)} ({escaped(_uncapitalised(policy))})."
    )
    columns = "ll" + "r" * (1 + len(board.models))
    return _float("".join(lines), columns, caption, f"tab:leaderboard-{_key(metric)}")


def _ranks_table(board: Leaderboard, metric: str) -> str:
    count, found = consensus_standings(board, metric)
    if not found:
        return ""
    first = "".join(f" & \\multicolumn{{3}}{{c}}{{{name}}}" for name in RANKING_METHODS.values())
    rules = "".join(
        f"\\cmidrule(lr){{{start}-{start + 2}}}"
        for start in range(2, 2 + 3 * len(RANKING_METHODS), 3)
    )
    heading = ["Model"]
    for _ in RANKING_METHODS:
        heading += ["rank", "$P(1)$", "95\\,\\%"]
    lines = [f"{first} \\\\\n", f"{rules}\n", _line(heading), "\\midrule\n"]
    for model, standings in found:
        cells = [
            text
            for one in standings.values()
            for text in (str(one.rank), percent(one.first), interval(one.low, one.high))
        ]
        lines.append(_line([escaped(model), *map(_math, cells)]))
    caption = (
        f"Ranks by {escaped(METRICS[metric].title)}"
        f"{f' over {count} data sets' if count > 1 else ''}, by three methods: rank, share of "
        f"{board.settings.rank_resamples} bootstrap resamples of the cases with rank 1, and "
        "95\\,\\% interval of the rank."
    )
    columns = "l" + "rrr" * len(RANKING_METHODS)
    return _float("".join(lines), columns, caption, f"tab:ranks-{_key(metric)}")


def _float(body: str, columns: str, caption: str, label: str) -> str:
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{caption}}}\n\\label{{{label}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{body}\\bottomrule\n"
        "\\end{tabular}\n\\end{table}\n"
    )


def _cell(cell: Cell | None, width: int) -> str:
    if cell is None:
        return "--"
    mean = f"\\mathbf{{{cell.mean}}}" if cell.best else cell.mean
    spread = f" \\pm {cell.sd}" if cell.sd else ""
    # As wide as the column's widest mark, so that the numbers stand in line.
    missing = "*" * (width - len(cell.mark))
    phantom = f"\\phantom{{{missing}}}" if missing else ""
    return f"${mean}{spread}" + (f"^{{{cell.mark}{phantom}}}$" if width else "$")


def _math(text: str) -> str:
    if text.startswith(("<", ">")):
        text = f"${text[0]}${text[1:]}"
    return text.replace(" %", "\\,\\%").replace("\N{EN DASH}", "--")


def _line(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\\n"


def _key(metric: str) -> str:
    return metric.replace("_", "-")


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
