"""Runs `nnunet-attention describe`: the costs of plans' plain, attention and wide networks."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_attention.cli.shared_arguments import refuse_ignored
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.planners import STOCK_PLANS

if TYPE_CHECKING:
    from nnunet_attention.cost import ConfigurationCost

HELP = (
    "show parameters, FLOPs, saved activations and estimated GPU memory of the plain, the "
    "attention and the wide U-Net of a plans file, and what each gate costs"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plans and the choice of their configurations."""
    parser.add_argument(
        "plans_file",
        nargs="?",
        type=Path,
        metavar="PLANS.json",
        help="a plans file, with the data set's dataset.json beside it; or give -d",
    )
    parser.add_argument(
        "-d", metavar="ID", dest="dataset", help="a planned data set, by number or name"
    )
    parser.add_argument(
        "-p", metavar="PLANS", dest="plans_name",
        help=f"with -d: the name of its plans (default: {STOCK_PLANS})",
    )  # fmt: skip
    parser.add_argument(
        "-c",
        nargs="+",
        metavar="CONFIG",
        dest="configurations",
        help="configurations (default: all)",
    )
    parser.add_argument(
        "-o", type=Path, metavar="FILE.json", dest="output", help="also write the numbers here"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print two tables for each configuration."""
    from dataclasses import asdict

    from nnunet_attention.cost import costs_of_plans
    from nnunet_attention.files import require_writable_file, write_json
    from nnunet_attention.nnunet.datasets import dataset_folder, dataset_name

    if (arguments.plans_file is None) == (arguments.dataset is None):
        raise CommandError("give either a plans file or a data set with -d")
    path = arguments.plans_file
    if path is not None:
        refuse_ignored({"-p": arguments.plans_name}, f"with the plans file {path}; leave one out")
    else:
        folder = dataset_folder(dataset_name(arguments.dataset))
        path = folder / f"{arguments.plans_name or STOCK_PLANS}.json"
    if arguments.output is not None:
        require_writable_file(arguments.output, "-o")
    costs = costs_of_plans(path, arguments.configurations)
    print_costs(costs)
    if arguments.output is not None:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        content = {cost.configuration: asdict(cost) for cost in costs}
        write_json(arguments.output, content, indent=4)
    return 0


def print_costs(costs: Sequence["ConfigurationCost"]) -> None:
    """Print the tables of `nnunet_attention.cost.tables` for each configuration."""
    from rich.console import Console

    from nnunet_attention.cost.tables import gate_table, network_table
    from nnunet_attention.evaluation.leaderboard.grid.terminal import print_grid
    from nnunet_attention.networks.wide import WIDE_TOLERANCE, wide_mismatch_in_words

    console = Console()
    for cost in costs:
        print_grid(network_table(cost), console)
        if abs(cost.wide_mismatch) > WIDE_TOLERANCE:
            words = wide_mismatch_in_words(cost.wide_mismatch)
            console.print(f"{cost.configuration}: {words}", soft_wrap=True, highlight=False)
        print_grid(gate_table(cost), console)
    console.print(
        "FLOPs: one forward pass, 2 for a multiply-add. Activations: what a batch keeps for the "
        "backward pass, in 32-bit numbers; mixed precision keeps about half. VRAM: nnU-Net's "
        "estimate for a batch.",
        style="dim",
    )
