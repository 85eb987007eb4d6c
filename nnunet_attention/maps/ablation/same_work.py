"""Checks whether the results kept in a folder belong to the work that is to be resumed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json, write_json
from nnunet_attention.maps.ablation.cases import AblationCase
from nnunet_attention.maps.ablation.predictor import AblationPredictor
from nnunet_attention.maps.ablation.settings import AblationSettings

_IDENTITY = "work.json"


def work_identity(
    predictor: AblationPredictor, cases: Sequence[AblationCase], settings: AblationSettings
) -> dict:
    """Return everything that the results of a case depend on, as JSON keeps it."""
    return {
        "weights": predictor.checksums,
        "prediction": predictor.settings(),
        "settings": _plain(asdict(settings)),
        "cases": {
            case.name: [_file(path) for path in (*case.images, case.reference, case.previous)]
            for case in cases
        },
    }


def check_same_work(folder: Path, identity: dict) -> None:
    """Record in a folder which work it keeps, or check that it is this work.

    Raises:
        CommandError: if the folder keeps work that was done differently.
    """
    path = folder / _IDENTITY
    if not path.is_file():
        write_json(path, identity)
        return
    kept = read_json(path)
    differing = [
        _named(name, kept.get(name), identity[name])
        for name in identity
        if kept.get(name) != identity[name]
    ]
    if differing:
        raise CommandError(
            f"{folder} holds cases of an ablation with different {' and '.join(differing)}; delete "
            "that folder, or choose another -o"
        )


def _named(name: str, kept: object, wanted: object) -> str:
    """Name what differs; for prediction settings, with both values."""
    if name != "prediction" or not (isinstance(kept, dict) and isinstance(wanted, dict)):
        return name
    differences = [
        f"{key} {kept.get(key)}, here {wanted[key]}"
        for key in wanted
        if kept.get(key) != wanted[key]
    ]
    return f"{name} ({'; '.join(differences)})"


def _file(path: Path | None) -> list | None:
    if path is None:
        return None
    found = path.stat()
    return [str(path.absolute()), found.st_size, found.st_mtime_ns]


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value
