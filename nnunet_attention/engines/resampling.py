"""Resamples images and logits in torch, on any device, with the results of nnU-Net's functions.

nnU-Net interpolates with splines, voxel by voxel, on the CPU. A spline's values along an axis are
weighted sums of the image's values, with the same weights for each line of voxels. Resampling is
thus a product with a matrix, which is read off nnU-Net's function once for each pair of sizes.
Processors and GPUs are fastest at matrix products.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial

import numpy as np
import torch
from nnunetv2.configuration import ANISO_THRESHOLD
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from nnunetv2.preprocessing.resampling.default_resampling import (
    determine_do_sep_z_and_axis,
    resample_data_or_seg_to_shape,
)
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from scipy.ndimage import map_coordinates
from skimage.transform import resize
from torch import Tensor

# Resampling is done by nnU-Net's functions, or by those below on the device of the network.
NNUNET, DEVICE = RESAMPLINGS = ("nnunet", "device")
# The only function that nnU-Net's planners name, and the only one reproduced here.
_REPEATED = resample_data_or_seg_to_shape.__name__
# A spline's weights fall to a quarter with each voxel; smaller ones do not matter in 32 bits.
_NOTHING = 1e-9
# The number of rows of a matrix that are computed together, from the columns that they need.
_ROWS = 64

Shape = Sequence[int] | np.ndarray
Spacing = Sequence[float] | np.ndarray


class DeviceConfiguration(ConfigurationManager):
    """A configuration whose images and logits are resampled on a device, for prediction.

    Given to nnU-Net's preprocessor and export functions in place of nnU-Net's configuration, it
    changes only the resampling. If plans name another function than nnU-Net's default, it is kept.

    Args:
        configuration: nnU-Net's; it is left as it is.
        device: the device to compute on.
    """

    def __init__(self, configuration: ConfigurationManager, device: torch.device):
        super().__init__(configuration.configuration)
        self.device = device

    @property
    def resampling_fn_data(self) -> Callable:
        """The function that resamples images."""
        return self._on_device("resampling_fn_data") or super().resampling_fn_data

    @property
    def resampling_fn_probabilities(self) -> Callable:
        """The function that resamples logits or probabilities."""
        return self._on_device("resampling_fn_probabilities") or super().resampling_fn_probabilities

    @property
    def resampling_fn_seg(self) -> Callable:
        """The function that resamples segmentations that accompany an image.

        Except in a cascade this is a mask whose resampled values are never used, so the nearest
        voxel will do.
        """
        other = self.configuration["resampling_fn_seg"] != _REPEATED
        if other or self.previous_stage_name is not None:
            return super().resampling_fn_seg
        return nearest

    @property
    def resamples_logits(self) -> bool:
        """Whether logits are resampled on the device, not by a function that plans name."""
        return self._on_device("resampling_fn_probabilities") is not None

    def _on_device(self, name: str, **options) -> Callable | None:
        if self.configuration[name] != _REPEATED:
            return None
        options |= self.configuration[f"{name}_kwargs"]
        return partial(resample, **options, device=self.device)


class _ToLabels(DeviceConfiguration):
    """A configuration whose logits become labels as they are resampled."""

    def __init__(self, configuration: DeviceConfiguration, labels: LabelManager):
        super().__init__(configuration, configuration.device)
        self.labels = labels

    @property
    def resampling_fn_probabilities(self) -> Callable:
        by_class = self._on_device("resampling_fn_probabilities", labels=self.labels)
        if by_class is not None:
            return by_class
        of_all = super().resampling_fn_probabilities
        return lambda *arguments: self.labels.convert_logits_to_segmentation(of_all(*arguments))


class _AlreadyLabels:
    """Stands in for a label manager when the logits are labels already."""

    def __init__(self, labels: LabelManager):
        self.foreground_labels = labels.foreground_labels

    def convert_logits_to_segmentation(self, labels: np.ndarray) -> np.ndarray:
        return labels


def segmentation_in_image_space(
    logits: Tensor | np.ndarray,
    plans_manager: PlansManager,
    configuration: DeviceConfiguration,
    label_manager: LabelManager,
    properties: dict,
) -> np.ndarray:
    """Do what nnU-Net's `convert_predicted_logits_to_segmentation_with_correct_shape` does.

    The logits are resampled class by class on the device and become labels there, so that the
    classes are never all held at the image's size.

    Args:
        logits: (classes, *S), on any device.
        plans_manager: the model's.
        configuration: the model's, with the device.
        label_manager: the model's.
        properties: the image's properties from nnU-Net's preprocessor.

    Returns:
        The labels, (Z, Y, X), in the image's space.
    """
    return convert_predicted_logits_to_segmentation_with_correct_shape(
        logits,
        plans_manager,
        _ToLabels(configuration, label_manager),
        _AlreadyLabels(label_manager),
        properties,
        num_threads_torch=torch.get_num_threads(),
    )


@torch.inference_mode()
def resample(
    data: Tensor | np.ndarray,
    new_shape: Shape,
    current_spacing: Spacing,
    new_spacing: Spacing,
    is_seg: bool = False,
    order: int = 3,
    order_z: int = 0,
    force_separate_z: bool | None = False,
    separate_z_anisotropy_threshold: float = ANISO_THRESHOLD,
    *,
    device: torch.device,
    labels: LabelManager | None = None,
) -> np.ndarray:
    """Resample as nnU-Net's `resample_data_or_seg_to_shape` does, with its arguments.

    Args:
        data: (C, *S), three axes.
        new_shape: the wanted size.
        current_spacing: the spacing of `data`; it decides whether an axis is resampled separately.
        new_spacing: the spacing of the result; likewise.
        is_seg: whether `data` are labels, which are left to nnU-Net's function.
        order: the order of the spline, 0 to 3.
        order_z: the order of the spline along an axis that is resampled separately.
        force_separate_z: whether the axis of coarsest spacing is resampled separately; None: if it
            is much coarser.
        separate_z_anisotropy_threshold: the ratio of spacings that counts as "much coarser".
        device: the device to compute on.
        labels: the label manager that turns logits into labels; None leaves them as they are.

    Returns:
        (C, *new_shape) in the type of `data`, or with `labels` (*new_shape).
    """
    rules = (force_separate_z, separate_z_anisotropy_threshold)
    if is_seg:
        return resample_data_or_seg_to_shape(
            data, new_shape, current_spacing, new_spacing, True, order, order_z, *rules
        )
    separate, axis = determine_do_sep_z_and_axis(
        force_separate_z, current_spacing, new_spacing, separate_z_anisotropy_threshold
    )
    channels = torch.as_tensor(data)
    target = tuple(int(size) for size in new_shape)
    resampled = partial(
        _channel, new_shape=target, order=order, order_z=order_z, axis=axis if separate else None
    )
    with _full_precision():
        # nnU-Net finally rounds to the type of `data`, 16 bits for logits.
        each = (
            resampled(channel.to(device, torch.float32)).to(channels.dtype) for channel in channels
        )
        if labels is not None:
            return _labels_of(each, labels, target, device).cpu().numpy()
        if target == tuple(channels.shape[1:]):
            return channels.cpu().numpy()
        result = torch.empty((len(channels), *target), dtype=channels.dtype)
        for place, channel in zip(result, each, strict=True):
            place.copy_(channel)
    return result.numpy()


def nearest(
    data: np.ndarray, new_shape: Shape, current_spacing: Spacing, new_spacing: Spacing
) -> np.ndarray:
    """Take the nearest voxels; the spacings, which nnU-Net passes, are ignored."""
    for axis, (old, new) in enumerate(zip(data.shape[1:], new_shape, strict=True), start=1):
        places = (np.arange(new) + 0.5) * (old / new)
        data = data.take(np.minimum(places.astype(int), old - 1), axis)
    return data


def _labels_of(
    logits: Iterator[Tensor], labels: LabelManager, shape: Sequence[int], device: torch.device
) -> Tensor:
    """Do what `LabelManager.convert_logits_to_segmentation` does, one class at a time."""
    segmentation = torch.zeros(tuple(shape), dtype=torch.int16, device=device)
    if labels.has_regions:
        assert labels.regions_class_order is not None, "nnU-Net requires it of regions"
        for label, of_region in zip(labels.regions_class_order, logits, strict=True):
            segmentation[torch.sigmoid(of_region.float()) > 0.5] = int(label)
        return segmentation
    highest = next(logits).float()
    for label, of_label in enumerate(logits, start=1):
        logit = of_label.float()
        # If logits are equal, the first label wins.
        segmentation[logit > highest] = label
        torch.maximum(highest, logit, out=highest)
    return segmentation


def _channel(
    channel: Tensor, *, new_shape: tuple[int, ...], order: int, order_z: int, axis: int | None
) -> Tensor:
    """Resample (*S); with `axis`, first the planes across it, then along it."""
    if tuple(channel.shape) == new_shape:
        return channel
    between = list(new_shape)
    if axis is not None:
        between[axis] = channel.shape[axis]
    result = channel
    axes = [a for a in range(channel.ndim) if channel.shape[a] != between[a]]
    # The axis that shrinks most comes first, which leaves less to do for the others.
    for a in sorted(axes, key=lambda a: between[a] / channel.shape[a]):
        result = _along(result, a, _matrix(channel.shape[a], between[a], order))
    if order > 1:
        # Splines overshoot: skimage clips to the limits of its input, a plane or the volume.
        of_what = [a for a in range(channel.ndim) if a != axis]
        result = result.clamp(channel.amin(of_what, True), channel.amax(of_what, True))
    if axis is not None and channel.shape[axis] != new_shape[axis]:
        result = _along(result, axis, _matrix(channel.shape[axis], new_shape[axis], order_z, True))
    return result


def _along(tensor: Tensor, axis: int, blocks: "tuple[_Block, ...]") -> Tensor:
    """Multiply each line along an axis by a matrix."""
    before, old, after = tensor.shape[:axis], tensor.shape[axis], tensor.shape[axis + 1 :]
    flat = tensor.reshape(int(np.prod(before)), old, int(np.prod(after)))
    new = blocks[-1].last_row
    result = flat.new_empty(flat.shape[0], new, flat.shape[2])
    for block in blocks:
        weights = torch.as_tensor(block.weights, device=tensor.device)
        lines = flat[:, block.first_column : block.first_column + weights.shape[1]]
        target = result[:, block.first_row : block.last_row]
        if flat.shape[2] == 1:
            target[..., 0] = lines[..., 0] @ weights.T
        else:
            target[...] = torch.matmul(weights, lines)
    return result.reshape(*before, new, *after)


class _Block:
    """Some rows of a matrix, without the outer columns in which they are all 0."""

    def __init__(self, matrix: np.ndarray, first_row: int):
        self.first_row = first_row
        rows = matrix[first_row : first_row + _ROWS]
        self.last_row = first_row + len(rows)
        (columns,) = np.nonzero(rows.any(0))
        self.first_column = int(columns[0])
        self.weights = np.ascontiguousarray(rows[:, columns[0] : columns[-1] + 1], dtype=np.float32)


@lru_cache(maxsize=64)
def _matrix(old: int, new: int, order: int, alone: bool = False) -> tuple[_Block, ...]:
    """Read off the matrix with which nnU-Net resamples lines of voxels.

    Args:
        old: the number of voxels in a line.
        new: the wanted number of voxels.
        order: the order of the spline.
        alone: whether the axis is resampled separately, for which nnU-Net has another function.
    """
    # Resampling a plane with a single 1 in each line gives one column per voxel of a line.
    unit = np.eye(old)
    if alone:
        places = old / new * (np.arange(new) + 0.5) - 0.5
        grid = np.meshgrid(places, np.arange(old), indexing="ij")
        matrix = map_coordinates(unit, np.stack(grid), order=order, mode="nearest")
    else:
        matrix = resize(unit, (new, old), order, mode="edge", anti_aliasing=False, clip=False)
    # This also avoids denormals, numbers below 1e-38, which are ten times slower in 32 bits.
    matrix[np.abs(matrix) < _NOTHING] = 0
    return tuple(_Block(matrix, row) for row in range(0, new, _ROWS))


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep torch from rounding in 32-bit products, even if the process has allowed that."""
    before = torch.get_float32_matmul_precision()
    if before == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
