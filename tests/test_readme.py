"""What README.md and the site's pages show exists and works."""

import argparse
import ast
import itertools
import re
import shlex
import sys
from importlib.metadata import entry_points
from pathlib import Path

import nnunetv2
import pytest
from documents import PAGES, Shown, commands, commands_of, inline, shown
from repository import DOCS, REPOSITORY

from nnunet_attention import trainers
from nnunet_attention.cli.main import COMMANDS as OUR_COMMANDS
from nnunet_attention.cli.main import build_parser
from nnunet_attention.portable import segment
from nnunet_attention.portable.readme import PACKAGES

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
COMMANDS = commands()
CODE = (REPOSITORY / "nnunet_attention", REPOSITORY / "trainers", Path(nnunetv2.__path__[0]))
STOCK_TRAINERS = {"nnUNetTrainer", "nnUNetTrainerDA5"}  # test_any_trainer.py has them all
TRAINERS_SHOWN = {
    name for piece in shown("python") for name in re.findall(r"^class (\w+)", piece.code, re.M)
}


def starting_with(*words: str) -> list[Shown]:
    return [command for command in COMMANDS if command.code.split()[0] in words]


def words_of(command: Shown) -> list[str]:
    return [
        word.replace("DATASET_ID", "4").replace("$fold", "0")
        for word in shlex.split(command.code, comments=True)
    ]


def test_no_command_goes_unchecked():
    """Those of `python -m benchmarks` are parsed in tests/benchmarks/test_documents.py."""
    checked = (
        r"(nnunet-attention|make|pip install) |nnUNetv2_\w+ |python -m benchmarks\.|"
        r"python EXPORTED/segment\.py |python -m pip freeze|export (\w+=\S+ ?)+$|"
        r'export nnUNet_extTrainer="\$\(nnunet-attention where\)" $'
    )
    for command in COMMANDS:
        assert re.match(checked, f"{command.code} "), command


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
        known = {*trainers.__all__, *STOCK_TRAINERS, *TRAINERS_SHOWN}
        assert words[words.index("-tr") + 1] in known


def options(words: list[str]) -> list[str]:
    return [word for word in words if re.match(r"--?[a-zA-Z]", word)]


