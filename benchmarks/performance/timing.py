"""Times things in turn, so that a machine that slows down slows all of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A median over rounds with its 95 % interval, from a bootstrap of the rounds."""

    value: float
    low: float
    high: float


def in_turn(
    jobs: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device,
    on_progress: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
    """Time each job in each round, all jobs in turn, after one round to warm up.

    Each round has its own order, so that no job gains from always following a certain other one,
    such as itself, which leaves its data in the cache.
    """
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    orders = np.random.default_rng(0)
    names = list(jobs)
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds + 1):
            for name in (names[place] for place in orders.permutation(len(names))):
                took = seconds_of(jobs[name], device)
                if number:
                    seconds[name].append(took)
                on_progress()
            gc.collect()
    finally:
        gc.enable()
    return seconds


def seconds_of(job: Callable[[], object], device: torch.device) -> float:
    """Time one run, on a GPU until all its work is done."""
    _synchronize(device)
    began = time.perf_counter()
    job()
    _synchronize(device)
    return time.perf_counter() - began


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median(values: list[float], seed: int = 0) -> Estimate:
    """Return the median of the rounds."""
    rounds = np.asarray(values)
    draws = np.random.default_rng(seed).integers(len(rounds), size=(_RESAMPLES, len(rounds)))
    low, high = np.percentile(np.median(rounds[draws], axis=1), (2.5, 97.5))
    return Estimate(float(np.median(rounds)), float(low), float(high))


def ratio(values: list[float], baseline: list[float]) -> Estimate:
    """Return the median over the rounds of the time relative to the baseline's in that round."""
    return median([a / b for a, b in zip(values, baseline, strict=True)])


def difference(values: list[float], baseline: list[float]) -> Estimate:
    """Return the median of the seconds by which a round took longer than the baseline."""
    return median([a - b for a, b in zip(values, baseline, strict=True)])
