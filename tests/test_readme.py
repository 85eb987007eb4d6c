"""What the README shows exists and works."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from repository import REPOSITORY

from nnunet_attention import trainers
from nnunet_attention.cli.main import build_parser

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
SHELL_LINES = [
    part.strip().removeprefix("do ").removesuffix("; done")
    for language, text in CODE
    if language == "bash"
    for line in text.splitlines()
    for part in line.split("; do ")
    if not part.startswith("for ")
]
OURS = [line for line in SHELL_LINES if line.startswith("nnunet-attention ")]
NNUNETS = [line for line in SHELL_LINES if line.startswith("nnUNetv2_")]


@pytest.mark.parametrize("line", OURS)
def test_our_commands_take_the_arguments_shown(line):
    arguments = [word.replace("DATASET_ID", "4") for word in shlex.split(line, comments=True)[1:]]
    assert build_parser().parse_args(arguments).command == arguments[0]


@pytest.mark.parametrize("line", NNUNETS)
def test_nnunets_commands_are_installed_and_the_trainers_shown_are_ours(line):
    words = shlex.split(line)
    assert Path(sys.executable).with_name(words[0]).exists()
    if "-tr" in words:
        assert words[words.index("-tr") + 1] in {*trainers.__all__, "nnUNetTrainer"}


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


@pytest.mark.parametrize("code", [text for language, text in CODE if language == "python"])
def test_python_examples_run(code):
    exec(code, {})


def test_relative_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    for link in links:
        assert (REPOSITORY / link).exists(), link
