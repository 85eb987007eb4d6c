"""Runs all measurements of one case."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

import psutil
import torch
from tqdm import tqdm

from benchmarks.performance import isolated, levers
from benchmarks.performance.cases import Case
from benchmarks.performance.gate_profile import operations
from benchmarks.performance.memory import peak_bytes
from benchmarks.performance.steps import Model
from benchmarks.performance.timing import in_turn, seconds_of
from benchmarks.performance.variants import ATTENTION, PLAIN, Variant
from nnunet_attention.cost.saved import saved_activations
from nnunet_attention.errors import CommandError

# All networks are held in memory at the same time: weights, gradients and momentum in 32 bits.
_BYTES_PER_PARAMETER = 12
# For the activations of a step and everything else that runs.
_RESERVED_BYTES = 5 * 2**30


def measure_case(
    case: Case,
    variants: Sequence[Variant],
    device: torch.device,
    rounds: int,
    compiled: bool,
    gates: bool = True,
) -> dict:
    """Measure every variant's sizes, memory and seconds, the gates' own cost and their profile.

    Args:
        case: plans and patch.
        variants: networks, including the plain one, baselines first; on a CPU, those that do not
            fit in memory are left out.
        device: the device to measure on.
        rounds: rounds of each timing; all variants are timed once per round.
        compiled: whether to use torch.compile, as nnU-Net does on a GPU.
        gates: whether to measure the gates' own cost and profile too.

    Raises:
        CommandError: if the plain network does not fit in memory.
    """
    rows: dict[str, dict] = {variant.name: {"baseline": variant.baseline} for variant in variants}
    patch, targets = case.patch(device), case.targets(device)
    single = case.patch(device, 1)
    models: dict[str, Model] = {}
    for variant in tqdm(variants, desc=f"{case.name}: memory", disable=None):
        if variant.baseline not in rows or not _fits(variant, case, device):
            rows.pop(variant.name)
            print(
                f"{case.name}: not enough memory for {variant.name}; it is left out",
                file=sys.stderr,
            )
            continue
        model = Model(variant, case, device, compiled)
        models[variant.name] = model
        row = rows[variant.name]
        row["parameters"] = sum(parameter.numel() for parameter in model.plain_network.parameters())
        with saved_activations(model.plain_network) as saved_bytes:
            loss = model.forward_loss(patch, targets, eager=True)
            row["saved_bytes"] = saved_bytes()
            del loss
        # The first step compiles, and makes the optimiser's state.
        row["first_step_seconds"] = seconds_of(
            lambda model=model: model.train_step(patch, targets), device
        )
        model.train_step(patch, targets)
        row["peak_bytes"] = peak_bytes(lambda model=model: model.train_step(patch, targets), device)
    if PLAIN not in models:
        raise CommandError(
            f"{case.name}: not enough memory for the plain network; free some, or leave the case "
            "out (--cases)"
        )
    steps = {name: _call(model.train_step, patch, targets) for name, model in models.items()}
    for name, seconds in _timed(steps, rounds, device, f"{case.name}: train step").items():
        rows[name]["train_step_seconds"] = seconds
    predictions = {}
    for name, model in tqdm(models.items(), desc=f"{case.name}: inference", disable=None):
        model.set_deep_supervision(False)
        predictions[name] = model.inference(single)
        predictions[name]()
        rows[name]["inference_peak_bytes"] = peak_bytes(predictions[name], device)
    for name, seconds in _timed(predictions, rounds, device, f"{case.name}: inference").items():
        rows[name]["inference_seconds"] = seconds
    del steps, predictions, models
    return {
        "case": {**asdict(case), "architecture": None},
        "rounds": rounds,
        "compiled": compiled,
        "variants": rows,
        **({"isolated": _isolated(case, device, rounds, compiled)} if gates else {}),
    }


def _fits(variant: Variant, case: Case, device: torch.device) -> bool:
    """Tell whether the network and a step's memory fit beside the networks already there."""
    if device.type == "cuda":
        return True
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in variant.build(case).parameters())
    needed = _BYTES_PER_PARAMETER * parameters + _RESERVED_BYTES
    return psutil.virtual_memory().available > needed


def _isolated(case: Case, device: torch.device, rounds: int, compiled: bool) -> dict:
    levels = isolated.levels(case, device)
    training = {name: isolated.training(levels, way, device) for name, way in isolated.WAYS.items()}
    inference = {
        name: isolated.inference(levels, way, device) for name, way in isolated.WAYS.items()
    }
    forward, backward = isolated.floor_bytes(case, isolated.feature_type(device).itemsize)
    only_one = isolated.floor_bytes(
        case.reduced(1, case.patch_size), isolated.feature_type(device).itemsize
    )[0]
    # A single level takes milliseconds: more rounds cost nothing.
    many = 4 * rounds
    return {
        "training_seconds": _timed(training, many, device, f"{case.name}: gates alone, training"),
        "inference_seconds": _timed(
            inference, many, device, f"{case.name}: gates alone, inference"
        ),
        "floor_training_bytes": forward + backward,
        "floor_inference_bytes": only_one,
        "bandwidth_bytes_per_second": isolated.bandwidth(
            device, lambda copy: min(seconds_of(copy, device) for _ in range(10))
        ),
        "profile_training": operations(training[ATTENTION], device),
        "profile_training_plain": operations(training[PLAIN], device),
        **(_compiled_profile(levels, device) if compiled else {}),
    }


def _compiled_profile(levels: list[isolated.Level], device: torch.device) -> dict:
    """Profile what nnU-Net runs on a GPU, including the concatenation of the level without gate."""
    join = levers.levers(device)["torch.compile of gate and concatenation"]
    return {
        "profile_training_compiled": operations(isolated.training(levels, join, device), device)
    }


def _call(function: Callable[..., object], *arguments: object) -> Callable[[], object]:
    return lambda: function(*arguments)


def _timed(
    jobs: dict[str, Callable[[], object]], rounds: int, device: torch.device, title: str
) -> dict[str, list[float]]:
    with tqdm(total=(rounds + 1) * len(jobs), desc=title, disable=None) as bar:
        return in_turn(jobs, rounds, device, bar.update)
