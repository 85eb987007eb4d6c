"""Teaches attention gates where to look: a loss on their coefficients against the foreground."""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

_POOLING = {2: functional.max_pool2d, 3: functional.max_pool3d}
_UNEVEN_POOLING = {2: functional.adaptive_max_pool2d, 3: functional.adaptive_max_pool3d}
# The smallest argument of a logarithm. In half precision, coefficients close to 0 and 1 are rounded
# to 0 and 1, and the loss of such a gate would be infinite.
_LEAST = 1e-3


class SupervisedGatesLoss(nn.Module):
    """Adds a loss on the gates' coefficients to a segmentation loss.

    The network returns `(prediction, coefficients)` if its decoder's `coefficients_in_training` is
    set, and otherwise, as in validation, `prediction` alone. For `prediction` alone, and with a
    weight of 0, this is just the segmentation loss.

    Args:
        segmentation_loss: nnU-Net's loss, called with a prediction and its target.
        border: see `foreground_on_grid`.
        over_batch: balance foreground and background over the batch (nnU-Net's `batch_dice`)
            rather than by the means of single images, see `balanced_cross_entropy`.
        regions: whether targets have a channel for each region rather than one of labels.
        ignore_label: the label to exclude from training, or None; with regions, the last channel
            marks it.

    Attributes:
        weight: the factor on the mean of the gates' losses.

    References:
        Wang et al., Automatic Segmentation of Vestibular Schwannoma from T2-Weighted MRI by Deep
        Spatial Attention with Hardness-Weighted Loss, MICCAI 2019, pp. 264-272, supervise attention
        maps by the segmentation. The balancing, the border and the decaying weight are ours.
    """

    def __init__(
        self,
        segmentation_loss: nn.Module,
        *,
        border: int = 1,
        over_batch: bool = False,
        regions: bool = False,
        ignore_label: int | None = None,
    ):
        super().__init__()
        self.segmentation_loss = segmentation_loss
        self.border = border
        self.over_batch = over_batch
        self.regions = regions
        self.ignore_label = ignore_label
        self.weight = 0.0
        self._gates_losses: list[Tensor] = []

    def forward(self, output, target) -> Tensor:
        """Compute the loss of the network's output.

        Shape:
            - output: logits (B, num_classes, *S) or, with deep supervision, a list of them; or a
              tuple of that and the coefficients, each (B, 1, *S) on its skip's grid
            - target: (B, 1, *S), with regions (B, R, *S); with deep supervision a list of them,
              the highest resolution first
        """
        if not isinstance(output, tuple):
            return self.segmentation_loss(output, target)
        prediction, coefficients = output
        loss = self.segmentation_loss(prediction, target)
        if self.weight == 0:
            return loss
        foreground, ignored = self._masks(target[0] if isinstance(target, list) else target)
        gates_loss = torch.stack(
            [
                balanced_cross_entropy(
                    one_gate,
                    *foreground_on_grid(foreground, ignored, one_gate.shape[2:], self.border),
                    over_batch=self.over_batch,
                )
                for one_gate in coefficients
            ]
        ).mean()
        self._gates_losses.append(gates_loss.detach())
        return loss + self.weight * gates_loss

    def take_mean(self) -> float | None:
        """Return the gates' mean loss since the last call, or None if there was none.

        Where several processes train, it is that of all of them, and all must call this.
        """
        losses, self._gates_losses = self._gates_losses, []
        return _mean_over_processes(torch.stack(losses).mean()).item() if losses else None

    def _masks(self, target: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.regions:
            ignored = None if self.ignore_label is None else target == self.ignore_label
            foreground = target > 0
            return (foreground if ignored is None else foreground & ~ignored), ignored
        if self.ignore_label is None:
            return (target > 0).any(1, keepdim=True), None
        ignored = target[:, -1:] > 0
        return (target[:, :-1] > 0).any(1, keepdim=True) & ~ignored, ignored


@torch.no_grad()
def foreground_on_grid(
    foreground: Tensor, ignored: Tensor | None, grid: Sequence[int], border: int
) -> tuple[Tensor, Tensor]:
    """Pool the foreground to a gate's grid.

    A grid voxel is foreground if any voxel of its window is, or if a grid voxel within `border`
    voxels of it along every axis is: the evidence for a boundary lies on both sides of it. Ignored
    voxels may be anything, so a grid voxel that only they, with their border, could make
    foreground is unknown.

    Args:
        foreground: (B, 1, *S), boolean.
        ignored: (B, 1, *S), boolean, or None if no voxel is ignored.
        grid: *G, at most S along every axis.
        border: in voxels of the grid; 0 for none.

    Returns:
        The masks inside and outside, (B, 1, *G) of 0 and 1, float32; unknown voxels are 0 in both.
    """

    def spread(mask: Tensor) -> Tensor:
        pooled = _pooled(mask.float(), grid)
        # The maximum over a box, along one axis after another: far cheaper for wide borders.
        for axis in range(len(grid) if border else 0):
            padding = [0] * len(grid)
            padding[axis] = border
            window = [2 * voxels + 1 for voxels in padding]
            pooled = _POOLING[len(grid)](pooled, window, stride=1, padding=padding)
        return pooled

    inside = spread(foreground)
    outside = 1 - inside
    if ignored is not None:
        outside = outside * (1 - spread(ignored))
    return inside, outside


def _pooled(mask: Tensor, grid: Sequence[int]) -> Tensor:
    """Return the maximum over the window of each voxel of a grid."""
    sizes = mask.shape[2:]
    if all(size % cells == 0 for size, cells in zip(sizes, grid, strict=True)):
        windows = tuple(size // cells for size, cells in zip(sizes, grid, strict=True))
        # The same as below, but torch has this one for 3-D images on Apple's GPUs too.
        return _POOLING[len(grid)](mask, windows)
    return _UNEVEN_POOLING[len(grid)](mask, tuple(grid))


def balanced_cross_entropy(
    coefficients: Tensor, inside: Tensor, outside: Tensor, *, over_batch: bool = False
) -> Tensor:
    """Compare coefficients with 1 inside and 0 outside; both sides have equal weight.

    The loss is half the mean of -log(alpha) inside plus half the mean of -log(1 - alpha) outside.
    The means are over the whole batch, or over each image and then over the images that have voxels
    on this side; an image without foreground thus takes no weight from the foreground of others. A
    side without any voxels contributes 0. Before the logarithm, its argument is mapped from [0, 1]
    to [0.001, 1]. The loss is computed in float32, also under autocast.

    Where several processes share a batch, voxels and images are counted in all of them, and the
    mean over the processes, which DistributedDataParallel takes of the gradients, is the loss of
    the whole batch. All processes must call this together.

    Args:
        coefficients: alpha, (B, 1, *G), in [0, 1].
        inside: (B, 1, *G) of 0 and 1.
        outside: likewise; where both are 0, the coefficients do not affect the loss.
        over_batch: take the means over the whole batch rather than over each image.
    """
    alpha = coefficients.float()
    axes = tuple(range(1, alpha.ndim))
    loss = alpha.new_zeros(())
    for probability, mask in ((alpha, inside), (1 - alpha, outside)):
        total = -torch.log(_LEAST + (1 - _LEAST) * probability) * mask
        count = mask
        if not over_batch:
            voxels = mask.sum(axes)
            total = total.sum(axes) / voxels.clamp(min=1)
            count = voxels > 0
        counted = _mean_over_processes(count.sum().float())
        # Where nothing counts, the sum is 0, whatever it is divided by.
        loss = loss + 0.5 * total.sum() / torch.where(counted > 0, counted, 1)
    return loss


def _mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a number over all processes of a training, or the number if it is one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    value = value.clone()
    distributed.all_reduce(value)
    return value / distributed.get_world_size()
