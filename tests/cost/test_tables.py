"""The tables say what was measured, from numbers made up by hand."""

from dataclasses import replace

from rich.console import Console

from nnunet_attention.cost import ConfigurationCost, GateCost, NetworkCost
from nnunet_attention.cost.tables import gate_table, network_table
from nnunet_attention.evaluation.leaderboard.grid.terminal import print_grid

GATE = GateCost(1, 6, 8, 3, (1, 2, 2), 1500, 0.0125, 2_500_000, 0.5)
PLAIN = NetworkCost((4, 6, 8), 2_000_000, 10**9, 2**30, 4.0)
ATTENTION = NetworkCost((4, 6, 8), 2_050_000, 2 * 10**9, 3 * 2**29, 5.0)
WIDE = NetworkCost((5, 7, 9), 2_050_000, 3 * 10**9, 2**31, 6.0)
COST = ConfigurationCost(
    "3d_lowres",
    (4, 8, 16),
    3,
    {"plain": PLAIN, "attention": ATTENTION, "wide": WIDE},
    (GATE,),
    "open",
    False,
)


def lines_of(grid, width=120) -> list[str]:
    console = Console(width=width)
    with console.capture() as capture:
        print_grid(grid, console)
    return capture.get().splitlines()


def cells(lines: list[str], first: str) -> list[str]:
    row = next(line for line in lines if line.startswith(f"│ {first} "))
    return [cell.strip() for cell in row.strip("│").split("│")]


def test_growth_is_over_the_plain_network():
    lines = lines_of(network_table(COST))
    assert lines[0].strip() == "3d_lowres: patch 4x8x16, batch 3"
    assert cells(lines, "plain") == ["plain", "2.00", "1.00", "1.00", "4.00"]
    assert cells(lines, "attention") == [
        "attention",
        "2.05 (+2.50%)",
        "2.00 (+100.00%)",
        "1.50 (+50.00%)",
        "5.00 (+25.00%)",
    ]
    assert lines[-2:] == [
        "features per stage, plain and attention: 4 6 8",
        "features per stage, wide: 5 7 9",
    ]


def test_gates_have_their_shares_and_their_start():
    lines = lines_of(gate_table(COST))
    row = next(line for line in lines if "1x2x2" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        *("1", "6", "8", "3", "1x2x2"),
        *("1.5 (1.25%)", "2.5 (50.00%)"),
    ]
    assert lines[-1] == "start of a new training: open (every coefficient 0.95)"


def test_no_function_is_promised_that_a_norm_cannot_keep():
    cost = replace(COST, gate_start="identity")
    assert lines_of(gate_table(cost))[-1].endswith("computes what the plain one does)")
    with_norm = replace(cost, output_transform=True)
    assert lines_of(gate_table(with_norm))[-1] == (
        "start of a new training: identity (every coefficient 0.5; the output transform's norm "
        "follows)"
    )


def test_in_a_narrow_terminal_no_number_is_broken():
    lines = lines_of(network_table(COST), width=50)
    assert max(map(len, lines)) <= 50
    assert any("GFLOPs / patch" in line and "2.00 (+100.00%)" in line for line in lines)
