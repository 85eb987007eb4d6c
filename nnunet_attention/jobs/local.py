"""Runs steps on this machine, on its GPUs or side by side on the CPU."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from nnunet_attention.errors import CommandError
from nnunet_attention.jobs.adoption import command_that_runs
from nnunet_attention.jobs.attempt import Attempt
from nnunet_attention.jobs.leftovers import processes_of_steps
from nnunet_attention.jobs.output import Output
from nnunet_attention.jobs.step import Step
from nnunet_attention.nnunet.workers import planning_environment

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Device:
    """The device that one step gets.

    Attributes:
        name: for people.
        variables: environment variables that show a process this device alone, and suit it.
    """

    name: str
    variables: tuple[tuple[str, str], ...] = ()


def devices(kind: str, gpus: int = 1, at_once: int = 1) -> list[Device]:
    """List the devices that steps are given to, one step each.

    Args:
        kind: cuda, cpu or mps.
        gpus: how many a step takes.
        at_once: steps side by side where the device is not a GPU.

    Raises:
        CommandError: if there are too few GPUs.
    """
    if kind != "cuda":
        # Each command would take all cores; Python 3.13 and later heeds the variable.
        cores = str(max(1, (os.cpu_count() or 1) // at_once))
        variables = (("PYTHON_CPU_COUNT", cores),) if at_once > 1 else ()
        return [Device(kind, variables) for _ in range(at_once)]
    names = visible_gpus()
    if len(names) < gpus:
        number = f"{gpus} GPUs are" if gpus > 1 else "a GPU is"
        raise CommandError(
            f"-device cuda: {number} needed, but {len(names)} found "
            f"({_VISIBLE}={os.environ.get(_VISIBLE, 'unset')}); give -device cpu, or run on a "
            "machine with enough GPUs"
        )
    groups = (names[first : first + gpus] for first in range(0, len(names) - gpus + 1, gpus))
    return [Device(f"GPU {','.join(group)}", ((_VISIBLE, ",".join(group)),)) for group in groups]


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES does."""
    named = os.environ.get(_VISIBLE)
    if named is not None:
        names = [name.strip() for name in named.split(",")]
        # CUDA uses the entries before the first invalid one.
        return list(itertools.takewhile(lambda name: name not in ("", "-1"), names))
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


class LocalRunner:
    """Gives a device to each step that takes one; other steps run one at a time beside them."""

    def __init__(self, output: Output, places: Sequence[Device]):
        self._output = output
        self._free = list(places)
        self._any_place = places[0]
        self._several = len(places) > 1
        self._other: Attempt | None = None
        self._on_devices: list[tuple[Attempt, Device | None]] = []
        self._looked_for: set[str] = set()

    def check(self, steps: Sequence[Step]) -> None:
        """Refuse steps that other processes are running.

        Raises:
            LockedError: with the owner of the first one.
        """
        for step in steps:
            step.lock().check_free()

    def adopts(self, step: Step) -> bool:
        """Tell whether a step could begin now, and may go on if it was left running."""
        return step.takes_device and not step.needs and bool(step.adoptable_commands())

    def start(self, ready: Sequence[Step]) -> list[Attempt]:
        """Start as many of the steps as there are free devices.

        Steps that a killed launcher has left running come first: they already have devices.
        """
        self._take_back()
        started = self._left_running(ready)
        taken = {attempt.step.name for attempt in started}
        for step in ready:
            if step.name in taken:
                continue
            if not step.takes_device:
                if self._other is None:
                    self._other = self._attempt(step, Device("cpu"))
                    started.append(self._other)
            elif self._free:
                device = self._free.pop(0)
                attempt = self._attempt(step, device)
                self._on_devices.append((attempt, device))
                started.append(attempt)
        try:
            for attempt in started:
                attempt.start()
        except BaseException:
            # Interrupted: the caller does not know yet of the attempts that were started.
            for attempt in started:
                attempt.stop()
            raise
        return started

    def _left_running(self, ready: Sequence[Step]) -> list[Attempt]:
        """List attempts at the steps that run already; each is looked for once."""
        steps = [step for step in ready if self.adopts(step) and step.name not in self._looked_for]
        if not steps:
            return []
        self._looked_for |= {step.name for step in steps}
        processes = processes_of_steps()
        attempts = []
        for step in steps:
            running = command_that_runs(step.adoptable_commands(), processes.get(step.mark, []))
            if running is None:
                continue
            device, place = self._place_of(running[0])
            attempt = self._attempt(step, device)
            self._on_devices.append((attempt, place))
            attempts.append(attempt)
        return attempts

    def _place_of(self, process: psutil.Process) -> tuple[Device, Device | None]:
        """Return what a process runs on, and which of the free devices that is."""
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
        for attempt, device in list(self._on_devices):
            if attempt.poll() is not None:
                self._on_devices.remove((attempt, device))
                if device is not None:
                    self._free.append(device)

    def _attempt(self, step: Step, device: Device) -> Attempt:
        environment = command_environment() | dict(device.variables)
        if self._several:
            # Commands that need a port each find a free one, unless one is named for all.
            environment.pop("MASTER_PORT", None)
        return Attempt(step, self._output, environment, device.name, adopts=True)


def command_environment() -> dict[str, str]:
    """Return the environment for nnU-Net's commands, with unbuffered output in UTF-8."""
    output = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "Agg"}
    return planning_environment(os.environ) | output
