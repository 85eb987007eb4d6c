"""Says what a gate's coefficient means, beside the map that shows it."""

_READINGS = {
    "identity": (
        "These gates started at 0.5, which passes what the plain network passes: above it the skip "
        "connection is raised, below it lowered."
    ),
    "open": (
        "These gates started at 0.95: near 1 the skip connection is passed on as it was, and what "
        "a gate shuts out is lower."
    ),
    "he": (
        "These gates started anywhere between 0.2 and 0.8: only differences within a map mean "
        "something."
    ),
    # Plans that name no start: today's default, unless the model is older than the option.
    None: (
        "Gates with the default start began at 0.5, which passes what the plain network passes: "
        "above it the skip connection is raised, below it lowered."
    ),
}


def how_to_read(gate_start: str | None) -> str:
    """Return one sentence on how to read a coefficient.

    Args:
        gate_start: how the gates started, as the plans name it; None where they do not.
    """
    return _READINGS.get(gate_start, _READINGS[None])
