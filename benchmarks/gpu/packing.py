"""Gathers what a machine without network needs: the wheels that it lacks, ours, and data."""

from __future__ import annotations

import argparse
import fnmatch
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.installing import DATA, WHEELS
from benchmarks.gpu.parts import told_sizes, write_parts
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.dataset_names import is_dataset_name
from nnunet_attention.nnunet.planners import STOCK_PLANS

ROOT = Path(__file__).resolve().parents[2]
_SOURCES = (
    "nnunet_attention",
    "trainers",
    "plans",
    "setup.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
# Packages whose requirements would replace the installed torch.
_WITHOUT_REQUIREMENTS = ("monai>=1.6",)
_TOOLS = ("pytest>=8",)
_NONE_FOUND = re.compile(r"No matching distribution found for ([^\s;]+)")
_DEPENDS = re.compile(r"^ +\S+ \S+ depends on ([^;\n]+?)(?:;.*)?$", re.MULTILINE)
# The most packages to build because they come as sources only; nnU-Net brings a dozen.
_MOST_BUILT = 40
_OLDEST_GLIBC = 5
_LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


@dataclass(frozen=True)
class Target:
    """The Python that the wheels are for.

    Attributes:
        python: such as 3.12.
        platforms: pip's names of them.
    """

    python: str
    platforms: tuple[str, ...]

    @property
    def options(self) -> list[str]:
        """The options for pip."""
        options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", self.python]
        for name in self.platforms:
            options += ["--platform", name]
        return options


def add_pack_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `pack`."""
    parser.add_argument("-o", type=Path, required=True, dest="output", metavar="FOLDER")
    there = parser.add_mutually_exclusive_group(required=True)
    there.add_argument(
        "--have", type=Path, metavar="FILE", help="output of `python -m pip freeze` on that machine"
    )
    there.add_argument(
        "--all", action="store_true", help="nothing is installed there, not even torch"
    )
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="NAME",
        help="packages to leave out, such as 'nvidia-*'",
    )  # fmt: skip
    parser.add_argument("--tests", action="store_true", help="tools for all tests, not only pytest")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER",
        help="task folder of the Decathlon, to be preprocessed there, or nnU-Net's folder of a "
        "preprocessed data set (default: no data)",
    )  # fmt: skip
    parser.add_argument(
        "--python", default=f"{sys.version_info.major}.{sys.version_info.minor}", metavar="X.Y",
        help="Python version there (default: this one; markers of requirements are always "
        "evaluated for this one)",
    )  # fmt: skip
    parser.add_argument(
        "--platform", default=this_platform(), metavar="NAME",
        help="newest platform there (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--part-mib", type=float, default=60.0, metavar="N", help="(default: 60)")


def this_platform() -> str:
    """Return the newest platform that this machine's C library supports."""
    minor = platform.libc_ver()[1].split(".")[1:] or ["17"]
    return f"manylinux_2_{minor[0]}_{platform.machine()}"


def older_platforms(newest: str) -> tuple[str, ...]:
    """Return all platforms whose wheels run on this one: pip accepts each only by name."""
    match = re.fullmatch(r"manylinux_2_(\d+)_(\w+)", newest)
    if not match:
        return (newest,)
    names = []
    for minor in range(int(match[1]), _OLDEST_GLIBC - 1, -1):
        names.append(f"manylinux_2_{minor}_{match[2]}")
        if minor in _LEGACY:
            names.append(f"{_LEGACY[minor]}_{match[2]}")
    return (*names, f"linux_{match[2]}")


def pack(arguments: argparse.Namespace) -> int:
    """Pack what the arguments ask for.

    Raises:
        CommandError: if an input is bad, or pip cannot find what is needed.
    """
    if not re.fullmatch(r"3\.\d+", arguments.python):
        raise CommandError(f"--python {arguments.python}: wanted a version such as 3.12")
    if not arguments.part_mib > 0:
        raise CommandError(f"--part-mib {arguments.part_mib}: wanted a number above 0")
    if arguments.output.is_dir() and any(arguments.output.iterdir()):
        raise CommandError(f"-o {arguments.output} is not empty; choose another, or empty it")
    if arguments.data is not None:
        check_data(arguments.data)
    there = read_freeze(arguments.have) if arguments.have else {}
    target = Target(arguments.python, older_platforms(arguments.platform))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wheels = _gather(folder, target, there, arguments.without, arguments.tests)
        files = [(path, f"{WHEELS}/{path.name}") for path in wheels]
        sizes = {path.name: path.stat().st_size for path in wheels}
        if arguments.data is not None:
            name = arguments.data.resolve().name
            files.append((arguments.data.resolve(), f"{DATA}/{name}"))
            sizes[name] = sum(file.stat().st_size for file in arguments.data.rglob("*"))
        about = {"python": arguments.python, "platform": arguments.platform, "sizes": sizes}
        manifest = write_parts(arguments.output, files, about, arguments.part_mib)
    print(told_sizes(manifest))
    print(
        f"there, in a copy of this repository: python -m benchmarks.gpu install {arguments.output}"
    )
    return 0


def check_data(folder: Path) -> None:
    """Refuse data that `install` could not use.

    Raises:
        CommandError: if the folder is neither a task of the Decathlon nor preprocessed.
    """
    name = folder.resolve().name
    preprocessed = is_dataset_name(name) and (folder / f"{STOCK_PLANS}.json").is_file()
    task = name.startswith("Task") and (folder / "imagesTr").is_dir()
    if not (preprocessed or task):
        raise CommandError(
            f"--data {folder}: is neither a task folder of the Decathlon, such as "
            "Task04_Hippocampus, nor a data set in nnUNet_preprocessed"
        )


def read_freeze(path: Path) -> dict[str, str | None]:
    """Read versions by normalised name from the output of `pip freeze`; None where it has none.

    Raises:
        CommandError: if it cannot be read or names nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--have {path} cannot be read: {error}") from error
    versions: dict[str, str | None] = {}
    for line in lines:
        if match := re.match(r"\s*([A-Za-z0-9][\w.-]*)\s*(==\s*([^\s;+]+)|@|$)", line):
            versions[normalised(match[1])] = match[3]
    if not versions:
        raise CommandError(
            f"--have {path} names no package; give the output of `python -m pip freeze`"
        )
    return versions


def normalised(name: str) -> str:
    """Normalise a package's name, as packages are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _gather(
    folder: Path,
    target: Target,
    there: Mapping[str, str | None],
    without: Sequence[str],
    all_tests: bool,
) -> list[Path]:
    """Gather the wheels of everything that is needed and missing, including ours."""
    built, wheels = folder / "built", folder / WHEELS
    for each in (built, wheels):
        each.mkdir()
    ours = _our_wheel(folder, built)
    print("resolving ...", flush=True)
    constraints = folder / "constraints.txt"
    constraints.write_text(
        "".join(f"{name}=={version}\n" for name, version in there.items() if version)
    )
    extra = "[test]" if all_tests else ""
    needed = _resolve([f"{ours}{extra}", *_TOOLS], target, constraints, built)
    missing = {
        name: version
        for name, version in needed.items()
        if there.get(name, "") not in (version, None) and not _matches(name, without)
    }
    missing.pop("nnunet-attention", None)
    plain = [f"{name}=={version}" for name, version in sorted(missing.items())]
    plain += [
        requirement
        for requirement in _WITHOUT_REQUIREMENTS
        if (name := normalised(re.split("[<>=]", requirement)[0])) not in there
        and not _matches(name, without)
    ]
    print(f"downloading {len(plain)} packages ...", flush=True)
    if plain:
        _pip("download", "--no-deps", *target.options, "--find-links", built, "-d", wheels, *plain)
    shutil.copy(ours, wheels)
    return sorted(wheels.glob("*.whl"))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatch(name, normalised(pattern)) for pattern in patterns)


