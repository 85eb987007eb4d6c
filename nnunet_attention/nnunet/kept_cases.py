"""Finds the cases that an interrupted validation need not predict again, and names them."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Collection
from pathlib import Path

# Holds a JSON list of names, for the trainer's process.
VARIABLE = "NNUNET_ATTENTION_KEPT_CASES"
_ENDING = ".nii.gz"
_PIECE_BYTES = 1 << 20


def kept_cases() -> frozenset[str]:
    """Return the cases named in this process's environment; called by the trainer."""
    return frozenset(json.loads(os.environ.get(VARIABLE, "[]")))


def whole_predictions(
    validation: Path, checkpoint: Path, cases: Collection[str], file_ending: str, npz: bool
) -> list[str]:
    """List the cases whose files a validation with this checkpoint has all left complete.

    nnU-Net writes in place, the segmentation last, so a kill leaves half-written files. Only a
    compressed NIfTI shows that: in other formats all cases are predicted again.

    Args:
        validation: its folder.
        checkpoint: the network's; files older than it come from another network.
        cases: their names.
        file_ending: that of the segmentations.
        npz: whether probabilities must be there too.
    """
    if file_ending != _ENDING:
        return []
    return [case for case in cases if _is_whole(validation / f"{case}{_ENDING}", checkpoint, npz)]


def _is_whole(segmentation: Path, checkpoint: Path, npz: bool) -> bool:
    name = segmentation.name.removesuffix(_ENDING)
    before = [segmentation.with_name(name + ending) for ending in (".npz", ".pkl")] if npz else []
    try:
        written = [path.stat().st_mtime_ns for path in (checkpoint, *before, segmentation)]
        return written == sorted(written) and written[0] < written[-1] and _reads(segmentation)
    except OSError:
        return False


def _reads(path: Path) -> bool:
    """Tell whether a compressed stream is complete and its checksum right."""
    try:
        with gzip.open(path) as stream:
            empty = True
            while stream.read(_PIECE_BYTES):
                empty = False
        return not empty
    except (OSError, EOFError, zlib.error):
        return False
