"""Our wheel and our editable install, each in a fresh environment, as nnU-Net sees them.

One installation of torch and nnunetv2 is shared: a path file names the site-packages that hold it.
Path files there are not executed, so an installation of ours that lies there stays unseen.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nnunetv2
import pytest
from repository import REPOSITORY

from nnunet_attention import doorway

pytestmark = pytest.mark.slow

SOURCES = (
    *("nnunet_attention", "trainers", "plans", "setup.py", "pyproject.toml", "MANIFEST.in"),
    *("README.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md"),
)
SITE_PACKAGES = Path(nnunetv2.__file__).parents[1]
RESOLVE = """
import json, os
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as resolve
import nnunetv2
found = resolve("AttentionUNetTrainer")
assert found is resolve("AttentionUNetTrainer")
from nnunet_attention import plans, trainers
print(json.dumps({
    "class": found.__module__ + "." + found.__name__,
    "trainers": os.path.dirname(trainers.__file__),
    "plans": os.path.dirname(plans.__file__),
    "nnunetv2": os.path.dirname(nnunetv2.__file__),
}))
"""
SPAWN = """
import multiprocessing
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as resolve

def child(queue, trainer_class):
    queue.put(resolve("AttentionUNetTrainer") is trainer_class)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue, resolve("AttentionUNetTrainer")))
    process.start()
    print(queue.get(timeout=120))
    process.join()
