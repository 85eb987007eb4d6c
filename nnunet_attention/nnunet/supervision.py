"""Supervision of gates: the variable that sets it, and the file beside a fold's checkpoints.

The file records the setting, so that a resumed training uses its own and no other, and a table can
tell how a model was trained.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.training_records import is_whole, read_record, write_record

VARIABLE = "NNUNET_ATTENTION_SUPERVISION"
_FILE = "supervision.json"
_HIGHEST_WEIGHT, _WIDEST_BORDER = 100, 16


@dataclass(frozen=True)
class Supervision:
    """Says how the gates of a training are supervised.

    Attributes:
        weight: the initial weight of the gates' loss.
        border: the border of the foreground, in voxels of a gate's grid.
    """

    weight: float = 0.5
    border: int = 1

    def __str__(self) -> str:
        # Not rounded: whoever gives what a message names must be understood to mean the same.
        return f"{repr(self.weight).removesuffix('.0')},{self.border}"


@dataclass(frozen=True)
class SupervisionRecord:
    """Tells how the gates of a fold's training were supervised.

    Attributes:
        supervision: the setting.
        first_epoch: the first epoch that is known to have had it, counted from 0.
    """

    supervision: Supervision
    first_epoch: int = 0


def supervision_from(text: str | None) -> Supervision | None:
    """Read `WEIGHT` or `WEIGHT,BORDER`; None and "" give None, which asks for nothing.

    Raises:
        CommandError: if the weight is not a number from 0 to 100, or the border not a whole number
            from 0 to 16.
    """
    if not text:
        return None
    weight_text, comma, border_text = text.partition(",")
    found: Supervision | None = None
    with suppress(ValueError):
        found = Supervision(float(weight_text), int(border_text) if comma else Supervision().border)
    if found is None or not _is_possible(found.weight, found.border):
        raise CommandError(
            f"{VARIABLE}={text!r} must be WEIGHT or WEIGHT,BORDER, such as {Supervision()}: a "
            f"weight from 0 to {_HIGHEST_WEIGHT} and a border of 0 to {_WIDEST_BORDER} voxels"
        )
    return found


def supervision_file(fold: Path) -> Path:
    """Return the path of the file that records how the gates of a fold were supervised."""
    return fold / _FILE


def read_supervision(fold: Path) -> SupervisionRecord | None:
    """Read how the gates of a fold were supervised; None where nothing is recorded.

    Raises:
        CommandError: if the file holds something else.
    """
    content = read_record(
        supervision_file(fold),
        _is_right,
        wanted=f"a weight from 0 to {_HIGHEST_WEIGHT} and the whole numbers border and first_epoch",
        if_removed="the setting is then unknown",
    )
    if content is None:
        return None
    supervision = Supervision(float(content["weight"]), content["border"])
    return SupervisionRecord(supervision, content["first_epoch"])


def _is_right(content: dict) -> bool:
    weight, border = content.get("weight"), content.get("border")
    # By `type`, as True is an int as well.
    if not (type(weight) is int or type(weight) is float) or type(border) is not int:
        return False
    return _is_possible(weight, border) and is_whole(content.get("first_epoch"))


def write_supervision(fold: Path, record: SupervisionRecord) -> None:
    """Write how the gates of a fold are supervised."""
    content = {**asdict(record.supervision), "first_epoch": record.first_epoch}
    write_record(supervision_file(fold), content)


def check_same_supervision(
    fold: Path, record: SupervisionRecord | None, wanted: Supervision | None
) -> None:
    """Refuse to resume a training with a supervision other than the one that it was begun with.

    Args:
        fold: the folder of the fold, for the message.
        record: what was recorded there; None: nothing is known, and nothing is refused.
        wanted: the supervision asked for; None asks for none in particular.

    Raises:
        CommandError: if they differ, with the remedy.
    """
    if record is not None and wanted is not None and record.supervision != wanted:
        raise CommandError(
            f"{fold} was trained with {VARIABLE}={record.supervision}, and {wanted} is asked for; "
            f"give {record.supervision} or none to go on, or move the folder away to train it anew"
        )


def _is_possible(weight: float, border: int) -> bool:
    # Written so that nan is refused too.
    return 0 <= weight <= _HIGHEST_WEIGHT and 0 <= border <= _WIDEST_BORDER
