"""The demo: both U-Nets from raw data to a table and a picture, small enough for a CPU."""

from nnunet_attention.demo.running import run
from nnunet_attention.demo.settings import DemoSettings

__all__ = ["DemoSettings", "run"]
