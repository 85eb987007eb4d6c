"""The tables in the documents are those that the benchmarks wrote."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PERFORMANCE = ROOT / "benchmarks" / "results" / "performance"


@pytest.mark.parametrize(
    ("document", "mark", "table"),
    [
        ("performance.md", "cpu table", PERFORMANCE / "cpu" / "table.md"),
        ("performance.md", "levers table", PERFORMANCE / "cpu" / "levers.md"),
        ("performance.md", "allocator table", PERFORMANCE / "cpu" / "allocator.md"),
        ("performance.md", "cases table", PERFORMANCE / "cpu" / "cases.md"),
    ],
)
def test_tables_in_the_documents_are_those_of_the_results(document, mark, table):
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    shown = text.split(f"<!-- {mark} -->\n", 1)[1].split("\n<!-- end -->", 1)[0]
    assert shown.strip() == table.read_text(encoding="utf-8").strip()
