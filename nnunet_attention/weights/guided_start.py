"""Makes a checkpoint to start a training from, and says how nnU-Net's commands use it."""

import shlex
from collections.abc import Callable
from pathlib import Path

from nnunet_attention.nnunet.pretraining import citation_lines
from nnunet_attention.weights.adaptation import Adaptation
from nnunet_attention.weights.checkpoint import save_checkpoint
from nnunet_attention.weights.mirrored import WITHOUT_MIRRORING, is_without_mirroring
from nnunet_attention.weights.source import read_source
from nnunet_attention.weights.start import (
    GATED_TRAINER,
    PLAIN_TRAINER,
    check_share,
    read_target,
    start_checkpoint,
    start_from,
)
from nnunet_attention.weights.upgrade import check_free


def guided_start(
    source: Path,
    target: Path,
    plans: Path,
    configuration: str,
    *,
    gated: bool = True,
    least: float | None = None,
    on_adaptation: Callable[[Adaptation], None] | None = None,
) -> list[str]:
    """Write a checkpoint from which a training with given plans can start; return lines on its use.

    Args:
        source: a checkpoint of nnU-Net or nnssl, or a model's folder, see `read_source`.
        target: the checkpoint to write; must not exist.
        plans: the plans file of the training.
        configuration: the plans' configuration.
        gated: False for the network without gates.
        least: see `check_share`.
        on_adaptation: called with the adaptation, before it is refused or written.

    Raises:
        CommandError: if source or plans cannot be used, or too little fits. In this case nothing is
            written.
    """
    check_free(target)
    wanted = read_target(plans, configuration)
    start = start_from(read_source(source), wanted, gated=gated)
    if on_adaptation is not None:
        on_adaptation(start.adaptation)
    check_share(start.adaptation, start.source, least)
    save_checkpoint(start_checkpoint(start, wanted, gated=gated), target)
    lines = [f"wrote {target}"]
    if source.is_dir():
        lines.insert(0, f"weights: {start.source.path}")
    if start.difference is not None:
        lines.append(
            "the network computes what the source computes: the largest difference in logits on "
            f"random input is {start.difference:g}"
        )
    trainer = GATED_TRAINER if gated else PLAIN_TRAINER
    if is_without_mirroring(start.source.mirrored):
        trainer += WITHOUT_MIRRORING
    train = [
        *("nnUNetv2_train", plans.parent.name, configuration, "0", "-p", plans.stem),
        *("-tr", trainer, "-pretrained_weights", str(target)),
    ]
    lines.append(
        "start a training from it (nnU-Net initialises the segmentation layers anew):\n  "
        + shlex.join(train)
    )
    return lines + citation_lines(start.source.citations)
