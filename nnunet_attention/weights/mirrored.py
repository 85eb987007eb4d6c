"""Tells whether weights were trained on mirrored images, and how to train on with them."""

from collections.abc import Mapping

AXES = "inference_allowed_mirroring_axes"
"""The entry of nnU-Net's checkpoints that names the axes along which images were mirrored."""
WITHOUT_MIRRORING = "_noMirroring"
"""How the names of this package's trainers end that mirror no images."""


def mirrored_axes(checkpoint: Mapping) -> tuple[int, ...] | None:
    """Return the axes of the patch along which the training of a checkpoint mirrored images.

    Returns:
        None if the checkpoint does not say so.
    """
    trainer = checkpoint.get("trainer_name")
    if isinstance(trainer, str) and "nomirroring" in trainer.lower():
        return ()
    if AXES not in checkpoint:
        return None
    axes = checkpoint[AXES]
    if axes is None:
        return ()
    if isinstance(axes, (tuple, list)) and all(type(axis) is int for axis in axes):
        return tuple(axes)
    return None


def is_without_mirroring(axes: tuple[int, ...] | None) -> bool:
    """Tell whether a training is known to have mirrored nothing."""
    return axes == ()


def mirroring_note(axes: tuple[int, ...] | None, number_of_axes: int) -> str | None:
    """Say how to train on with weights that were not trained as nnU-Net trains.

    Args:
        axes: see `mirrored_axes`.
        number_of_axes: of the patch, 2 or 3.

    Returns:
        None if images were mirrored along all axes, or nothing is known.
    """
    if is_without_mirroring(axes):
        return (
            "the weights were trained without mirroring, by which left and right can be told "
            f"apart; train with AttentionUNetFinetuneTrainer{WITHOUT_MIRRORING}"
        )
    if axes is None or set(axes) == set(range(number_of_axes)):
        return None
    return (
        f"the weights were trained with images mirrored along the axes "
        f"{', '.join(map(str, axes))} of the patch only; AttentionUNetFinetuneTrainer mirrors "
        f"along all, and AttentionUNetFinetuneTrainer{WITHOUT_MIRRORING} along none"
    )
