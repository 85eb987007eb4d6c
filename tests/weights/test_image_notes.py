"""What the encoder sees otherwise than in its own training is told, and nothing else."""

import pytest

from nnunet_attention.nnunet.pretraining import SourceSettings
from nnunet_attention.weights.image_notes import image_notes

SETTINGS = SourceSettings(
    (1.5, 1.0, 1.0),
    (8, 8, 8),
    ("CTNormalization", "ZScoreNormalization"),
    channel_names=("CT", "PET"),
)
ALIKE = {
    "spacing": [1.5, 1, 1],
    "normalization_schemes": ["CTNormalization", "ZScoreNormalization"],
}


def test_of_images_that_are_prepared_alike_nothing_is_told():
    assert image_notes(SETTINGS, ALIKE, {"0": "ct", "1": "PET"}) == []


def test_channels_that_repeat_the_sources_are_alike():
    schemes = ["CTNormalization", "ZScoreNormalization", "CTNormalization"]
    configuration = {**ALIKE, "normalization_schemes": schemes}
    assert image_notes(SETTINGS, configuration, {"0": "CT", "1": "PET", "2": "CT"}) == []


@pytest.mark.parametrize(
    ("changes", "channels", "wanted"),
    [
        (
            {},
            {"1": "CT", "0": "PET"},
            "the image channels are PET, CT here and CT, PET in the source; they are matched by "
            "their order",
        ),
        (
            {"normalization_schemes": ["ZScoreNormalization"] * 2},
            {"0": "CT", "1": "PET"},
            "nnU-Net would normalise these images with ZScoreNormalization, and those of the "
            "source were normalised with CTNormalization, ZScoreNormalization: they may be of "
            "another modality",
        ),
        (
            {"spacing": [3, 1, 1]},
            {"0": "CT", "1": "PET"},
            "the spacing is 3 x 1 x 1 mm here, 1.5 x 1 x 1 mm in the source",
        ),
    ],
)
def test_differences_are_told(changes, channels, wanted):
    assert image_notes(SETTINGS, {**ALIKE, **changes}, channels) == [wanted]


def test_what_the_source_does_not_say_is_not_compared():
    unknown = SourceSettings(None, (8, 8, 8), ())
    assert image_notes(unknown, ALIKE, {"0": "CT"}) == []


def test_spacings_that_were_chosen_are_not_compared():
    assert image_notes(SETTINGS, {**ALIKE, "spacing": [9, 9, 9]}, {"0": "CT", "1": "PET"},
                       spacing=False) == []  # fmt: skip
