"""The demo: nnU-Net's own commands from raw data to a table and a picture, with both U-Nets."""

from nnunet_attention.demo.pipeline import run_demo
from nnunet_attention.demo.settings import DemoSettings

__all__ = ["DemoSettings", "run_demo"]
