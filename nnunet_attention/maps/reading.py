"""Says what a gate's coefficient means, beside the map that shows it."""

_READINGS = {
    "identity": (
        "These gates started at 0.5, which at the beginning passes what the plain network passes: "
        "above it the skip connection is raised, below it lowered."
    ),
    "open": (
        "These gates started at 0.95: near 1 the skip connection is passed on as it was, and what "
        "a gate shuts out is lower."
    ),
    "he": (
        "These gates started anywhere between 0.2 and 0.8: only differences within a map tell "
        "something."
    ),
    # Plans that name no start: today's default, unless the model is older than the option.
    None: (
        "Gates with the default start began at 0.5, which at the beginning passes what the plain "
        "network passes: above it the skip connection is raised, below it lowered. Models older "
        "than this default began anywhere between 0.2 and 0.8."
    ),
}
_NORMALISED = (
    "What these gates pass on is normalised afterwards: only differences within a map tell "
    "something."
)


def how_to_read(gate_start: str | None, output_transform: bool = False) -> str:
    """Return how to read a coefficient, in one or two sentences.

    Args:
        gate_start: how the gates started, as the plans name it; None where they do not.
        output_transform: whether a convolution and a norm follow the product. The norm undoes a
            constant factor, so that no coefficient by itself means anything.
    """
    if output_transform:
        return _NORMALISED
    return _READINGS.get(gate_start, _READINGS[None])
