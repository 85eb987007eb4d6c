"""Reads tables that users write: CSV files whose first line names the columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nnunet_attention.errors import CommandError


def read_columns(option: str, path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV file that must have certain columns, every cell as text stripped of blanks.

    Args:
        option: the option that named the file, for error messages.
        path: the file; it may have further columns.
        columns: the columns that it must have.

    Raises:
        CommandError: if it cannot be read, or lacks a column.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except FileNotFoundError as error:
        raise CommandError(f"{option}: there is no such file") from error
    except (OSError, ValueError) as error:
        raise CommandError(f"{option} cannot be read as CSV: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):
        # pandas would take surplus cells at the start of each row as its index, and shift the rest.
        raise CommandError(
            f"{option}: its rows have more cells than its first line has columns "
            f"({', '.join(table)}); name all columns there, or remove the cells"
        )
    table.columns = table.columns.str.strip()
    absent = [column for column in columns if column not in table]
    if absent:
        raise CommandError(
            f"{option}: no column {' and '.join(absent)} (it has {', '.join(table)}); "
            f"its first line must name the columns {_joined(columns)}"
        )
    return table.apply(lambda column: column.str.strip())


def _joined(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
