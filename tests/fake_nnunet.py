"""nnU-Net's folders with a made-up data set, and its commands replaced by fast ones."""

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nnunet_attention.crossval import CrossvalPlan, Folders
from nnunet_attention.doorway import SEARCH_PATH_VARIABLE
from nnunet_attention.doorway import directory as doorway_directory
from nnunet_attention.jobs.process import COMMANDS_VARIABLE

COMMAND = Path(__file__).parent / "fake_command.py"
NAMES = (
    "nnUNetv2_extract_fingerprint",
    "nnUNetv2_plan_experiment",
    "nnUNetv2_preprocess",
    "nnUNetv2_train",
    "nnUNetv2_accumulate_crossval_results",
)
DATASET = "Dataset901_Tiny"
TRAINERS = ("TrainerA", "TrainerB")
# What a script starts in the background ignores Ctrl-C, and so do its children until told anew.
_HEARS_INTERRUPTS = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


class FakeNnunet:
    """Folders below a root, a data set of ten cases, and the commands."""

    def __init__(self, root: Path, cases: int = 10):
        self.root = root
        self._started: list[subprocess.Popen] = []
        self.bin = root / "bin"
        self.bin.mkdir(parents=True)
        for name in NAMES:
            script = self.bin / name
            # Without site-packages it starts at once.
            script.write_text(
                f"#!/bin/sh\nexec '{sys.executable}' -S -E '{COMMAND}' {name} \"$@\"\n"
            )
            script.chmod(0o755)
        self.folders = Folders(root / "raw", root / "preprocessed", root / "results")
        for folder in (self.folders.preprocessed, self.folders.results):
            folder.mkdir()
        self.trainers = root / "trainers"
        self.trainers.mkdir()
        classes = "\n".join(f"class {name}: pass" for name in (*TRAINERS, "A"))
        (self.trainers / "trainers_of_tests.py").write_text(classes)
        self.add_dataset(DATASET, cases)

    def move_images_away(self, how: str) -> None:
        """Removes the raw images, all or half of them, or their folder."""
        images = self.folders.raw_dataset(DATASET) / "imagesTr"
        if how == "folder":
            shutil.rmtree(images)
        else:
            for path in sorted(images.iterdir())[: 5 if how == "half" else None]:
                path.unlink()

    def prepare(self) -> None:
        """Writes what fingerprint, planning, preprocessing and splitting would write."""
        environment = self.environment(FAKE_SECONDS=0)
        for command in (
            ("nnUNetv2_extract_fingerprint", "-d", "901"),
            ("nnUNetv2_plan_experiment", "-d", "901"),
            ("nnUNetv2_preprocess", "-d", "901", "-c", "3d_fullres"),
        ):
            subprocess.run([self.bin / command[0], *command[1:]], env=environment, check=True)
        names = [path.name.partition(".")[0] for path in self.folders.references(DATASET).iterdir()]
        splits = [
            {"train": sorted(set(names) - set(val)), "val": val}
            for val in (sorted(names)[number::5] for number in range(5))
        ]
        self.folders.splits(DATASET).write_text(json.dumps(splits))

    def add_dataset(self, name: str, cases: int = 10) -> None:
        raw = self.folders.raw_dataset(name)
        for folder in ("imagesTr", "labelsTr"):
            (raw / folder).mkdir(parents=True)
        for number in range(cases):
            (raw / "imagesTr" / f"case_{number:02d}_0000.nii.gz").write_bytes(b"image")
            (raw / "labelsTr" / f"case_{number:02d}.nii.gz").write_bytes(b"labels")
        description = {
            "channel_names": {"0": "MRI"},
            "labels": {"background": 0, "organ": 1},
            "numTraining": cases,
            "file_ending": ".nii.gz",
        }
        (raw / "dataset.json").write_text(json.dumps(description))

    def environment(self, **variables) -> dict[str, str]:
        return {
            **os.environ,
            "nnUNet_raw": str(self.folders.raw),
            "nnUNet_preprocessed": str(self.folders.preprocessed),
            "nnUNet_results": str(self.folders.results),
            COMMANDS_VARIABLE: str(self.bin),
            SEARCH_PATH_VARIABLE: os.pathsep.join([str(self.trainers), doorway_directory()]),
            **{name: str(value) for name, value in variables.items()},
        }

    def start(self, *arguments, **variables) -> subprocess.Popen:
        """Starts the command as a person would."""
        command = [
            *(sys.executable, "-S", "-E", "-c", _HEARS_INTERRUPTS),
            *(Path(sys.executable).parent / "nnunet-attention", "crossval", "-d", "901"),
            *("-tr", *TRAINERS, "-device", "cpu", "--no-leaderboard", *arguments),
        ]
        process = subprocess.Popen(
            list(map(str, command)),
            env=self.environment(**variables),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        """Kills what a test that failed has left running, which would trouble later tests."""
        for process in self._started:
            if process.poll() is None:
                kill(process)
            process.stdout.close()

    def run(self, *arguments, timeout: float = 120, **variables) -> tuple[int, str]:
        """Exit code and output."""
        process = self.start(*arguments, **variables)
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output

    def journals(self) -> dict[str, list[str]]:
        """What was done in each fold, by MODEL/fold_k, without the process numbers."""
        # Not Path.glob, which fails if a folder goes while it looks; launchers try folders out.
        paths = map(Path, glob.glob(str(self.folders.results / "*/*/fold_*/journal.txt")))
        return {
            "/".join(path.parts[-3:-1]): [
                line.partition(" ")[2] for line in path.read_text().splitlines()
            ]
            for path in sorted(paths)
        }

    def left_processes(self) -> list[int]:
        """The processes of this root that still run."""
        import psutil

        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("nnUNet_raw") == str(self.folders.raw)
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
            except (psutil.Error, OSError):
                continue
        return found


def plan(**changes) -> CrossvalPlan:
    """Two trainers and two folds on the CPU."""
    wanted = {
        "datasets": (DATASET,),
        "configurations": ("3d_fullres",),
        "models": tuple((trainer, "nnUNetPlans") for trainer in TRAINERS),
        "folds": ("0", "1"),
        "device": "cpu",
        "processes": 1,
    }
    return CrossvalPlan(**{**wanted, **changes})


def wait_for(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.fixture
def nnunet(tmp_path, monkeypatch) -> Iterator[FakeNnunet]:
    """Also this process's own nnU-Net."""
    fake = FakeNnunet(tmp_path)
    for name, value in fake.environment().items():
        monkeypatch.setenv(name, value)
    yield fake
    fake.end()
