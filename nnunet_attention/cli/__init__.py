"""The command `nnunet-attention`."""

from nnunet_attention.cli.main import main

__all__ = ["main"]
