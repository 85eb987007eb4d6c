"""Keeps the results that were collected: Dice of every case, and how each training went."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.hippocampus.schedules import Variant
from benchmarks.where_gates_help.design import OUT_OF_DOMAIN, Data, Part
from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json, write_json, written_beside

CASES, TRAININGS = "cases.csv", "trainings.json"
DESIGN = "design.json"
# Columns of CASES; the domain of a fold's validation is `in`, that of the shifted images `out`.
COLUMNS = (
    *("dataset", "domain", "network", "seed", "fold", "case", "label"),
    *("reference_voxels", "prediction_voxels", "dice"),
)
# What tells one training from another.
KEY = ["dataset", "network", "seed", "fold"]


def read_cases(results: Path, part: Part) -> pd.DataFrame:
    """Read the collected cases of a part; without any, the table has no rows.

    Repeats of which a fold is not collected yet are left out: their patients would be others than
    those of the networks that they are compared with.
    """
    path = results / part.name / CASES
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    cases = pd.read_csv(path)
    folds = cases.groupby(["dataset", "domain", "network", "seed"])["fold"].transform("nunique")
    return cases[folds == len(part.folds)].reset_index(drop=True)


def read_trainings(place: Path) -> list[dict]:
    """Read how each training of a part's folder went; without any, the list is empty."""
    path = place / TRAININGS
    return read_json(path)["trainings"] if path.is_file() else []


def collected_trainings(results: Path, part: Part) -> set[tuple[str, str, int, int]]:
    """Return which trainings of a part are collected whole, with their shifted images.

    Returns:
        Of each the data set, the folder of the network, the seed and the fold.

    Raises:
        CommandError: if the results are of another design.
    """
    place = results / part.name
    trainings = read_trainings(place)
    if not trainings:
        return set()
    _require_design(part, place)
    found = {_entry_key(entry) for entry in trainings}
    if part.has_shifted_images:
        cases = pd.read_csv(place / CASES)
        shifted = cases[cases["domain"] == OUT_OF_DOMAIN]
        found &= set(shifted[KEY].itertuples(index=False, name=None))
    return found


def key_of(data: Data, network: Variant, seed: int, fold: str) -> tuple[str, str, int, int]:
    """Return the values of `KEY` of a training."""
    return data.dataset, network.folder, seed, int(fold)


def add_rows(frames: Sequence[pd.DataFrame], trainings: Sequence[dict], place: Path) -> None:
    """Replace the rows of the same trainings, add the others, and sort them."""
    place.mkdir(parents=True, exist_ok=True)
    cases = pd.concat(frames, ignore_index=True)
    before = place / CASES
    if before.is_file():
        known = pd.read_csv(before)
        is_new = known[KEY].apply(tuple, axis=1).isin(set(cases[KEY].apply(tuple, axis=1)))
        cases = pd.concat([known[~is_new], cases], ignore_index=True)
    cases = cases[list(COLUMNS)].sort_values(list(COLUMNS[:7]))
    with written_beside(before) as beside:
        cases.to_csv(beside, index=False)
    kept = {_entry_key(entry): entry for entry in read_trainings(place)}
    kept |= {_entry_key(entry): entry for entry in trainings}
    write_json(place / TRAININGS, {"trainings": [kept[key] for key in sorted(kept)]})


def _entry_key(entry: dict) -> tuple:
    return tuple(entry[name] for name in KEY)


def keep_design(part: Part, place: Path) -> None:
    """Write what the results are of; results of another design are never added to."""
    _require_design(part, place)
    place.mkdir(parents=True, exist_ok=True)
    write_json(place / DESIGN, _design_of(part))


def _require_design(part: Part, place: Path) -> None:
    path = place / DESIGN
    if path.is_file() and read_json(path) != _design_of(part):
        raise CommandError(f"{path}: {part.name} has results of another design; remove them first")


def _design_of(part: Part) -> dict:
    return {"schedule": part.schedule, "images": {d.dataset: d.images for d in part.data}}
