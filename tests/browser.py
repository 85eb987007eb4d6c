"""Opens pages of ours in headless Chromium, with the network cut off."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP, PHONE = (1280, 800), (390, 844)


class Browser:
    """A running Chromium."""

    def __init__(self, chromium):
        self._chromium = chromium
        self._contexts = []
        self.errors: list[str] = []

    def open(self, path: Path, size: tuple[int, int] = DESKTOP, touch: bool = False):
        """Opens a file as a person does who double-clicks it; returns playwright's page.

        Args:
            path: of the page.
            size: width and height of the window.
            touch: whether it is a touch screen.
        """
        context = self._chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, has_touch=touch, offline=True
        )
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._note_request)
        page.goto(path.resolve().as_uri())
        return page

    def close_pages(self) -> list[str]:
        """Closes all pages and returns what went wrong in them."""
        for context in self._contexts:
            context.close()
        errors = list(self.errors)
        self._contexts.clear()
        self.errors.clear()
        return errors

    def _note_message(self, message) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"console {message.type}: {message.text}")

    def _note_request(self, request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.errors.append(f"the page asks the network for {request.url}")


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Starts Chromium; without it skips the test or, in CI, fails it."""
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        _give_up(f"no browser: none of {', '.join(_NAMES)} is on the PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _give_up("no playwright; install the package with its extra 'test'")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable)
        try:
            yield Browser(chromium)
        finally:
            chromium.close()


def _give_up(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