"""


class Environment:
    """A virtual environment outside the repository."""

    def __init__(self, folder: Path):
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        self.folder = folder
        self.scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.scripts / "python"
        purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.site_packages = Path(self.output("-c", purelib).strip())
        self.add_path("shared.pth", SITE_PACKAGES)

    def add_path(self, name: str, path: Path) -> None:
        (self.site_packages / name).write_text(f"{path}\n")

    def install(self, *what: str) -> None:
        offline = ["--no-deps", "--no-index", "--no-build-isolation"]
        command = [sys.executable, "-m", "pip", "--python", self.python, "install", *offline, *what]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def output(self, *arguments, fails: bool = False, **variables: str) -> str:
        nnunet = ("nnUNet_", "NNUNET_ATTENTION")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(nnunet)}
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr if fails else done.stdout

    def resolve(self, **variables: str) -> dict:
        return json.loads(self.output("-c", RESOLVE, **variables).splitlines()[-1])


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy: building leaves folders behind, and the repository must not shadow the wheel."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (REPOSITORY / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, folder)
    shutil.copy(REPOSITORY / "LICENSE", folder)
    return folder


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-index", "--no-build-isolation", "-w", str(folder)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def source_distribution(sources, tmp_path_factory):
    folder = tmp_path_factory.mktemp("source_distribution")
    program = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    command = [sys.executable, "-c", program, folder]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def from_wheel(wheel, tmp_path_factory):
    environment = Environment(tmp_path_factory.mktemp("from_wheel"))
    environment.install(str(wheel))
    return environment


@pytest.fixture(scope="module")
def editable(sources, tmp_path_factory):
    environment = Environment(tmp_path_factory.mktemp("editable"))
    environment.install("-e", str(sources))
    return environment


@pytest.fixture(params=["wheel", "editable"])
def installed(request):
    return request.getfixturevalue({"wheel": "from_wheel", "editable": "editable"}[request.param])


def test_nnunet_finds_the_trainer_of_the_wheel_with_nothing_exported(from_wheel):
    found = from_wheel.resolve()
    package = from_wheel.site_packages / "nnunet_attention"
    assert found["class"] == "nnunet_attention.trainers.attention.AttentionUNetTrainer"
    assert found["trainers"] == str(package / "trainers")
    assert found["plans"] == str(package / "plans")


def test_nnunet_finds_the_trainer_of_the_editable_install_with_nothing_exported(editable, sources):
    found = editable.resolve()
    assert found["class"] == "nnunet_attention.trainers.attention.AttentionUNetTrainer"
    assert found["trainers"] == str(sources / "trainers")
    assert found["plans"] == str(sources / "plans")


def test_the_source_distribution_installs_what_the_wheel_does(
    source_distribution, from_wheel, tmp_path
):
    environment = Environment(tmp_path)
    environment.install(str(source_distribution))
    found = environment.resolve()
    assert found["class"] == "nnunet_attention.trainers.attention.AttentionUNetTrainer"

    def files(root):
        found = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
        return {path for path in found if path.suffix != ".pyc"}

    package = Path("nnunet_attention")
    assert files(environment.site_packages / package) == files(from_wheel.site_packages / package)
    assert (environment.site_packages / "nnunet_attention.pth").is_file()


def test_the_source_distribution_holds_documents_and_no_part_of_the_tests(source_distribution):
    with tarfile.open(source_distribution) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md"} <= names
    assert not any(name.startswith("tests") for name in names)


@pytest.mark.parametrize("made", ["wheel", "source_distribution"])
def test_what_indexes_show_is_in_order(made, request):
    pytest.importorskip("twine", reason="needs twine, which `make build` installs")
    command = [sys.executable, "-m", "twine", "check", "--strict", request.getfixturevalue(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_editable_nnunet_finds_the_trainer_too(installed, tmp_path):
    """An editable install of nnunetv2 is a path file that names its source folder."""
    shutil.copytree(
        SITE_PACKAGES / "nnunetv2",
        tmp_path / "nnunetv2",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    # Before `shared.pth` in the alphabet, so that this nnunetv2 comes first.
    path_file = installed.site_packages / "__editable__.nnunetv2.pth"
    installed.add_path(path_file.name, tmp_path)
    try:
        found = installed.resolve()
    finally:
        path_file.unlink()
    assert found["nnunetv2"] == str(tmp_path / "nnunetv2")
    assert found["class"] == "nnunet_attention.trainers.attention.AttentionUNetTrainer"


def test_spawned_children_find_the_trainer_too(installed):
    program = installed.folder / "spawn.py"
    program.write_text(SPAWN)
    assert installed.output(str(program)).splitlines()[-1] == "True"


def test_opting_out_hides_the_trainers_and_the_manual_route_shows_them(from_wheel):
    opted_out = {doorway.OPT_OUT_VARIABLE: "0"}
    message = from_wheel.output("-c", RESOLVE, fails=True, **opted_out)
    assert "Could not find requested nnunet trainer AttentionUNetTrainer" in message
    where = from_wheel.output(from_wheel.scripts / "nnunet-attention", "where").strip()
    assert Path(where) == from_wheel.site_packages / "nnunet_attention" / "doorway"
    manual = {**opted_out, doorway.SEARCH_PATH_VARIABLE: where}
    assert "AttentionUNetTrainer" in from_wheel.resolve(**manual)["class"]


def test_a_users_own_trainers_are_searched_first(from_wheel, tmp_path):
    (tmp_path / "my_trainer.py").write_text(
        "from nnunet_attention.trainers import AttentionUNetTrainer_5epochs as AttentionUNetTrainer"
    )
    found = from_wheel.resolve(**{doorway.SEARCH_PATH_VARIABLE: str(tmp_path)})
    assert found["class"].endswith(".AttentionUNetTrainer_5epochs")


def test_start_up_imports_two_light_modules_and_no_others(from_wheel):
    program = "import sys; print(sorted(sys.modules))"
    opened = from_wheel.output("-c", program)
    start_up_file = from_wheel.site_packages / "nnunet_attention.pth"
    hidden = start_up_file.rename(start_up_file.with_suffix(".hidden"))
    try:
        closed = from_wheel.output("-c", program)
    finally:
        hidden.rename(start_up_file)
    added = set(eval(opened)) - set(eval(closed))
    assert {"nnunet_attention", "nnunet_attention.doorway"} <= added
    # What `importlib.import_module` brings along.
    assert added <= {"nnunet_attention", "nnunet_attention.doorway", "importlib", "warnings"} | {
        name for name in added if name.startswith(("importlib.", "_frozen", "_warnings"))
    }


def test_start_up_survives_a_broken_package_and_says_nothing(from_wheel):
    module = from_wheel.site_packages / "nnunet_attention" / "doorway" / "__init__.py"
    text = module.read_text()
    module.write_text("raise RuntimeError('broken')")
    try:
        assert from_wheel.output("-c", "print('alive')") == "alive\n"
        # stderr too
        done = subprocess.run(
            [from_wheel.python, "-c", "pass"], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
    finally:
        module.write_text(text)


def test_the_wheel_holds_all_parts_of_pages_and_the_mark_of_a_typed_package(from_wheel):
    sources = REPOSITORY / "nnunet_attention"
    names = {
        path.relative_to(sources)
        for pattern in ("*.html", "*.css", "*.js", "py.typed")
        for path in sources.rglob(pattern)
    }
    parts = {Path("maps", name) for name in ("page.html", "page.css", "page.js")}
    assert names >= {*parts, Path("py.typed")}
    package = from_wheel.site_packages / "nnunet_attention"
    assert all((package / name).is_file() for name in names)


def test_the_wheel_leaves_no_generic_names_in_site_packages(from_wheel):
    names = {path.name for path in from_wheel.site_packages.iterdir()}
    assert not names & {"trainers", "plans", "tests", "benchmarks", "docs"}


def test_uninstalling_removes_the_start_up_file(sources, tmp_path):
    environment = Environment(tmp_path)
    environment.install(str(sources))
    assert (environment.site_packages / "nnunet_attention.pth").is_file()
    command = [sys.executable, "-m", "pip", "--python", environment.python, "uninstall", "-y"]
    subprocess.run([*command, "nnunet-attention"], check=True, capture_output=True)
    assert not list(environment.site_packages.glob("*nnunet_attention*"))
