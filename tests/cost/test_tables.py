"""The tables say what was measured, from numbers made up by hand."""

from rich.console import Console

from nnunet_attention.cost import ConfigurationCost, GateCost, NetworkCost
from nnunet_attention.cost.tables import gate_table, network_table

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
)


def lines_of(table) -> list[str]:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table)
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
    assert "features per stage, wide: 5 7 9" in lines[-1]


def test_gates_have_their_shares_and_their_start():
    lines = lines_of(gate_table(COST))
    row = next(line for line in lines if "1x2x2" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        *("1", "6", "8", "3", "1x2x2"),
        *("1.5 (1.25%)", "2.5 (50.00%)"),
    ]
    assert "start of a new training: open (every coefficient 0.95)" in lines[-1]
