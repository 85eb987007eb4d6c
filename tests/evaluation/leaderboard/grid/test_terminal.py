"""Tables fit the terminal: no number is broken, and names only where they must be."""

import io

import pytest
from rich.console import Console

from nnunet_attention.evaluation.leaderboard.grid import Cell, Grid, rich_table
from nnunet_attention.evaluation.leaderboard.grid.terminal import print_grid

NAMES = ("nnUNetTrainer", "AttentionUNetTrainer_250epochs", "WideUNetTrainer ResEncUNetLPlans", "D")


def grid_of(columns: int, rows: int = 2, **changes) -> Grid:
    """Numbers of 13 characters below long names."""
    options = {"names": 1, "kept": 1, "folded_heading": ("model", "mean")} | changes
    return Grid(
        title="Dice",
        heading=("data set", *(NAMES * 3)[:columns]),
        rows=tuple(
            (
                Cell(f"Set {row}"),
                *(Cell(f"0.{row}{column}", "0.123456", mark="*") for column in range(columns)),
            )
            for row in range(rows)
        ),
        **options,
    )


def shown(grid: Grid, width: int, compact: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(rich_table(grid, width, compact))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("columns", [1, 3, 5, 9])
@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_number_is_broken_and_no_line_is_too_long(columns, width, compact):
    lines = shown(grid_of(columns), width, compact)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for row in range(2):
        for column in range(columns):
            assert f"0.{row}{column} \N{PLUS-MINUS SIGN} 0.123456*" in text


@pytest.mark.parametrize("compact", [False, True])
def test_no_name_is_broken_where_there_is_room(compact):
    grid = Grid.of_texts("", ["label", "Dice"], [["Posterior", "0.9"], ["liver", "0.8"]], names=1)
    assert sum("Posterior" in line for line in shown(grid, 80, compact)) == 1


def test_columns_stand_side_by_side_where_there_is_room():
    lines = [line for line in shown(grid_of(3), 200) if "Set" in line]
    assert [line.count("0.123456") for line in lines] == [3, 3]
    lines = [line for line in shown(grid_of(5), 80) if "Set" in line]
    assert [line.count("0.123456") for line in lines] == [1, 1]


def test_numbers_stand_in_line_whatever_their_marks():
    grid = Grid(
        "Dice",
        ("data set", "A"),
        ((Cell("One"), Cell("0.5", "0.1", mark="***")), (Cell("Two"), Cell("0.6", "0.2"))),
        names=1,
    )
    first, second = (line for line in shown(grid, 80) if "0." in line)
    assert first.index("0.5") == second.index("0.6")


def test_a_line_divides_groups():
    lines = shown(grid_of(1, rows=3, groups=frozenset({0, 2})), 80)
    (divider,) = (n for n, line in enumerate(lines) if line.startswith("├"))
    assert "Set 1" in lines[divider - 1]
    assert "Set 2" in lines[divider + 1]


def test_what_is_best_is_bold_and_brackets_are_no_markup():
    grid = Grid("[red]t[/]", ("[b]h[/]", "n"), ((Cell("[i]x[/]"), Cell("1", bold=True)),), names=1)
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    print_grid(Grid(**{**vars(grid), "notes": ("[u]note[/]",)}), console)
    text = console.file.getvalue()
    for part in ("[red]t[/]", "[b]h[/]", "[i]x[/]", "[u]note[/]"):
        assert part in text
    assert "\x1b[1m1\x1b[0m" in text


def test_numbers_stand_right_and_names_left():
    grid = Grid.of_texts("", ["name", "number"], [["a", "1"], ["bcd", "234"]], names=1)
    lines = [line for line in shown(grid, 80) if line.startswith("│")]
    assert lines == ["│ a    │      1 │", "│ bcd  │    234 │"]
