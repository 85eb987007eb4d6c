"""Runs `nnunet-attention doctor`: says whether nnU-Net finds our trainers, and what is wrong."""

import argparse

HELP = "check discovery by nnU-Net, versions, device and nnU-Net's folders"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print the findings as a table; return 1 where something is wrong."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from nnunet_attention.doctor import examine

    findings = examine()
    table = Table(title="nnunet-attention doctor")
    for heading in ("", "subject", "found"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(
            "[green]ok[/]" if finding.remedy is None else "[red]wrong[/]",
            finding.subject,
            escape(finding.observation),
        )
    console = Console()
    console.print(table)
    wrong = [finding for finding in findings if finding.remedy is not None]
    for finding in wrong:
        console.print(f"{finding.subject}: {finding.remedy}", soft_wrap=True, markup=False)
    return 1 if wrong else 0
