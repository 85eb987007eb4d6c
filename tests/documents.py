"""The code in README.md and in the site's pages."""

import re
from dataclasses import dataclass
from pathlib import Path

from repository import DOCS, REPOSITORY

PAGES = (REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md")))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_ASSIGNMENT = re.compile(r"^\w+=(?:'[^']*'|\"[^\"]*\"|\S*)\s+")


@dataclass(frozen=True)
class Shown:
    """A piece of code, and the page that shows it."""

    page: Path
    code: str

    def __str__(self) -> str:
        return f"{self.page.stem}: {self.code.splitlines()[0]}"


def shown(language: str) -> list[Shown]:
    """Return the pieces of code in a language, in all pages."""
    return [
        Shown(page, code)
        for page in PAGES
        for name, code in _FENCE.findall(page.read_text(encoding="utf-8"))
        if name == language
    ]


def commands() -> list[Shown]:
    """Return the command lines: one for each turn of a loop, without variables set before them."""
    return [command for piece in shown("bash") for command in commands_of(piece)]


def commands_of(piece: Shown) -> list[Shown]:
    """Return the command lines of a piece of shell, as `commands` does."""
    lines = []
    for line in piece.code.splitlines():
        for part in line.split("; do "):
            command = part.strip().removeprefix("do ").removesuffix("; done")
            if command.startswith(("for ", "#")) or not command:
                continue
            while _ASSIGNMENT.match(command):
                command = _ASSIGNMENT.sub("", command, count=1)
            lines.append(Shown(piece.page, command.partition("  #")[0].strip()))
    return lines


def inline(*beginnings: str) -> list[Shown]:
    """Return the code within sentences and tables that begins with a word of these and goes on."""
    found = {
        Shown(page, code)
        for page in PAGES
        for code in _INLINE.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
        if code.partition(" ")[0] in beginnings and " " in code
    }
    return sorted(found, key=str)
