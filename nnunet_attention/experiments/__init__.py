"""Runs the paper's experiments and lays out their tables as in the paper."""

from nnunet_attention.experiments.running import (
    Result,
    StageFailedError,
    default_output,
    lay_out,
    run,
    run_list,
)
from nnunet_attention.experiments.stages import DEFAULT_TRAINERS, EXPERIMENTS, Experiment

__all__ = [
    "DEFAULT_TRAINERS",
    "EXPERIMENTS",
    "Experiment",
    "Result",
    "StageFailedError",
    "default_output",
    "lay_out",
    "run",
    "run_list",
]