def _our_wheel(folder: Path, built: Path) -> Path:
    # Built from a copy, because building leaves files behind.
    sources = folder / "sources"
    sources.mkdir()
    for name in _SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif path.is_file():
            shutil.copy(path, sources / name)
    _pip("wheel", "--no-deps", "-w", built, sources)
    return next(built.glob("nnunet_attention-*.whl"))


def _resolve(
    requirements: list[str], target: Target, constraints: Path, built: Path
) -> dict[str, str]:
    """Return versions by name; build source-only packages, if that needs no compiler."""
    report = built.parent / "report.json"
    dry = ["install", "--dry-run", "--ignore-installed", "--target", built.parent / "nowhere"]
    dry += ["-c", constraints, "--find-links", built, *target.options]
    if target.python != f"{sys.version_info.major}.{sys.version_info.minor}":
        # pip's `install` asks this Python instead; its `download`, which follows, the right one.
        dry.append("--ignore-requires-python")
    tried: set[str] = set()
    while (result := _pip(*dry, "--report", report, *requirements, check=False)).returncode:
        said = result.stdout + result.stderr
        # In a conflict, packages without any wheel look like all others.
        absent = [
            requirement
            for requirement in dict.fromkeys(_absent(said))
            if requirement not in tried
            and _pip(*dry, "--no-deps", requirement, check=False).returncode
        ]
        if not absent or len(tried) > _MOST_BUILT:
            raise CommandError(f"pip finds no compatible set of packages:\n{_end(said)}")
        for requirement in absent:
            tried.add(requirement)
            print(f"building {requirement} ...", flush=True)
            _build(requirement, constraints, built)
    installed = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {
        normalised(package["metadata"]["name"]): package["metadata"]["version"].split("+")[0]
        for package in installed
    }


def _absent(said: str) -> Iterator[str]:
    """Yield the requirements that pip names where it gives up."""
    for match in _NONE_FOUND.finditer(said):
        yield match[1]
    for match in _DEPENDS.finditer(said):
        yield match[1].replace(" and ", ",")


def _build(requirement: str, constraints: Path, built: Path) -> None:
    before = set(built.iterdir())
    _pip("wheel", "--no-deps", "-c", constraints, "-w", built, requirement)
    for path in set(built.iterdir()) - before:
        if not path.name.endswith("-none-any.whl"):
            raise CommandError(
                f"{requirement}: there is no wheel of it for that Python and platform; give "
                "another --python or --platform, or leave it out (--without) and build it there"
            )


def _pip(*arguments: object, check: bool = True) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise CommandError(f"pip {arguments[0]} failed:\n{_end(done.stderr)}")
    return done


def _end(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-8:])
