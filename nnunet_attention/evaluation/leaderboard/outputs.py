"""Writes the leaderboard's files, all or none."""

from __future__ import annotations

from pathlib import Path

from nnunet_attention.evaluation.leaderboard.building import Leaderboard
from nnunet_attention.evaluation.leaderboard.latex import latex
from nnunet_attention.evaluation.leaderboard.markdown import markdown
from nnunet_attention.evaluation.leaderboard.records import leaderboard_record
from nnunet_attention.evaluation.leaderboard.report import report_page
from nnunet_attention.files import json_text, write_all

WRITERS = {
    "json": lambda board: json_text(leaderboard_record(board), indent=1),
    "csv": lambda board: board.cases.to_csv(index=False, lineterminator="\n"),
    "md": markdown,
    "tex": latex,
    "html": report_page,
}


def write_leaderboard(board: Leaderboard, folder: Path) -> list[Path]:
    """Write `leaderboard.json`, `.csv`, `.md`, `.tex` and `.html`; replace existing ones.

    All contents are made before any file is written, and each file is written beside its target
    before it is renamed.

    Raises:
        CommandError: if the folder cannot be written.
    """
    texts = {f"leaderboard.{ending}": writer(board) for ending, writer in WRITERS.items()}
    return write_all(folder, texts)
