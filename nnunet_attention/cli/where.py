"""Runs `nnunet-attention where`: prints the directory for nnU-Net's trainer search path."""

import argparse

from nnunet_attention import doorway

HELP = "print the directory of our trainers, for nnUNet_extTrainer if start-up does not set it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print the path."""
    print(doorway.directory())
    return 0
