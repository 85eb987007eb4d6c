"""Writes the leaderboard's files, all or none."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.latex import latex
from nnunet_attention.evaluation.leaderboard import Leaderboard
from nnunet_attention.evaluation.markdown import markdown
from nnunet_attention.evaluation.records import leaderboard_record
from nnunet_attention.evaluation.report import report_page
from nnunet_attention.files import written_beside

WRITERS = {
    "json": lambda board: (
        json.dumps(leaderboard_record(board), indent=1, sort_keys=True, allow_nan=False) + "\n"
    ),
    "csv": lambda board: board.cases.to_csv(index=False, lineterminator="\n"),
    "md": markdown,
    "tex": latex,
    "html": report_page,
}


def write_leaderboard(board: Leaderboard, folder: Path) -> list[Path]:
    """Writes `leaderboard.json`, `.csv`, `.md`, `.tex` and `.html`; files of these names go.

    Everything is made before anything is written, and written beside before it is renamed.

    Raises:
        CommandError: if the folder cannot be written.
    """
    texts = {folder / f"leaderboard.{ending}": writer(board) for ending, writer in WRITERS.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            for path, text in texts.items():
                beside = stack.enter_context(written_beside(path))
                beside.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise CommandError(f"-o {folder}: cannot be written: {error}") from error
    return list(texts)
