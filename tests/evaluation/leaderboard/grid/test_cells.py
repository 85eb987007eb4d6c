"""A grid says what a table says, and how it is folded where there is no room."""

from nnunet_attention.evaluation.leaderboard.grid import Cell, Grid

GRID = Grid(
    title="Dice",
    heading=("data set", "n", "A", "B"),
    rows=(
        (Cell("One"), Cell("3"), Cell("0.5", "0.1", True), Cell("0.4", "0.2", mark="**")),
        (Cell(""), Cell("4"), Cell("0.6"), Cell("0.7", bold=True)),
        (Cell("Two"), Cell("5"), Cell("0.8"), Cell("0.9", mark="*")),
    ),
    names=1,
    groups=frozenset({0, 2}),
    kept=2,
    folded_heading=("model", "mean"),
)


def test_a_folded_grid_has_a_line_for_each_cell_that_is_not_kept():
    folded = GRID.folded()
    assert folded.heading == ("data set", "n", "model", "mean")
    assert folded.texts == [
        ["One", "3", "A", "0.5"],
        ["", "", "B", "0.4"],
        ["", "4", "A", "0.6"],
        ["", "", "B", "0.7"],
        ["Two", "5", "A", "0.8"],
        ["", "", "B", "0.9"],
    ]
    assert folded.rows[1][3] == Cell("0.4", "0.2", mark="**")
    assert folded.groups == {0, 4}


def test_marks_are_as_wide_as_the_columns_widest():
    assert GRID.mark_widths == [0, 0, 0, 2]


def test_a_grid_of_texts_keeps_its_names():
    grid = Grid.of_texts("Costs", ["model", "hours"], [["A", "1"], ["B", "2"]], names=1)
    assert grid.texts == [["A", "1"], ["B", "2"]]
    assert (grid.names, grid.kept, grid.groups) == (1, 1, frozenset())


def test_a_grid_without_rows_can_be_folded():
    assert Grid.of_texts("Costs", ["model", "hours"], [], names=1).folded().texts == []
