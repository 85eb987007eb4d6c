"""Says what a gate's coefficient means, beside the map that shows it."""

from collections.abc import Mapping

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
        "These gates started anywhere between 0.2 and 0.8: only differences within a map mean "
        "something."
    ),
}
# Plans that name no start: today's default, unless the model is older than the option.
_UNKNOWN = (
    "Gates with the default start began at 0.5, which at the beginning passes what the plain "
    "network passes: above it the skip connection is raised, below it lowered.\n"
    "Models older than this default began anywhere between 0.2 and 0.8."
)
_NORMALISED = (
    "What these gates pass on is normalised afterwards: only differences within a map tell "
    "something."
)


def how_to_read(network_arguments: Mapping[str, object]) -> str:
    """Return how to read a coefficient, in a sentence on a line, or two.

    Args:
        network_arguments: the plans' `arch_kwargs`. `gate_start` may be missing; with
            `output_transform` a norm follows the product and undoes any constant factor, so that
            no coefficient by itself means anything.
    """
    if network_arguments.get("output_transform"):
        return _NORMALISED
    return _READINGS.get(str(network_arguments.get("gate_start")), _UNKNOWN)
