"""Makes tables that show what became of each tensor when weights were fitted to another network."""

import math
import re

from nnunet_attention.evaluation.leaderboard.grid import Grid
from nnunet_attention.weights.adaptation import ADAPTED, LEFT, NEW, TAKEN, Adaptation, TensorOutcome

_PART = re.compile(r"^(encoder\.stem|(?:encoder|decoder)\.[a-z_]+(?:\.\d+)?)")


def tensor_table(adaptation: Adaptation) -> Grid:
    """Return a table with a row for every tensor."""
    rows = [
        [outcome.name, _by(outcome), outcome.outcome, outcome.reason]
        for outcome in adaptation.outcomes
    ]
    return Grid.of_texts(
        "Every tensor of the network, then those of the source that are left out",
        ["tensor", "shape", "outcome", "why"],
        rows,
        names=4,
    )


def part_table(adaptation: Adaptation) -> Grid:
    """Return a table with a row for each part of the network: how many numbers are from where."""
    outcomes = (TAKEN, ADAPTED, NEW, LEFT)
    sizes: dict[str, dict[str, int]] = {}
    for outcome in adaptation.outcomes:
        found = _PART.match(outcome.name)
        part = found[1] if found else "other"
        counts = sizes.setdefault(part, dict.fromkeys(outcomes, 0))
        counts[outcome.outcome] += math.prod(outcome.shape)
    return Grid.of_texts(
        "Numbers in each part",
        ["part", *outcomes],
        [
            [part, *(f"{counts[outcome]:,}" if counts[outcome] else "" for outcome in outcomes)]
            for part, counts in sizes.items()
        ],
        names=1,
        notes=(
            f"{adaptation.encoder_share:.1%} of the encoder's weights come from the source",
            *adaptation.notes,
        ),
    )


def _by(outcome: TensorOutcome) -> str:
    return "x".join(map(str, outcome.shape))
