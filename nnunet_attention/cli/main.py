"""Parses `nnunet-attention <command> ...` and runs the command's module."""

import argparse
import io
import sys
from importlib import import_module

from nnunet_attention import __version__
from nnunet_attention.cli.exit_codes import exit_code_of

# A command is a module beside this one with HELP, add_arguments(parser) and run(arguments).
COMMANDS = (
    "where",
    "doctor",
    "demo",
    "upgrade",
    "plan",
    "describe",
    "evaluate",
    "predict",
    "maps",
    "ablate",
    "evolution",
    "export",
    "leaderboard",
    "crossval",
    "msd",
    "experiment",
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        # In a locale such as C, a table's ± becomes a question mark instead of a traceback.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    return exit_code_of(f"nnunet-attention {parsed.command}", lambda: parsed.run(parsed))


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; their modules import torch and nnunetv2 only when run."""
    parser = argparse.ArgumentParser(
        prog="nnunet-attention",
        description="Attention U-Net for nnU-Net v2. Train with: "
        "nnUNetv2_train DATASET 3d_fullres 0 -tr AttentionUNetTrainer",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"nnunet_attention.cli.{name}")
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
