"""A small MSD task folder."""

from tiny_msd_task import msd_task

__all__ = ["msd_task"]