def subparser(name: str) -> argparse.ArgumentParser:
    (subparsers,) = (
        action
        for action in build_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return subparsers.choices[name]


OURS_WITHIN = [*inline("nnunet-attention"), *inline(*OUR_COMMANDS)]


@pytest.mark.parametrize("command", OURS_WITHIN, ids=str)
def test_our_commands_within_sentences_have_the_options_shown(command):
    """They may leave out arguments, and our name before the command's."""
    words = words_of(command)
    name, *arguments = words[1:] if words[0] == "nnunet-attention" else words
    parsers = [subparser(name)]
    for action in parsers[0]._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers.extend(action.choices.values())
    known = {option for parser in parsers for option in parser._option_string_actions}
    assert known.issuperset(options(arguments))


NNUNETS_WITHIN = inline(
    *(entry.name for entry in entry_points(group="console_scripts") if "nnUNetv2_" in entry.name)
)


@pytest.mark.parametrize("command", NNUNETS_WITHIN, ids=str)
def test_nnunets_commands_within_sentences_have_the_options_shown(command, monkeypatch):
    def parsed_only(self, *_):
        raise ParsedError(self._option_string_actions)

    words = words_of(command)
    assert run_until_parsed(words, parsed_only, monkeypatch).keys() >= set(options(words))


class ParsedError(Exception):
    """Raised instead of what a command does with its arguments."""


def run_until_parsed(words: list[str], parse, monkeypatch):
    """Run a command with another parsing, and return what this raises a `ParsedError` with."""
    (entry_point,) = entry_points(group="console_scripts", name=words[0])
    run = entry_point.load()
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(ParsedError) as parsed:
        run()
    (told,) = parsed.value.args
    return told


@pytest.mark.parametrize("command", NNUNETS, ids=str)
def test_nnunets_commands_take_the_arguments_shown(command, monkeypatch):
    parse = argparse.ArgumentParser.parse_known_args

    def parsed_only(self, *arguments):
        _, left = parse(self, *arguments)
        raise ParsedError(left)

    assert run_until_parsed(words_of(command), parsed_only, monkeypatch) == []


def folds_of(words: list[str]) -> set[str]:
    """What follows `-f`; by default nnU-Net's five folds."""
    if "-f" not in words:
        return set("01234")
    after = words[words.index("-f") + 1 :]
    return {*itertools.takewhile(lambda word: not word.startswith("-"), after)}


WHOLE = [piece for piece in shown("bash") if "nnUNetv2_train " in piece.code]


@pytest.mark.parametrize("piece", WHOLE, ids=str)
def test_folds_that_predict_have_been_trained_there(piece):
    trained = set()
    for command in commands_of(piece):
        words = shlex.split(command.code)
        if words[0] == "nnUNetv2_train":
            trained |= set("01234") if words[3] == "$fold" else {words[3]}
        elif words[0] == "nnUNetv2_predict" or words[1] in ("maps", "predict", "ablate"):
            assert folds_of(words) <= trained, command


@pytest.mark.parametrize("command", [*starting_with("make"), *inline("make")], ids=str)
def test_targets_shown_are_in_the_makefile(command):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    target, *variables = words_of(command)[1:]
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for variable in variables:
        assert re.search(rf"^{variable.partition('=')[0]} \?=", makefile, re.MULTILINE)


@pytest.mark.parametrize("command", [*starting_with("pip"), *inline("pip")], ids=str)
def test_what_pip_is_shown_to_install_is_here_or_can_be_had(command):
    """No index has the package itself: its source, or a wheel that `make build` wrote."""
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    known = {*segment_packages(), "wandb", "nnunet_attention-VERSION-py3-none-any.whl"}
    for target in words_of(command)[2:]:
        extra = re.fullmatch(r"\.(?:\[(\w+)\])?", target)
        assert extra or target in known
        if extra and extra[1]:
            assert re.search(rf"^{extra[1]} = \[", project, re.MULTILINE)


def segment_packages() -> set[str]:
    return set(PACKAGES.split())


EXPORTED = [command for command in starting_with("python") if "EXPORTED/" in command.code]


@pytest.mark.parametrize("command", EXPORTED, ids=str)
def test_the_exported_program_takes_the_arguments_shown(command, monkeypatch):
    def parsed_only(self, arguments, *_):
        raise ParsedError(parse(self, arguments))

    parse = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parsed_only)
    with pytest.raises(ParsedError):
        segment.main(words_of(command)[2:])


def test_variables_shown_are_read_by_nnunet_or_us():
    read = {name for folder in CODE for path in folder.rglob("*.py") for name in names_in(path)}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"(?<!\w)(?:NNUNET_[A-Z0-9_]+|nnUNet_\w+)(?![\w.])", text):
            assert name in read, f"{page.name}: {name}"


def names_in(path: Path) -> list[str]:
    return re.findall(r"[\"'](NNUNET_[A-Z0-9_]+|nnUNet_\w+)[\"']", path.read_text(encoding="utf-8"))


def test_every_trainer_is_in_the_table_of_trainers():
    table = (DOCS / "options.md").read_text(encoding="utf-8")
    for name in trainers.__all__:
        length = re.sub(
            r"^(AttentionUNetTrainer|AttentionUNetSupervisedTrainer|WideUNetTrainer|"
            r"AttentionUNetFinetuneTrainer_decoderFirst|AttentionUNetFinetuneTrainer|"
            r"PlainUNetFinetuneTrainer_decoderFirst|PlainUNetFinetuneTrainer)(?=_)",
            "",
            name,
        )
        assert name in table or length in table


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
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8"))
    assert links or page.name != "README.md"
    for link, anchor in links:
        target = page.parent / link if link else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), f"{link}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_an_anchor_is_made_of_its_heading(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# On a CPU: fast\n```bash\n# none\n```\n## `-p` fails, or `maps`\n")
    assert anchors(page) == {"on-a-cpu-fast", "-p-fails-or-maps"}


def test_the_picture_at_the_top_is_small():
    (picture,) = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert (REPOSITORY / picture).stat().st_size < 300_000
