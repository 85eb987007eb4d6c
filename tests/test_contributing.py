"""The tour in CONTRIBUTING.md goes through the house as it stands."""

import re

import pytest
from repository import REPOSITORY

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
# NAME stands for a new module; data lie elsewhere, and what is built is not there yet.
PATHS = sorted(
    {
        token
        for token in re.findall(r"`([\w./-]+)`", TEXT)
        if ("/" in token or token.endswith((".py", ".md", ".html", ".css", ".js", ".toml")))
        and "NAME" not in token
        and not token.startswith((".venv/", "build/", "../"))
    }
)
ROOMS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (REPOSITORY / "nnunet_attention").iterdir()
    if (path / "__init__.py").is_file() or (path.suffix == ".py" and path.stem != "__init__")
)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_named_is_there(path):
    if "/" in path:
        assert (REPOSITORY / path).exists()
    else:
        # Named beside the folder that it lies in.
        assert (REPOSITORY / path).is_file() or any((REPOSITORY / "nnunet_attention").rglob(path))


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_in_the_tour(room):
    assert f"`{room}" in TEXT


def test_every_target_named_is_in_the_makefile():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([\w-]+)`", TEXT):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
