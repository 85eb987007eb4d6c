"""Puts the tables that the benchmarks wrote into the documents, between their marks.

    python -m benchmarks.documents

In a document, `<!-- NAME -->` and `<!-- end -->` enclose the table NAME.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.files import write_text

ROOT = Path(__file__).resolve().parents[1]
_CPU = ROOT / "benchmarks" / "results" / "performance" / "cpu"
_HIPPOCAMPUS = ROOT / "benchmarks" / "hippocampus" / "results" / "cpu"
# Written by `python -m benchmarks.gpu report`.
GPU = ROOT / "benchmarks" / "results" / "gpu"
OF_GPU = {
    "tests": GPU / "tests.md",
    "loading": GPU / "loading.md",
    "speed and memory": _CPU.with_name("cuda") / "table.md",
    "kernels": GPU / "kernels.md",
    "levers": GPU / "levers.md",
    "resampling": GPU / "resampling.md",
    "trainings": GPU / "trainings.md",
    "failures": GPU / "failures.md",
}
# Written by `python -m benchmarks.where_gates_help report`.
_GATES = ROOT / "benchmarks" / "where_gates_help" / "results" / "tables"
_FINETUNE = ROOT / "benchmarks" / "results" / "finetune"
_ENGINES = ROOT / "benchmarks" / "results" / "engines"
# Written by `python -m benchmarks.ablation` and `python -m benchmarks.cams`.
_ABLATION = ROOT / "benchmarks" / "results" / "ablation"
# Document, name of the table, and the file that holds it; missing files are left out.
TABLES = (
    ("performance.md", "cpu table", _CPU / "table.md"),
    ("performance.md", "full plan table", _CPU.with_name("cpu_full") / "table.md"),
    ("performance.md", "levers table", _CPU / "levers.md"),
    ("performance.md", "allocator table", _CPU / "allocator.md"),
    ("performance.md", "cases table", _CPU / "cases.md"),
    ("performance.md", "gpu tests table", OF_GPU["tests"]),
    ("performance.md", "gpu loading table", OF_GPU["loading"]),
    ("performance.md", "cuda table", OF_GPU["speed and memory"]),
    ("performance.md", "gpu kernels table", OF_GPU["kernels"]),
    ("performance.md", "gpu levers table", OF_GPU["levers"]),
    ("benchmarks.md", "gpu trainings table", OF_GPU["trainings"]),
    ("benchmarks.md", "hippocampus runs table", _HIPPOCAMPUS / "runs.md"),
    ("benchmarks.md", "hippocampus starts table", _HIPPOCAMPUS / "starts.md"),
    ("benchmarks.md", "hippocampus dice table", _HIPPOCAMPUS / "dice.md"),
    ("benchmarks.md", "hippocampus published table", _HIPPOCAMPUS / "published.md"),
    ("benchmarks.md", "nuclei runs table", _HIPPOCAMPUS.with_name("nuclei") / "runs.md"),
    ("benchmarks.md", "nuclei starts table", _HIPPOCAMPUS.with_name("nuclei") / "starts.md"),
    # Written by `python -m benchmarks.finetune`.
    ("pretrained.md", "finetune table", _FINETUNE / "table.md"),
    ("pretrained.md", "finetune trainings table", _FINETUNE / "trainings.md"),
    ("maps.md", "ablation effects table", _ABLATION / "effects.md"),
    ("maps.md", "ablation areas table", _ABLATION / "areas.md"),
    ("maps.md", "ablation cams table", _ABLATION / "cams.md"),
    ("deployment.md", "engines hippocampus table", _ENGINES / "hippocampus.md"),
    ("deployment.md", "engines sarcoma table", _ENGINES / "sarcoma.md"),
    ("deployment.md", "engines plans table", _ENGINES / "plans.md"),
    ("deployment.md", "cpu bfloat16 table", _CPU.with_name("cpu_bfloat16") / "table.md"),
    ("deployment.md", "resampling table", _ENGINES.with_name("resampling") / "cpu.md"),
    ("deployment.md", "gpu resampling table", OF_GPU["resampling"]),
    *(
        ("where-gates-help.md", f"gates {name.replace('_', ' ')} table", _GATES / f"{name}.md")
        for name in (
            *("pilot", "rules", "recommendation", "primary", "secondary", "without_pilot"),
            *("interactions", "strata", "phantom_2d", "phantom_3d", "sarcoma", "hippocampus"),
            *("warm", "coefficients", "maps", "ablations", "trainings", "floor"),
        )
    ),
)


def filled(text: str, name: str, table: str) -> str:
    """Put the table between its marks in the text, without the table's own title.

    Raises:
        ValueError: if the text has no such marks, or has them twice.
    """
    pattern = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    table = re.sub(r"\A# .*\n", "", table).strip()
    result, count = pattern.subn(lambda marks: f"{marks[1]}\n{table}\n\n{marks[2]}", text)
    if count != 1:
        raise ValueError(f"the mark <!-- {name} --> occurs {count} times; it must occur once")
    return result


def main(command_line: Sequence[str] | None = None) -> int:
    """Fill all documents."""
    # It takes no arguments, and should say so.
    parser = argparse.ArgumentParser(prog="python -m benchmarks.documents", description=__doc__)
    parser.parse_args(command_line)
    for document, name, table in TABLES:
        path = ROOT / "docs" / document
        if table.is_file():
            text = path.read_text(encoding="utf-8")
            write_text(path, filled(text, name, table.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of("python -m benchmarks.documents", main))
