"""LaTeX prints cells as they are, with marks that keep the numbers in line."""

from nnunet_attention.evaluation.leaderboard.grid import Cell, Grid, latex_table
from nnunet_attention.evaluation.leaderboard.grid.latex import escaped

GRID = Grid(
    "Dice",
    ("data_set", "A", "B"),
    (
        (Cell("One"), Cell("0.5", "0.1", True), Cell("0.4", "0.2", mark="**")),
        (Cell(""), Cell("<1 %"), Cell("0.3", "0.1", mark="*")),
        (Cell("50 %", bold=True), Cell("6.40 M", bold=True), Cell("\N{EN DASH}")),
    ),
    names=1,
    groups=frozenset({0, 2}),
)


def test_a_table_by_hand():
    assert latex_table(GRID, "A caption.", "tab:a").splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{A caption.}",
        r"\label{tab:a}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"data\_set & A & B \\",
        r"\midrule",
        r"One & $\mathbf{0.5} \pm 0.1$ & $0.4 \pm 0.2^{**}$ \\",
        r" & $<$1\,\% & $0.3 \pm 0.1^{*\phantom{*}}$ \\",
        r"\midrule",
        r"\textbf{50 \%} & \textbf{6.40 M} & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_heading_and_what_divides_groups_can_be_given():
    text = latex_table(GRID, "", "", "$n$ & a & b \\\\\n", "\\addlinespace\n")
    assert "\\toprule\n$n$ & a & b \\\\\n\\midrule\n" in text
    assert text.count("\\addlinespace") == 1
    assert text.count("\\midrule") == 1


def test_every_special_character_is_escaped():
    assert escaped("a\n b\\") == r"a b\textbackslash{}"
    assert escaped("{}&%$#_~^<>|") == (
        r"\{\}\&\%\$\#\_\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}"
    )
