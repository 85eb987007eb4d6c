"""Precision of trainings on a CPU: the variable that asks for bfloat16, and a fold's record of it.

The record lies beside the checkpoints, as the seed's does, so that a resumed training keeps its
precision, and a table can tell how a model was trained.
"""

from __future__ import annotations

from pathlib import Path

from nnunet_attention.nnunet.training_records import is_whole, read_record, write_record

VARIABLE = "NNUNET_ATTENTION_CPU_BF16"
_FILE, _KEY = "precision.json", "cpu_bfloat16_since_epoch"


def bfloat16_from(text: str | None) -> bool:
    """Read the variable: 1 asks for bfloat16; 0, "" and None do not.

    Raises:
        ValueError: if it is anything else.
    """
    if text not in (None, "", "0", "1"):
        raise ValueError(f"{VARIABLE}={text!r} must be 1, for bfloat16 on a CPU, or 0")
    return text == "1"


def precision_file(fold: Path) -> Path:
    """Return the path of the file that records that a fold was trained in bfloat16."""
    return fold / _FILE


def read_bfloat16_since(fold: Path) -> int | None:
    """Read the epoch, counted from 0, from which a fold was trained in bfloat16; None if never.

    Raises:
        CommandError: if the file holds something else.
    """
    content = read_record(
        precision_file(fold),
        lambda content: is_whole(content.get(_KEY)),
        wanted=f"the whole number {_KEY}",
        if_removed="the training then goes on in 32 bits",
    )
    return None if content is None else content[_KEY]


def write_bfloat16_since(fold: Path, epoch: int | None) -> None:
    """Write the epoch from which a fold is trained in bfloat16; None removes the record."""
    write_record(precision_file(fold), None if epoch is None else {_KEY: epoch})
