"""Reads an ablation's verdicts, to be shown beside the maps of the same model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.ablation.verdicts import map_name
from nnunet_attention.evaluation.leaderboard.building import MEAN_OF_LABELS
from nnunet_attention.files import read_json


@dataclass(frozen=True)
class Proof:
    """The verdicts of an ablation on a model's single gates.

    Attributes:
        path: path of the file.
        weights: checksums of the model's weights, by fold.
        sentences: by the name of the gate's map, such as gate_0; the one about all labels first.
    """

    path: Path
    weights: tuple[int, ...]
    sentences: dict[str, tuple[str, ...]]


def read_proof(path: Path) -> Proof:
    """Read an `ablation.json`.

    Raises:
        CommandError: if it cannot be read, is not an ablation.json, or has no verdicts on single
            gates.
    """
    content = read_json(path)
    try:
        weights = tuple(int(number) for number in content["model"]["weights"])
        found = [
            (str(verdict["gates"]), str(verdict["label"]), str(verdict["sentence"]))
            for verdict in content["verdicts"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise CommandError(
            f"--proof {path}: it is not an ablation.json as nnunet-attention ablate writes it "
            f"(missing or malformed: {error})"
        ) from error
    sentences: dict[str, list[str]] = {}
    for gates, _, sentence in sorted(found, key=lambda one: one[1] != MEAN_OF_LABELS):
        if gates.isdecimal():
            sentences.setdefault(map_name(gates), []).append(sentence)
    if not sentences:
        raise CommandError(
            f"--proof {path}: it has no verdict on any single gate; ablate each gate (--gates "
            "each) with a replacement that keeps the level, such as --replace mean"
        )
    return Proof(path, weights, {name: tuple(of_gate) for name, of_gate in sentences.items()})
