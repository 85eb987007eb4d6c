"""Fixtures for all tests."""

import os
import sys
from collections.abc import Iterator

import pytest
from browser import Browser, started_browser
from smallest_plans import smallest_plans

from nnunet_attention.jobs import process

# Before nnU-Net is imported: torch.compile workers and figures that ask for a display do harm here.
os.environ.setdefault("MPLBACKEND", "Agg")
# What commands print hangs on the terminal; the tests expect one of their own.
os.environ["COLUMNS"] = "80"
for _name in ("LINES", "FORCE_COLOR", "NO_COLOR", "PYTHON_COLORS", "TTY_COMPATIBLE"):
    os.environ.pop(_name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the main job, which takes longest, so that other files are run beside it."""
    items.sort(key=lambda item: item.get_closest_marker("main") is None)


# Not for the whole session: other tests fork, and its driver runs beside a thread of ours.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module's tests; use `browser`."""
    with started_browser() as running:
        yield running


@pytest.fixture
def browser(chromium) -> Iterator[Browser]:
    """`browser.open(path)` opens a page; the test fails on errors in it and on any request."""
    yield chromium
    assert chromium.close_pages() == []


@pytest.fixture
def minimal_plans() -> dict:
    """See `smallest_plans`."""
    return smallest_plans()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks this small take several times longer on several threads, waiting for each other."""
    # Here, because most tests need no torch.
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def install_command(tmp_path, monkeypatch):
    """Returns a function that installs a Python script as a command found first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(process, "script_folders", lambda: [folder])

    def install(name: str, source: str) -> None:
        script = folder / name
        script.write_text(f"#!{sys.executable}\n{source}\n")
        script.chmod(0o755)

    return install
