"""Tells where images are prepared otherwise than those that pretrained weights were trained on."""

from collections.abc import Mapping, Sequence

from nnunet_attention.nnunet.dataset_json import channel_names_in_order
from nnunet_attention.nnunet.pretraining import SourceSettings, of_all_channels


def image_notes(
    settings: SourceSettings,
    configuration: Mapping,
    channels: Mapping[str, str],
    *,
    spacing: bool = True,
) -> list[str]:
    """Return sentences on differences that the encoder sees, and no tensor shows.

    Args:
        settings: of the source.
        configuration: of the plans, with inherited entries.
        channels: names of the data set's channels, by their numbers.
        spacing: whether to compare spacings.
    """
    notes = []
    here = channel_names_in_order(channels)
    there = settings.channel_names
    if there and _folded(here) != of_all_channels(_folded(there), len(here)):
        notes.append(
            f"the image channels are {', '.join(here)} here and {', '.join(there)} in the source; "
            "they are matched by their order"
        )
    schemes = tuple(configuration.get("normalization_schemes", ()))
    wanted = of_all_channels(settings.normalization_schemes, len(schemes))
    if wanted and schemes != wanted:
        notes.append(
            f"nnU-Net would normalise these images with {_told(schemes)}, and those of the source "
            f"were normalised with {_told(settings.normalization_schemes)}: they may be of another "
            "modality"
        )
    steps = tuple(float(step) for step in configuration["spacing"])
    if spacing and settings.spacing_mm is not None and steps != settings.spacing_mm:
        notes.append(
            f"the spacing is {_by(steps)} mm here, {_by(settings.spacing_mm)} mm in the source"
        )
    return notes


def _folded(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.casefold() for name in names)


def _told(schemes: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(schemes))


def _by(steps: Sequence[float]) -> str:
    return " x ".join(f"{step:g}" for step in steps)
