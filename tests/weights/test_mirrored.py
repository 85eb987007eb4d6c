"""Weights that were not trained on images mirrored along all axes are recognised."""

import pytest

from nnunet_attention.weights.mirrored import mirrored_axes, mirroring_note


@pytest.mark.parametrize(
    ("checkpoint", "axes"),
    [
        ({}, None),
        ({"trainer_name": "nnUNetTrainer"}, None),
        ({"trainer_name": "nnUNetTrainerNoMirroring"}, ()),
        ({"trainer_name": "PlainUNetFinetuneTrainer_noMirroring"}, ()),
        ({"inference_allowed_mirroring_axes": None}, ()),
        ({"inference_allowed_mirroring_axes": []}, ()),
        ({"inference_allowed_mirroring_axes": (0, 1)}, (0, 1)),
        ({"inference_allowed_mirroring_axes": "all"}, None),
    ],
)
def test_the_axes_are_those_of_the_checkpoint(checkpoint, axes):
    assert mirrored_axes(checkpoint) == axes


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        (None, None),
        ((2, 0, 1), None),
        ((), "trained without mirroring"),
        ((0, 1), "mirrored along the axes 0, 1 of the patch only"),
    ],
)
def test_only_less_mirroring_than_nnunets_is_told(axes, told):
    note = mirroring_note(axes, 3)
    assert note is None if told is None else told in note
