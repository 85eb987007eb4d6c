"""Runs `nnunet-attention doctor`: says whether nnU-Net finds our trainers, and what is wrong."""

import argparse

HELP = "check discovery by nnU-Net, versions, device and nnU-Net's folders"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a report to paste."""
    parser.add_argument(
        "--report",
        action="store_true",
        help="print a block to paste into a bug report instead: versions, system, device, "
        "discovery and settings; no paths, user names or machine names",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the findings as a table and return 1 where something is wrong, or print a report."""
    if arguments.report:
        import os

        from nnunet_attention.bug_report import bug_report

        print(bug_report(os.environ))
        return 0

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
