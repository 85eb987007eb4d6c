"""What the pages on the Decathlon and the experiments show is what the commands take."""

import re
import shlex

import pytest
from repository import DOCS

from nnunet_attention.cli.main import build_parser
from nnunet_attention.experiments.stages import DEFAULT_TRAINERS, EXPERIMENTS
from nnunet_attention.msd.published import published_sources

PAGES = {name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("msd", "experiments")}
LINES = [
    line
    for text in PAGES.values()
    for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("line", LINES)
def test_commands_take_the_arguments_shown(line):
    program, *arguments = shlex.split(line)
    assert program == "nnunet-attention"
    assert build_parser().parse_args(arguments).command == arguments[0]


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([a-z_]+\.md)\)", PAGES[name]):
        assert (DOCS / target).is_file()


def test_every_source_and_every_experiment_is_explained():
    for source in published_sources().values():
        assert source.url in PAGES["msd"]
    for name in EXPERIMENTS:
        assert f"`{name}`" in PAGES["experiments"]
        assert all(f"{trainer}" in PAGES["experiments"] for trainer in DEFAULT_TRAINERS[name])
