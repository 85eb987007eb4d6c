"""The tables in the documents are those that the benchmarks wrote."""

import argparse
import importlib
import importlib.util
import shlex
import sys

import pytest
from documents import commands, inline

from benchmarks.documents import ROOT, TABLES, filled

# Documents of what may not have been measured yet.
LATER = ("where-gates-help.md", "pretrained.md")


@pytest.mark.parametrize(
    ("document", "name", "table"),
    [one for one in TABLES if one[2].is_file()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tables_in_the_documents_are_those_of_the_results(document, name, table):
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    assert filled(text, name, table.read_text(encoding="utf-8")) == text


@pytest.mark.parametrize(("document", "name"), [one[:2] for one in TABLES if one[0] in LATER])
def test_a_table_that_is_not_measured_yet_has_its_place(document, name):
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    assert "| x |" in filled(text, name, "| x |")


def test_a_table_replaces_what_stood_between_its_marks():
    text = "a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\nkept\n<!-- end -->\n"
    for table in ("| x |\n", "# Title\n\n| x |\n"):
        assert filled(text, "one", table) == (
            "a\n<!-- one -->\n\n| x |\n\n<!-- end -->\nb\n<!-- two -->\nkept\n<!-- end -->\n"
        )


def test_a_missing_mark_is_named():
    with pytest.raises(ValueError, match="<!-- one --> occurs 0 times"):
        filled("no marks", "one", "| x |")


class ParsedError(Exception):
    """Raised instead of what a command does with its arguments."""


_BEGINNING = "python -m benchmarks."
# Sentences may leave out arguments where they show no option.
_WITHIN = [command for command in inline("python") if " -" in command.code[len(_BEGINNING) :]]
OF_BENCHMARKS = [
    command for command in (*commands(), *_WITHIN) if command.code.startswith(_BEGINNING)
]


@pytest.mark.parametrize("command", OF_BENCHMARKS, ids=str)
def test_commands_in_the_documents_take_the_arguments_shown(command, monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def parsed_only(self, *arguments):
        raise ParsedError(parse(self, *arguments))

    words = shlex.split(command.code)[2:]
    package = importlib.util.find_spec(words[0]).submodule_search_locations is not None
    module = importlib.import_module(f"{words[0]}.__main__" if package else words[0])
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed_only)
    monkeypatch.setattr(sys, "argv", words)
    # argparse ends the program with 0 after --help, and with 2 where it understands nothing.
    with pytest.raises((ParsedError, SystemExit)) as ended:
        module.main()
    assert ended.type is ParsedError or not ended.value.code
