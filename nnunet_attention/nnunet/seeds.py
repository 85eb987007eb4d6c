"""Seeds of trainings: the variable that sets one, and the file beside a fold's checkpoints.

nnU-Net seeds no training; this package's trainers can be seeded. The file records the seed, so that
a resumed training uses its own seed and no other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.training_records import is_whole, read_record, write_record

VARIABLE = "NNUNET_ATTENTION_SEED"
HIGHEST = 2**31 - 1
_FILE = "seed.json"


@dataclass(frozen=True)
class SeedRecord:
    """Tells what a fold's training was seeded with.

    Attributes:
        seed: the number.
        first_epoch: the first epoch that was seeded, counted from 0; earlier ones were not.
    """

    seed: int
    first_epoch: int = 0


def seed_from(text: str | None) -> int | None:
    """Read a seed; None and "" give None, a training that is not seeded, as nnU-Net's are.

    Raises:
        ValueError: if it is not a whole number from 0 to 2^31 - 1.
    """
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) <= HIGHEST):
        raise ValueError(f"{VARIABLE}={text!r} must be a whole number from 0 to {HIGHEST}")
    return int(text)


def seed_file(fold: Path) -> Path:
    """Return the path of the file that records a fold's seed."""
    return fold / _FILE


def read_seed(fold: Path) -> SeedRecord | None:
    """Read what a fold's training was seeded with; None where nothing is recorded.

    Raises:
        CommandError: if the file holds something else.
    """
    content = read_record(
        seed_file(fold),
        lambda content: is_whole(content.get("seed")) and is_whole(content.get("first_epoch")),
        wanted="the whole numbers seed and first_epoch",
        if_removed="the seed is then unknown",
    )
    return None if content is None else SeedRecord(content["seed"], content["first_epoch"])


def write_seed(fold: Path, record: SeedRecord | None) -> None:
    """Write what a fold's training is seeded with; None removes an earlier training's record."""
    write_record(seed_file(fold), None if record is None else asdict(record))


def check_same_seed(fold: Path, record: SeedRecord | None, seed: int | None) -> None:
    """Refuse to resume a training with a seed other than the one that it was begun with.

    Args:
        fold: the folder of the fold, for the message.
        record: what was recorded there; None: nothing is known, and nothing is refused.
        seed: the seed asked for; None asks for none.

    Raises:
        CommandError: if the seeds differ, with the remedy.
    """
    if record is not None and seed is not None and record.seed != seed:
        raise CommandError(
            f"{fold} was trained with the seed {record.seed}, but {seed} was requested; give "
            f"{record.seed} or no seed to continue, or move the folder away to train it again"
        )
