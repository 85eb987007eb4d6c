"""What README.md and the site's pages show exists and works."""

import argparse
import ast
import re
import shlex
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from documents import PAGES, Shown, commands, shown
from repository import REPOSITORY

from nnunet_attention import trainers
from nnunet_attention.cli.main import build_parser

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = commands()
STOCK_TRAINERS = {"nnUNetTrainer", "nnUNetTrainerDA5"}  # test_any_trainer.py has them all


def starting_with(*words: str) -> list[Shown]:
    return [command for command in COMMANDS if command.code.split()[0] in words]


def words_of(command: Shown) -> list[str]:
    return [
        word.replace("DATASET_ID", "4").replace("$fold", "0")
        for word in shlex.split(command.code, comments=True)
    ]


def test_no_command_goes_unchecked():
    """Those of `python -m benchmarks` are parsed in tests/benchmarks/test_documents.py."""
    checked = ("nnunet-attention", "make", "pip", "export", "python")
    for command in COMMANDS:
        first = command.code.split()[0]
        assert first in checked or first.startswith("nnUNetv2_"), command


@pytest.mark.parametrize("command", starting_with("nnunet-attention"), ids=str)
def test_our_commands_take_the_arguments_shown(command):
    arguments = words_of(command)[1:]
    assert build_parser().parse_args(arguments).command == arguments[0]


NNUNETS = [command for command in COMMANDS if command.code.startswith("nnUNetv2_")]


@pytest.mark.parametrize("command", NNUNETS, ids=str)
def test_nnunets_commands_are_installed_and_the_trainers_shown_are_ours(command):
    words = words_of(command)
    assert Path(sys.executable).with_name(words[0]).exists()
    if "-tr" in words:
        assert words[words.index("-tr") + 1] in {*trainers.__all__, *STOCK_TRAINERS}


class ParsedError(Exception):
    """Raised instead of what a command does with its arguments."""


@pytest.mark.parametrize("command", NNUNETS, ids=str)
def test_nnunets_commands_take_the_arguments_shown(command, monkeypatch):
    parse = argparse.ArgumentParser.parse_known_args

    def parsed_only(self, *arguments):
        _, left = parse(self, *arguments)
        raise ParsedError(left)

    words = words_of(command)
    (entry_point,) = entry_points(group="console_scripts", name=words[0])
    run = entry_point.load()
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parsed_only)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(ParsedError) as parsed:
        run()
    assert parsed.value.args == ([],)


@pytest.mark.parametrize("command", starting_with("make"), ids=str)
def test_targets_shown_are_in_the_makefile(command):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    target, *variables = words_of(command)[1:]
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for variable in variables:
        assert re.search(rf"^{variable.partition('=')[0]} \?=", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", starting_with("pip"), ids=str)
def test_extras_shown_are_those_of_the_package(command):
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"\[(\w+)\]", command.code):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)


def test_every_trainer_is_in_the_readme():
    for name in trainers.__all__:
        length = re.sub(
            r"^(AttentionUNetTrainer|AttentionUNetSupervisedTrainer|WideUNetTrainer|"
            r"AttentionUNetFinetuneTrainer_decoderFirst|AttentionUNetFinetuneTrainer|"
            r"PlainUNetFinetuneTrainer)(?=_)",
            "",
            name,
        )
        assert name in README or length in README


@pytest.mark.parametrize("piece", shown("python"), ids=str)
def test_python_examples_compile_and_their_imports_are_there(piece):
    """Examples that need a model or results run in the tests of their rooms."""
    tree = ast.parse(piece.code)
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    exec("\n".join(ast.unparse(node) for node in imports), {})


SELF_CONTAINED = [
    piece for piece in shown("python") if piece.page.stem in ("README", "how-it-works")
]


@pytest.mark.parametrize("piece", SELF_CONTAINED, ids=str)
def test_python_examples_run(piece):
    exec(piece.code, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_relative_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert links or page.name != "README.md"
    for link in links:
        assert (page.parent / link).exists(), link


def test_the_picture_at_the_top_is_small():
    (picture,) = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert (REPOSITORY / picture).stat().st_size < 300_000
