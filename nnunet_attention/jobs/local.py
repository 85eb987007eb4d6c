"""Runs steps on this machine: folds on its GPUs or side by side on the CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from nnunet_attention.allocator import variables_to_keep_memory
from nnunet_attention.crossval.runs import FOLD, CrossvalPlan, Step
from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.adoption import command_that_runs
from nnunet_attention.jobs.attempt import Attempt, mark, processes_of_steps, step_lock
from nnunet_attention.jobs.output import Output
from nnunet_attention.nnunet.folders import Folders
from nnunet_attention.nnunet.workers import (
    WORKERS_VARIABLE,
    asks_for_no_workers,
    planning_environment,
)

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Device:
    """What one fold gets.

    Attributes:
        name: for people.
        variables: that show a process this device alone, and suit it.
    """

    name: str
    variables: tuple[tuple[str, str], ...] = ()


def devices(plan: CrossvalPlan, at_once: int = 1) -> list[Device]:
    """The devices that folds are given to, one fold each.

    Args:
        plan: says what device, and how many GPUs a fold takes.
        at_once: folds side by side on the CPU.

    Raises:
        CommandError: if there are too few GPUs.
    """
    if plan.device != "cuda":
        # nnU-Net takes all cores for each training; Python 3.13 and later heeds the variable.
        cores = str(max(1, (os.cpu_count() or 1) // at_once))
        variables = {"PYTHON_CPU_COUNT": cores} if at_once > 1 else {}
        variables |= fold_variables(plan)
        return [Device(plan.device, tuple(variables.items())) for _ in range(at_once)]
    gpus = visible_gpus()
    if len(gpus) < plan.num_gpus:
        wanted = f"{plan.num_gpus} GPUs are" if plan.num_gpus > 1 else "a GPU is"
        raise CommandError(
            f"-device cuda: {wanted} wanted, and {len(gpus)} found ({_VISIBLE}="
            f"{os.environ.get(_VISIBLE, 'unset')}); give -device cpu, or run where the GPUs are"
        )
    groups = [
        gpus[first : first + plan.num_gpus]
        for first in range(0, len(gpus) - plan.num_gpus + 1, plan.num_gpus)
    ]
    variables = fold_variables(plan)
    return [
        Device(f"GPU {','.join(one)}", ((_VISIBLE, ",".join(one)), *variables.items()))
        for one in groups
    ]


def visible_gpus() -> list[str]:
    """Names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    named = os.environ.get(_VISIBLE)
    if named is not None:
        found = [name.strip() for name in named.split(",")]
        # CUDA takes those before the first that is none.
        end = next((i for i, name in enumerate(found) if name in ("", "-1")), len(found))
        return found[:end]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


class LocalRunner:
    """Gives each fold a device; preparation and accumulation run one at a time beside them."""

    def __init__(self, folders: Folders, output: Output, places: Sequence[Device]):
        self._folders = folders
        self._output = output
        self._free = list(places)
        self._any_place = places[0]
        self._several = len(places) > 1
        self._other: Attempt | None = None
        self._folds: list[tuple[Attempt, Device | None]] = []
        self._looked_for: set[str] = set()

    def check(self, steps: Sequence[Step]) -> None:
        """Refuses steps that others are at.

        Raises:
            LockedError: with the owner of the first one.
        """
        for step in steps:
            step_lock(step, self._folders).check_free()

    def adopts(self, step: Step) -> bool:
        """A fold that could be begun now."""
        return step.kind == FOLD and not step.needs

    def start(self, ready: Sequence[Step]) -> list[Attempt]:
        """Starts as many of the steps as there are free devices.

        Folds that a killed launcher has left in training come first: they have their devices.
        """
        self._take_back()
        started = self._left_in_training(ready)
        taken = {attempt.step.name for attempt in started}
        for step in ready:
            if step.name in taken:
                continue
            if step.kind != FOLD:
                if self._other is None:
                    self._other = self._attempt(step, Device("cpu"))
                    started.append(self._other)
            elif self._free:
                device = self._free.pop(0)
                attempt = self._attempt(step, device)
                self._folds.append((attempt, device))
                started.append(attempt)
        try:
            for attempt in started:
                attempt.start()
        except BaseException:
            # Interrupted: whoever called does not know yet of those that were started.
            for attempt in started:
                attempt.stop()
            raise
        return started

    def _left_in_training(self, ready: Sequence[Step]) -> list[Attempt]:
        """Attempts at the steps that run already; looked for once."""
        folds = [s for s in ready if self.adopts(s) and s.name not in self._looked_for]
        if not folds:
            return []
        self._looked_for |= {step.name for step in folds}
        processes = processes_of_steps()
        found = []
        for step in folds:
            running = command_that_runs(step.run, processes.get(mark(step, self._folders), []))
            if running is None:
                continue
            device, place = self._place_of(running[0])
            attempt = self._attempt(step, device)
            self._folds.append((attempt, place))
            found.append(attempt)
        return found

    def _place_of(self, process: psutil.Process) -> tuple[Device, Device | None]:
        """What a process runs on, and which of the free devices that is."""
        try:
            visible = process.environ().get(_VISIBLE)
        except (psutil.Error, OSError):
            visible = None
        for device in self._free:
            if dict(device.variables).get(_VISIBLE, visible) == visible:
                self._free.remove(device)
                return device, device
        if visible is None or _VISIBLE not in dict(self._any_place.variables):
            return self._any_place, None
        return Device(f"GPU {visible}", ((_VISIBLE, visible),)), None

    def _take_back(self) -> None:
        if self._other is not None and self._other.poll() is not None:
            self._other = None
        for attempt, device in list(self._folds):
            if attempt.poll() is not None:
                self._folds.remove((attempt, device))
                if device is not None:
                    self._free.append(device)

    def _attempt(self, step: Step, device: Device) -> Attempt:
        environment = command_environment() | dict(device.variables)
        if self._several:
            # Trainings on several GPUs each find a free port, unless one is named for all.
            environment.pop("MASTER_PORT", None)
        return Attempt(step, self._folders, self._output, environment, device.name, adopts=True)


def fold_variables(plan: CrossvalPlan) -> dict[str, str]:
    """What a fold's environment has beside `command_environment`, whoever trains it.

    On a CPU our own trainers keep freed memory: those that are compared with them shall too. No
    workers of data augmentation are a matter of trainings alone.
    """
    variables = variables_to_keep_memory() if plan.device == "cpu" else {}
    if asks_for_no_workers(os.environ):
        variables = {**variables, WORKERS_VARIABLE: "0"}
    return variables


def command_environment() -> dict[str, str]:
    """This process's environment, for nnU-Net's commands: their output in time and in UTF-8."""
    output = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "Agg"}
    return planning_environment(os.environ) | output
