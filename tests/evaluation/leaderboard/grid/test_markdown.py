"""Markdown shows cells as they are, numbers flush right."""

import re

import pytest
from leaderboards import TRICKY

from nnunet_attention.evaluation.leaderboard.grid import Cell, Grid, markdown_table
from nnunet_attention.evaluation.leaderboard.grid.markdown import escaped

GRID = Grid(
    "Dice",
    ("data set", "a_b"),
    (
        (Cell("One"), Cell("0.5", "0.1", True, "")),
        (Cell(""), Cell("0.4", "0.2", mark="**")),
        (Cell("Two"), Cell("\N{EN DASH}")),
    ),
    names=1,
    groups=frozenset({0, 2}),
)


def test_a_table_by_hand():
    assert markdown_table(GRID).splitlines() == [
        r"| data set | a\_b |",
        "| --- | ---: |",
        "| One | **0.5** \N{PLUS-MINUS SIGN} 0.1 |",
        r"|  | 0.4 " "\N{PLUS-MINUS SIGN}" r" 0.2\*\* |",
        "| Two | \N{EN DASH} |",
    ]


def test_groups_begin_in_bold_where_that_is_asked_for():
    lines = markdown_table(GRID, bold_groups=True).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| **One**", "| ", "| **Two**"]


def test_names_are_shown_as_they_are():
    markdown_it = pytest.importorskip("markdown_it")
    html = markdown_it.MarkdownIt().render(escaped(TRICKY))
    text = re.sub(r"<[^>]+>", "", html)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    assert text.strip() == TRICKY
