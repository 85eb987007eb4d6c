"""Tells from the pilot's trainings whether the study's design leaves room for a gain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.where_gates_help.design import (
    DOMAINS,
    IN_DOMAIN,
    PHANTOM_2D,
    PILOT,
    ROOM,
    ROOM_BETWEEN,
    Data,
    Part,
)
from nnunet_attention.errors import CommandError
from nnunet_attention.files import read_json, write_json

_PILOT_JSON = "pilot.json"


def read_pilot(folder: Path) -> dict[str, dict[str, float]]:
    """Return stock nnU-Net's mean Dice in the pilot, by data set and domain; empty without one.

    Args:
        folder: the working folder, or that of the results.
    """
    path = folder / _PILOT_JSON
    return read_json(path) if path.is_file() else {}


def pilot_key(part: Part, data: Data) -> str:
    """Return the name of a training of the pilot."""
    return f"{part.name} {data.dataset}"


def pilot_lines(
    part: Part, outcomes: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, bool | None]]:
    """Return a line for each outcome of a part's pilot, and whether it is as it should be.

    It is None for what is not trained yet.
    """
    lines: list[tuple[str, bool | None]] = []
    for data in (data for of, data in PILOT if of is part):
        found = outcomes.get(pilot_key(part, data))
        if found is None:
            lines.append((f"{part.name}, {data.title}: not trained yet", None))
            continue
        low, high = data.informative
        for domain, dice in found.items():
            fine = data.is_informative(dice)
            lines.append(
                (
                    f"{part.name}, {data.title}{DOMAINS[domain]}: nnU-Net has a mean Dice of "
                    f"{dice:.4f}, {'within' if fine else 'outside of'} {low:g} to {high:g}",
                    fine,
                )
            )
    for plain, crowded in ROOM_BETWEEN if part is PHANTOM_2D else ():
        both = [outcomes.get(pilot_key(part, data)) for data in (plain, crowded)]
        if None not in both:
            room = both[0][IN_DOMAIN] - both[1][IN_DOMAIN]
            told = f"{crowded.title}: {room:.4f} lower than without, wanted {ROOM:g} or more"
            lines.append((f"{part.name}, {told}", room >= ROOM))
    return lines


def write_pilot(folder: Path, outcomes: Mapping[str, Mapping[str, float]]) -> None:
    """Keep stock nnU-Net's mean Dice in the pilot."""
    write_json(folder / _PILOT_JSON, outcomes)


def pilot_told(outcomes: Mapping[str, Mapping[str, float]]) -> str:
    """Return a pilot's outcomes as a list in Markdown; empty without any."""
    if not outcomes:
        return ""
    of_parts = {part.name: part for part, _ in PILOT}.values()
    lines = [
        f"- {line}{' (**not as wanted**)' if fine is False else ''}."
        for part in of_parts
        for line, fine in pilot_lines(part, outcomes)
    ]
    return "\n".join(lines) + "\n"


def require_pilot(part: Part, outcomes: Mapping[str, Mapping[str, float]]) -> None:
    """Refuse to train before the pilot has shown that the design leaves room.

    Args:
        part: what shall be trained.
        outcomes: as `read_pilot` returns them.

    Raises:
        CommandError: if it has not.
    """
    wrong = [line for line, fine in pilot_lines(part, outcomes) if not fine]
    if wrong:
        raise CommandError("\n".join([*wrong, "see `pilot`, which comes before all trainings"]))
