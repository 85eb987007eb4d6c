"""Runs commands on damaged files in this process, and finds what must not happen."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from fuzz.checkpoint_damage import CheckpointDamage
from fuzz.example import CANARY, Example
from fuzz.guards import TooLongError, executions, limited, native_output_to
from fuzz.image_damage import ImageDamage
from fuzz.json_damage import JsonDamage

import nnunet_attention
from nnunet_attention.cli import main

_DAMAGE = {"image": ImageDamage, "checkpoint": CheckpointDamage}
_PACKAGE = Path(nnunet_attention.__file__).parent
_COPIES = ("dataset.json", "plans.json", "predict_from_raw_data_args.json")
_TRACEBACK = "Traceback (most recent call last)"


class Failure(NamedTuple):
    """One thing that must not happen.

    Attributes:
        number: of the input.
        kind: of failure.
        command: its name.
        file: the kind of file that was damaged.
        damage: in words.
        detail: where to look; equal for failures of one cause.
        said: the end of what the command said, or of the traceback.
    """

    number: int
    kind: str
    command: str
    file: str
    damage: str
    detail: str
    said: str


class Ended(NamedTuple):
    """How a command ended: the exit code or what it raised, what it said and what it executed."""

    code: int | None
    raised: BaseException | None
    output: str
    error: str
    native: str
    events: list[str]


class Fuzzer:
    """Damages one file of an example at a time, runs a command, and puts the file back.

    Args:
        root: an empty folder.
        seed: an input depends on it and on its own number alone.

    Attributes:
        example: what is damaged.
        runs: how many, by command and kind of file.
        refused: how many of them ended with an error, by command.
    """

    def __init__(self, root: Path, seed: int):
        self.runs: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[str] = Counter()
        self._seed = seed
        self.example = Example(root)
        self._targets = self.example.targets()
        # Neighbours are alike; a few inputs shall try every command on every kind of file.
        random.Random(0).shuffle(self._targets)
        self._whole = {path: path.read_bytes() for path in _files(self.example.set_up)}
        self._states = {path: _state(path) for path in self._whole}

    def check_undamaged(self) -> None:
        """Runs every command once on whole files.

        Raises:
            AssertionError: if one fails.
        """
        with _quiet():
            for arguments in dict.fromkeys(target.arguments for target in self._targets):
                # What starts processes only once, when it is imported, does so now.
                self._ended(arguments)
                ended = self._ended(arguments)
                problems = self._problems(ended, None)
                assert (ended.code, problems) == (0, []), (arguments, ended, problems)
                self._restore()

    def run(self, count: int, on_input: Callable[[], object] = lambda: None) -> list[Failure]:
        """What must not happen, of the inputs 0 to count - 1.

        Args:
            count: of inputs.
            on_input: called after each.
        """
        failures = []
        with _quiet():
            for number in range(count):
                failures += self._one(number)
                on_input()
        return failures

    def _one(self, number: int) -> list[Failure]:
        chance = random.Random(f"{self._seed} {number}")
        target = self._targets[number % len(self._targets)]
        damage = _DAMAGE.get(target.kind, JsonDamage)(self.example, chance)
        content, how = damage.damaged(self._whole[target.file], target.kind, target.file.name)
        target.file.write_bytes(content)
        try:
            ended = self._ended(target.arguments)
            problems = self._problems(ended, target.file, content)
        finally:
            self._restore()
        command = target.arguments[0]
        self.runs[command, target.kind] += 1
        self.refused[command] += ended.code not in (0, None)
        said = ended.error or ended.output
        if ended.raised is not None:
            said = "".join(traceback.format_exception(ended.raised))
        return [
            Failure(number, kind, command, target.kind, how, detail, said[-800:])
            for kind, detail in problems
        ]

    def _ended(self, arguments: tuple[str, ...]) -> Ended:
        shutil.rmtree(self.example.out, ignore_errors=True)
        self.example.out.mkdir()
        # Left by whoever wrote a pickle that names it.
        sys.modules.pop(CANARY, None)
        output, error = io.StringIO(), io.StringIO()
        code, raised = None, None
        with (
            tempfile.TemporaryFile() as native,
            self.example.in_use(),
            native_output_to(native),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(error),
            executions.on() as events,
        ):
            try:
                with limited():
                    code = main(list(arguments))
            except (Exception, SystemExit, TooLongError) as one:
                raised = one
            native.seek(0)
            spoken = native.read().decode(errors="replace")
        return Ended(code, raised, output.getvalue(), error.getvalue(), spoken, events)

    def _problems(
        self, ended: Ended, damaged: Path | None, content: bytes = b""
    ) -> list[tuple[str, str]]:
        """Kind and detail of each."""
        found = []
        example = self.example
        if ended.events or example.marker.exists() or not example.victim.is_dir():
            told = "; ".join(dict.fromkeys(ended.events)).replace(str(example.root), "")
            found.append(("executed", told[:200]))
        if ended.raised is not None:
            kind = type(ended.raised).__name__
            found.append((kind, _place(ended.raised)))
        for text in (ended.output, ended.error, ended.native):
            if _TRACEBACK in text:
                found.append(("traceback", text.strip().splitlines()[-1][:100]))
        if ended.code not in (0, None):
            lines = [line for line in ended.error.splitlines() if line.strip()]
            ours = [line for line in lines if line.startswith("nnunet-attention ")]
            if len(ours) != 1 or lines[-1] != ours[0]:
                line = (ours or lines or ["silent"])[0].replace(str(example.root), "")
                found.append(("not one line", line[:80]))
        for path in {*_files(example.set_up), *self._whole}:
            if path == damaged:
                if not path.is_file() or path.read_bytes() != content:
                    found.append(("source changed", path.name))
            elif path not in self._whole:
                if not _may_stay(path):
                    found.append(("left behind", path.name))
            elif not path.is_file() or _state(path) != self._states[path]:
                found.append(("source changed", path.name))
        for path in example.out.rglob("*"):
            if path.name.startswith(".") or path.suffix in (".part", ".partial", ".tmp"):
                found.append(("left behind", path.suffix))
            elif ended.code != 0 and path.is_file() and not _may_stay(path):
                found.append(("half written", path.name))
        return found

    def _restore(self) -> None:
        """Makes the example what it was; a hostile file may have done anything."""
        for path, content in self._whole.items():
            if not path.is_file() or _state(path) != self._states[path]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                self._states[path] = _state(path)
        for path in _files(self.example.set_up):
            if path not in self._whole:
                path.unlink()
        marker = self.example.marker
        if marker.is_dir():
            marker.rmdir()
        marker.unlink(missing_ok=True)
        self.example.victim.mkdir(exist_ok=True)


def counted(failures: list[Failure]) -> list[dict]:
    """Failures of one cause together, the most frequent first, each with one input as an example.

    One cause: the same kind at the same place.
    """
    groups: dict[tuple, list[Failure]] = {}
    for failure in failures:
        groups.setdefault((failure.kind, failure.detail), []).append(failure)
    return [
        {
            "kind": kind,
            "detail": detail,
            "count": len(group),
            "commands": sorted({one.command for one in group}),
            "files": sorted({one.file for one in group}),
            "example": {"number": group[0].number, "damage": group[0].damage},
            "said": group[0].said,
        }
        for (kind, detail), group in sorted(groups.items(), key=lambda one: -len(one[1]))
    ]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings, and on one thread, which is faster for networks so small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings(), mock.patch.object(torch, "set_num_threads"):
        warnings.simplefilter("ignore")
        yield
    torch.set_num_threads(threads)


def _place(error: BaseException) -> str:
    """The innermost line of ours that an error came through."""
    places = [
        f"{Path(frame.filename).name}:{frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if _PACKAGE in Path(frame.filename).parents and Path(frame.filename).name != "main.py"
    ]
    return places[-1] if places else "main.py"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _may_stay(path: Path) -> bool:
    """What `evaluate` and `ablate` keep of whole cases, to go on with; nnU-Net's copies."""
    kept = path.name.endswith(".cache") or "cases" in path.parts
    return kept or path.name in _COPIES
