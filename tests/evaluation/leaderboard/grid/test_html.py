"""HTML shows cells as they are; long names may be broken, numbers may not."""

from nnunet_attention.evaluation.leaderboard.grid import Cell, Grid, html_table
from nnunet_attention.evaluation.leaderboard.grid.html import breakable, html_cell


def test_a_table_by_hand():
    grid = Grid.of_texts("", ["model", "a heading of words"], [["A<b>", "1 & 2"]], names=1)
    assert html_table(grid) == (
        '<div class="scroll"><table><thead><tr><th scope="col">model</th>'
        '<th scope="col" class="name">a heading of words</th></tr></thead><tbody><tr>'
        '<td class="name">A&lt;b&gt;</td><td>1 &amp; 2</td></tr></tbody></table></div>'
    )


def test_a_cell_has_spread_emphasis_and_mark():
    assert html_cell(Cell("0.5", "0.1", True, "**")) == (
        "<strong>0.5</strong> \N{PLUS-MINUS SIGN} 0.1<sup>**</sup>"
    )
    assert html_cell(Cell("x")) == "x"


def test_names_may_be_broken_between_their_words():
    assert breakable("AttentionUNetTrainer_250epochs") == (
        "Attention<wbr>UNet<wbr>Trainer_<wbr>250epochs"
    )
    assert breakable("nnUNet") == "nnUNet"
